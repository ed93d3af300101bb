"""The fast path of sending, in which all receivers are plain functions, and the slow path.

`Sending.deliver` is a coroutine, so that it is written once. `asend` awaits it. `send` steps through it, and it never
suspends: it runs coroutine receivers on a separate event loop.

A receiver that sends the same signal nests, since its `send` needs the results. Pipelines return nothing, so what is
sent inside an emission reaches them after the one under way, in the order of sending. Otherwise, of two pipelines, the
second would receive the inner emission first.
"""

from __future__ import annotations

import asyncio
import logging
from _thread import get_ident
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from typing import Any, Literal, TypeAlias

from rxhub.concurrency.awaitables import as_coroutine, discard, needs_await
from rxhub.concurrency.event_loop import is_cancelling, running_loop
from rxhub.errors import AsyncReceiverError, CallbackInterrupted
from rxhub.signals.connection import Connection
from rxhub.signals.connections import CallOrder, Connections
from rxhub.signals.emission import Emission, Emitter, sender_name
from rxhub.signals.receiver import PLAIN, Receiver, ReceiverSpec

__all__ = [
    "ErrorPolicy",
    "Responses",
    "Sending",
    "await_result",
    "fast_send",
    "run_result",
    "run_to_end",
    "run_unsuspended",
]

Responses: TypeAlias = list[tuple[Receiver, Any]]

ErrorPolicy: TypeAlias = Literal["raise", "group", "collect"]
"""What happens to errors of receivers: the first one is raised, all are raised when every receiver was called, or they
are returned among the responses."""

_Finish: TypeAlias = Callable[[Emitter, Receiver, Awaitable[Any]], Coroutine[Any, Any, Any]]

logger = logging.getLogger("rxhub")

_deferred_numbers = count()
_under_way: ContextVar[Sending | None] = ContextVar("_under_way", default=None)


class Sending:
    """An emission that is being sent; `origin` is where it came from, if a bridge brought it."""

    def __init__(self, signal: Emitter, sender: Any, named: dict[str, Any], origin: str | None = None) -> None:
        self._signal = signal
        self._emission = Emission(signal, sender, named, origin)
        self._arguments: dict[str, Any] = {**named, "signal": signal, "sender": sender}
        self._candidate: dict[str, Any] | None = None
        # A heap: by the number of the emission, then in the call order.
        self._deferred: list[tuple[int, int, Connection, Emission]] = []
        self._number = self._sent = 0
        self._is_over = False
        # None if this is the outermost: a reference cycle would keep the sender until garbage is collected.
        self._outermost: Sending | None = None
        self._running_in = _thread_and_task()
        outer = self._outer = _under_way.get()
        while outer is not None:
            # A task or thread that was started in an emission inherits its context, but does not run inside of it.
            if outer._signal is signal and not outer._is_over and outer._running_in == self._running_in:
                outermost = self._outermost = outer._outermost or outer
                outermost._sent += 1
                self._number = outermost._sent
                break
            outer = outer._outer

    async def deliver(self, call_order: CallOrder, policy: ErrorPolicy, finish: _Finish) -> Responses:
        """Call the receivers in order, until one stops the emission.

        `finish` returns the result of an awaitable that a receiver returned.
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
                        self._pass_to_pipeline(connection, call)
                        continue
                    else:
                        value = self._call(call, spec)
                    if spec.is_async if not self._signal.awaits_results else value is not None and needs_await(value):
                        value = await self._finished(finish(self._signal, call, value), call)
                    responses.append((call, value))
                except Exception as error:
                    if policy == "raise":
                        raise
                    errors.append(error)
                    responses.append((call, error))
                    if policy == "collect":
                        self._signal.report(call, error)
        except BaseException:
            for error in errors if policy == "group" else ():
                logger.error(
                    "A receiver of %r raised before sending was interrupted: %s", self._signal, error, exc_info=error
                )
            raise
        finally:
            try:
                self._deliver_deferred()
            finally:
                self._end()
                with suppress(ValueError):  # an unfinished coroutine is closed in another context
                    _under_way.reset(token)
        try:
            if errors and policy == "group":
                raise ExceptionGroup(f"{len(errors)} receivers of {self._signal!r} raised", errors)
            return responses
        finally:
            errors = []  # their tracebacks refer to this frame

    async def _finished(self, result: Coroutine[Any, Any, Any], call: Receiver) -> Any:
        try:
            return await result
        except asyncio.CancelledError as error:
            if is_cancelling():
                raise
            raise CallbackInterrupted(f"What {call!r} awaited was cancelled.") from error

    def _end(self) -> None:
        # A task that outlives this keeps its context, and so this object, but nothing else.
        self._is_over = True
        self._outer = self._outermost = None
        self._arguments, self._candidate = {}, None

    async def within(self, value: Awaitable[Any]) -> Any:
        """Await a receiver's coroutine in a new task; this emission and those around it wait for the task."""
        here, around = _thread_and_task(), list[tuple[Sending, Any]]()
        outer: Sending | None = self
        while outer is not None:
            around.append((outer, outer._running_in))
            outer._running_in, outer = here, outer._outer
        try:
            return await value
        finally:
            for sending, before in around:
                sending._running_in = before

    @staticmethod
    def under_way(signal: Emitter, arguments: Mapping[str, Any]) -> Sending | None:
        """The sending of a signal that is calling its receivers here with exactly these arguments, or None."""
        sending = _under_way.get()
        if sending is None or sending._signal is not signal or sending._is_over:
            return None
        sent = sending._arguments if sending._running_in == _thread_and_task() else {}
        same = arguments.keys() == sent.keys() and all(arguments[name] is sent[name] for name in sent)
        return sending if same else None

    def call(self, connection: Connection, absent: Any) -> Any:
        """Call one receiver, for code that sends in its own way while `deliver` runs.

        Returns `absent` if it is disconnected, its subscription does not match, or it is a pipeline.
        """
        spec, call = connection.spec, connection()
        if not connection.alive or call is None or not self._matches(spec):
            return absent
        if spec.is_observer:
            self._pass_to_pipeline(connection, call)
            return absent
        return self._call(call, spec)

    def _call(self, call: Receiver, spec: ReceiverSpec) -> Any:
        return call(**{"emission": self._emission, **self._arguments} if spec.wants_emission else self._arguments)

    def _matches(self, spec: ReceiverSpec) -> bool:
        if spec.matches is None:
            return True
        if self._candidate is None:
            sender = sender_name(self._emission.sender)
            self._candidate = {**self._arguments, "signal": self._signal.name, "sender": sender}
        return spec.matches(self._candidate)

    def _pass_to_pipeline(self, connection: Connection, call: Receiver) -> None:
        if self._outermost is None:
            call(self._emission)
        else:
            entry = (self._number, next(_deferred_numbers), connection, self._emission)
            heappush(self._outermost._deferred, entry)

    def _deliver_deferred(self) -> None:
        """Pass deferred emissions to pipelines, and what they defer in turn."""
        stopped: set[int] = set()
        while self._deferred:
            number, _, connection, emission = heappop(self._deferred)
            if number in stopped or not connection.alive or (call := connection()) is None:
                continue
            before = emission.is_stopped()
            call(emission)
            if emission.is_stopped() and not before:
                stopped.add(number)


