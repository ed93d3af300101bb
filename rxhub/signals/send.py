"""One emission through a call_order of which not everybody is a plain function: the careful way of sending.

Theory of operation. `deliver` is a coroutine, so that it is written once: `asend` awaits it, and `send` steps through
it, which never has to wait, since it lets coroutine receivers run to their end on a loop of their own.

A receiver that sends the same signal nests, since its `send` needs the results. Pipelines need none, so they get what
is sent inside an emission behind the one under way, in the order of sending; otherwise, of two pipelines, the
second would see the inner emission first.
"""

from __future__ import annotations

import asyncio
import logging
from _thread import get_ident
from asyncio.events import _get_running_loop  # pyright: ignore[reportPrivateUsage]  # what asyncio itself asks
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rxhub.concurrency.awaitables import as_coroutine, discard, needs_await
from rxhub.concurrency.event_loop import is_cancelling
from rxhub.errors import AsyncReceiverError, CallbackInterrupted
from rxhub.signals.connections import CallOrder, Connection
from rxhub.signals.emission import Emission, sender_name
from rxhub.signals.receiver import PLAIN, Receiver, ReceiverSpec

if TYPE_CHECKING:
    from rxhub.signals.signal import Signal

__all__ = ["ErrorPolicy", "Responses", "Sending", "await_result", "run_result", "run_to_end"]

Responses: TypeAlias = list[tuple[Receiver, Any]]

ErrorPolicy: TypeAlias = Literal["raise", "group", "collect"]
"""What becomes of what receivers raise: the first one reaches the sender, all do when everybody was called, or they
stand among the responses."""

_Finish: TypeAlias = Callable[["Signal[...]", Receiver, Awaitable[Any]], Coroutine[Any, Any, Any]]

logger = logging.getLogger("rxhub")

_puts = count()
_under_way: ContextVar[Sending | None] = ContextVar("_under_way", default=None)