def fast_send(name: str, robust: bool, doc: str) -> Callable[..., Responses]:
    """The method `send` or `send_robust`: a call order of plain receivers is called here, others by `_send`.

    Written out, since a method call in it would cost as much as a receiver does.
    """

    def send(self: Any, /, sender: Any = None, **named: Any) -> Responses:
        connections: Connections = self._connections
        if not connections.slots:
            return []
        if connections.dead:
            connections.purge_dead()
        key = id(sender)
        call_order = connections.call_orders.get(key) if key in connections.slots else connections.rest
        if call_order is None and (call_order := connections.plain(sender)) is None:
            return self._send(sender, named, "collect" if robust else self._on_receiver_error)
        if not call_order:
            return []
        if "signal" in named:
            raise self._reserved()
        named["signal"] = self
        named["sender"] = sender
        responses: Responses = []
        for connection in call_order:
            if connection.alive and (call := connection()) is not None:
                try:
                    value = call(**named)
                    if value is not None and needs_await(value) and self.awaits_results:
                        value = run_to_end(self, call, value)
                    responses.append((call, value))
                except Exception as error:
                    if not robust:
                        raise
                    self.report(call, error)
                    responses.append((call, error))
        return responses

    send.__name__, send.__qualname__, send.__doc__ = name, f"Signal.{name}", doc
    send.__annotations__ = {}  # a signature shows those of the payload
    return send


def run_unsuspended(steps: Coroutine[Any, Any, Responses]) -> Responses:
    """The result of a coroutine that never suspends."""
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a sending that does not await was suspended")


async def await_result(_: Emitter, __: Receiver, value: Awaitable[Any]) -> Any:
    """Await what a receiver returned."""
    return await value


async def run_result(signal: Emitter, receiver: Receiver, value: Awaitable[Any]) -> Any:
    """Run what a receiver returned without suspending; see `run_to_end`."""
    sending = _under_way.get()
    return run_to_end(signal, receiver, value, None if sending is None else sending.within)


def run_to_end(
    signal: Emitter,
    receiver: Receiver,
    value: Awaitable[Any],
    within: Callable[[Awaitable[Any]], Coroutine[Any, Any, Any]] | None = None,
) -> Any:
    """Await what a receiver returned, on a new event loop; `within` makes a coroutine that awaits it."""
    if running_loop() is None:
        # Not asyncio.run(), which removes the loop that the application has set for this thread.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run((within or as_coroutine)(value))
    discard(value)
    raise AsyncReceiverError(
        f"{receiver!r} returned an awaitable, and {signal!r} was sent while an event loop runs in this thread, which "
        "would be blocked: use `await signal.asend(…)`."
    )


def _thread_and_task() -> tuple[int, asyncio.Task[Any] | None]:
    loop = running_loop()
    return get_ident(), None if loop is None else asyncio.current_task(loop)