class Sending:
    """An emission on its way.

    Args:
        signal: what is sent.
        sender: who sends.
        named: the kwargs.
        origin: where the emission came from, if not from here.
    """

    __slots__ = (
        "_arguments",
        "_candidate",
        "_emission",
        "_later",
        "_number",
        "_outer",
        "_outermost",
        "_over",
        "_sent",
        "_signal",
        "_strand",
    )

    def __init__(self, signal: Signal[...], sender: Any, named: dict[str, Any], origin: str | None = None) -> None:
        self._signal = signal
        self._emission = Emission(signal, sender, named, origin)
        self._arguments: dict[str, Any] = {**named, "signal": signal, "sender": sender}
        self._candidate: dict[str, Any] | None = None
        # A heap: by the emission's number, then in the order of the call_order.
        self._later: list[tuple[int, int, Connection, Emission]] = []
        self._number = self._sent = 0
        self._over = False
        # None if it is the outermost itself: a cycle would keep the sender until the collector comes.
        self._outermost: Sending | None = None
        self._strand = _strand()
        outer = self._outer = _under_way.get()
        while outer is not None:
            # A task or thread that began in an emission inherits its context, but does not run inside of it.
            if outer._signal is signal and not outer._over and outer._strand == self._strand:
                outermost = self._outermost = outer._outermost or outer
                outermost._sent += 1
                self._number = outermost._sent
                break
            outer = outer._outer

    async def deliver(self, call_order: CallOrder, policy: ErrorPolicy, finish: _Finish) -> Responses:
        """Call the receivers in order, until one stops the emission.

        Args:
            call_order: who is to be called.
            policy: what becomes of what they raise.
            finish: gets the result of an awaitable that a receiver returned.
        """
        responses: Responses = []
        errors: list[Exception] = []
        token = _under_way.set(self)
        try:
            for connection in call_order:
                if self._emission.is_stopped():
                    break
                if not connection.alive or (call := connection()) is None:
                    continue
                spec = connection.spec
                try:
                    if spec is PLAIN:
                        value = call(**self._arguments)
                    elif not self._matches(spec):
                        continue
                    elif spec.is_observer:
                        self._put(connection, call)
                        continue
                    else:
                        value = call(
                            **{"emission": self._emission, **self._arguments}
                            if spec.wants_emission
                            else self._arguments
                        )
                    if spec.is_async if not self._signal.awaits_results else value is not None and needs_await(value):
                        value = await self._finished(finish(self._signal, call, value), call)
                    responses.append((call, value))
                except Exception as error:
                    if policy == "raise":
                        raise
                    errors.append(error)
                    responses.append((call, error))
                    if policy == "collect":
                        self._signal.failed(call, error)
        except BaseException:
            for error in errors if policy == "group" else ():
                logger.error(
                    "A receiver of %r raised, before all were interrupted: %s", self._signal, error, exc_info=error
                )
            raise
        finally:
            try:
                self._deliver_deferred()
            finally:
                self._end()
                with suppress(ValueError):  # a coroutine that nobody finished is closed in another context
                    _under_way.reset(token)
        try:
            if errors and policy == "group":
                raise ExceptionGroup(f"{len(errors)} receivers of {self._signal!r} raised", errors)
            return responses
        finally:
            errors = []  # else they would keep, by their tracebacks, what keeps them

    async def _finished(self, result: Coroutine[Any, Any, Any], call: Receiver) -> Any:
        try:
            return await result
        except asyncio.CancelledError as error:
            if is_cancelling():
                raise
            raise CallbackInterrupted(f"{call!r} ended by what it awaited having been cancelled.") from error

    def _end(self) -> None:
        # A task that outlives this keeps its context, and so this object; but nothing else, and not all before it.
        self._over = True
        self._outer = self._outermost = None
        self._arguments, self._candidate = {}, None

    async def within(self, value: Awaitable[Any]) -> Any:
        """Await a receiver's coroutine in a task of its own, for which this emission and those around it wait."""
        here = _strand()
        around: list[tuple[Sending, object]] = []
        outer: Sending | None = self
        while outer is not None:
            around.append((outer, outer._strand))
            outer._strand = here
            outer = outer._outer
        try:
            return await value
        finally:
            for sending, strand in around:
                sending._strand = strand

    @staticmethod
    def under_way(signal: Signal[...], arguments: Mapping[str, Any]) -> Sending | None:
        """The sending of a signal that is calling its receivers here with exactly these arguments; None without one."""
        sending = _under_way.get()
        if sending is None or sending._signal is not signal or sending._over or sending._strand != _strand():
            return None
        sent = sending._arguments
        same = arguments.keys() == sent.keys() and all(arguments[name] is sent[name] for name in sent)
        return sending if same else None

    def call(self, connection: Connection, absent: Any) -> Any:
        """Call one receiver; for who calls it instead of `deliver`, within it.

        Returns:
            What the receiver returned, a coroutine if it is a coroutine function; `absent` if it gets no result to
            give: its connection is over, its subscription does not match, or it is a pipeline.
        """
        spec, call = connection.spec, connection()
        if not connection.alive or call is None or not self._matches(spec):
            return absent
        if spec.is_observer:
            self._put(connection, call)
            return absent
        return call(**{"emission": self._emission, **self._arguments} if spec.wants_emission else self._arguments)

    def _matches(self, spec: ReceiverSpec) -> bool:
        if spec.matches is None:
            return True
        if self._candidate is None:
            sender = sender_name(self._emission.sender)
            self._candidate = {**self._arguments, "signal": self._signal.name, "sender": sender}
        return spec.matches(self._candidate)

    def _put(self, connection: Connection, call: Receiver) -> None:
        """Let a pipeline have the emission: now, or in its turn."""
        if self._outermost is None:
            call(self._emission)
        else:
            heappush(self._outermost._later, (self._number, next(_puts), connection, self._emission))

    def _deliver_deferred(self) -> None:
        """Let the pipelines have what was put off, and what that puts off in turn."""
        stopped: set[int] = set()
        while self._later:
            number, _, connection, emission = heappop(self._later)
            if number in stopped or not connection.alive or (call := connection()) is None:
                continue
            before = emission.is_stopped()
            call(emission)
            if emission.is_stopped() and not before:
                stopped.add(number)


async def await_result(_: Signal[...], __: Receiver, value: Awaitable[Any]) -> Any:
    """Finish a coroutine receiver by awaiting it."""
    return await value


async def run_result(signal: Signal[...], receiver: Receiver, value: Awaitable[Any]) -> Any:
    """Finish a coroutine receiver without waiting here; see `run_to_end`."""
    sending = _under_way.get()
    return run_to_end(signal, receiver, value, None if sending is None else sending.within)


def run_to_end(
    signal: Signal[...],
    receiver: Receiver,
    value: Awaitable[Any],
    within: Callable[[Awaitable[Any]], Coroutine[Any, Any, Any]] | None = None,
) -> Any:
    """The result of what a receiver returned, which is awaited on an event loop of its own.

    Args:
        signal: what is sent.
        receiver: who returned the awaitable.
        value: the awaitable.
        within: makes a coroutine of it; None is to await it, and nothing else.

    Raises:
        AsyncReceiverError: if an event loop runs in this thread, which would be blocked.
    """
    if _get_running_loop() is None:
        # Not asyncio.run(), which takes away the loop that the application has set for this thread.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run((within or as_coroutine)(value))
    discard(value)
    raise AsyncReceiverError(
        f"{receiver!r} returned an awaitable, and {signal!r} was sent while an event loop runs in this thread, which "
        "would be blocked: use `await signal.asend(…)`."
    )


def _strand() -> tuple[int, asyncio.Task[Any] | None]:
    """What runs here: the thread, and the task in it."""
    loop = _get_running_loop()
    return get_ident(), None if loop is None else asyncio.current_task(loop)
