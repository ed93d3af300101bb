"""`hub.process`: what the user holds of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar, copy_context
from math import inf
from threading import Event as Flag
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self
from weakref import WeakSet

from rxhub.concurrency.awaitables import ignore_error, returns_awaitable
from rxhub.concurrency.shutdown import GRACE_S, on_shutdown_signal
from rxhub.errors import HubClosed
from rxhub.event import Event
from rxhub.rx.scoped_subject import ScopedSubject
from rxhub.rx.subject import Subject
from rxhub.text.printable import printable
from rxhub.transport.io_thread import in_io_thread, io_loop
from rxhub.transport.nats.address import Address
from rxhub.transport.nats.processing.executor import Executor, OnResult
from rxhub.transport.nats.processing.failures import Failure
from rxhub.transport.nats.processing.group import Since
from rxhub.transport.nats.processing.options import WorkerOptions
from rxhub.transport.nats.processing.task_executor import TaskExecutor
from rxhub.transport.nats.processing.thread_executor import ThreadExecutor
from rxhub.transport.nats.processing.worker import Worker
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.subjects import Subjects

__all__ = ["STOP_TIMEOUT_S", "Counts", "Processing", "stop_all"]

STOP_TIMEOUT_S = 5.0
"""Seconds for which stopping waits for the handlers that run."""

# What stopping takes beyond that: saying so to the server, and hanging up.
_CLOSE_TIMEOUT_S = 10.0
_WAKE_S = 0.5

# In which processings' handlers this runs.
_inside: ContextVar[Processing | None] = ContextVar("rxhub_processing", default=None)

# All that run in this process: a signal that ends the process ends all of them.
_running: WeakSet[Processing] = WeakSet()

logger = logging.getLogger("rxhub")


class Counts(NamedTuple):
    """What has become of events in this process so far.

    Attributes:
        handled: their handler returned, and they are done with.
        failed: attempts that failed.
        retried: failed attempts that were to be followed by others.
        dead: events that are dead letters now.
        skipped: events that were not for the handler: the subscription or the target did not match them, or, with
            `once=True`, they had been handled before.
        expired: events that were tried or waited for their turn, and that the stream has deleted since, by its age or
            size limit or by hand. The log names each.
    """

    handled: int
    failed: int
    retried: int
    dead: int
    skipped: int
    expired: int = 0


class Processing:
    """The share of this process in a group, from `hub.process(…)` to `stop()`.

    Also a context manager, which stops it at its end; `async with` does so while the loop goes on.

    Attributes:
        group: the name of the group.
        subscription: which events it handles.
        failures: emits each failed attempt, where the handlers run: in one of their threads, or on their loop.
    """

    def __init__(self, address: Address, subjects: Subjects, name: str, plan: WorkerOptions) -> None:
        self.group = plan.group
        self.subscription = plan.terms.subscription
        self.failures: Subject[Failure] = ScopedSubject(serialize=True)
        self._address = address
        self._subjects = subjects
        self._name = f"{name} {plan.group}"
        self._plan = plan
        self._link: ReconnectingClient | None = None
        self._worker: Worker | None = None
        self._handlers_loop: asyncio.AbstractEventLoop | None = None
        self._over = Flag()
        self._error: Exception | None = None
        self._parted: Callable[[Processing], object] = _nobody
        self._waiters: list[Callable[[Processing], object]] = []

    def __repr__(self) -> str:
        state = (
            "has ended" if self._over.is_set() else ", ".join(f"{n} {name}" for name, n in self._told().items() if n)
        )
        return printable(f"<Processing {self.subscription!r} in the group {self.group}: {state or 'nothing so far'}>")

    def start(
        self,
        handler: Callable[[Event], object],
        since: Since,
        replace: bool,
        call: Callable[[Coroutine[Any, Any, None]], None],
        parted: Callable[[Processing], object],
    ) -> None:
        """Begin; called once, by `hub.process`.

        Args:
            handler: called with each event.
            since: where a new group begins.
            replace: whether the group gets our terms.
            call: runs a coroutine on the network's loop to its end.
            parted: called when it has ended.

        Raises:
            HubConnectionError: if no server can be reached.
            StreamError: if JetStream refuses something.
            GroupError: if the group has other terms.
        """
        self._parted = parted
        context = copy_context()
        context.run(_inside.set, self)
        plan, thread = self._plan, f"rxhub-{self.group}"
        is_coroutine = returns_awaitable(handler)
        if is_coroutine:
            try:
                self._handlers_loop = asyncio.get_running_loop()
            except RuntimeError:
                self._handlers_loop = None

        def workers(ended: OnResult) -> Executor:
            if is_coroutine:
                awaited: Any = handler
                return TaskExecutor(
                    awaited, plan.concurrency, plan.timeout, context, ended, thread, self._handlers_loop
                )
            return ThreadExecutor(handler, plan.concurrency, context, ended, thread)

        call(self._begin(workers, since, replace))

    @property
    def is_active(self) -> bool:
        """Whether events are handled: it has begun, and was neither stopped nor ended by an error."""
        return self._worker is not None and not self._over.is_set()

    @property
    def error(self) -> Exception | None:
        """What ended it, if that was an error."""
        return self._error

    @property
    def counts(self) -> Counts:
        """What has become of events in this process so far."""
        told = self._told()
        return Counts(*(told[name] for name in Counts._fields))

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Take no event any more, and wait for the handlers that run.

        Events that were fetched and not begun are handed back, so that another process gets them at once. Where
        handlers still run after the timeout, coroutines are cancelled, and threads left to themselves; their events
        come again, to whichever process is there.

        In a handler, or on the loop that runs the handlers, it waits for nothing, since that would wait for itself:
        there `await astop()` waits.

        Args:
            timeout: seconds to wait for the handlers.
        """
        ended = self.begin_to_stop(timeout)
        if ended is None or self._is_here():
            return
        try:
            ended.result(timeout + _CLOSE_TIMEOUT_S)
        except TimeoutError:
            logger.warning("%r was not stopped within %g s, and stops later.", self, timeout + _CLOSE_TIMEOUT_S)

    def begin_to_stop(self, timeout: float = STOP_TIMEOUT_S) -> Future[None] | None:
        """As `stop`, without waiting; what is done when it has ended, or None if it had before."""
        processor = self._worker
        if processor is None or self._over.is_set():
            return None
        try:
            loop = io_loop()
        except HubClosed:
            return None
        return asyncio.run_coroutine_threadsafe(processor.stop(timeout), loop)

    async def astop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """As `stop`, while the running loop goes on."""
        ended = self.begin_to_stop(timeout)
        if ended is not None and _inside.get() is not self:
            waiting = asyncio.wrap_future(ended)
            ignore_error(waiting)
            await asyncio.wait([waiting], timeout=timeout + _CLOSE_TIMEOUT_S)

    def wait(self, timeout: float | None = None, *, grace: float = GRACE_S) -> bool:
        """Wait until it has ended, by `stop()`, by an error, or by SIGTERM or SIGINT.

        After a signal, no process of groups in this program takes further events. Handlers that run have `grace`
        seconds to finish; then coroutines are cancelled. All that is not finished is handed back, and the attempt does
        not count. A second signal ends the program at once. This holds in the main thread, which alone may handle
        signals; handlers that the program has installed itself are called too, and are back when this returns.

        `await processing` is the same on a running loop.

        Args:
            timeout: seconds; None is as long as it takes.
            grace: seconds that running handlers have after a signal.

        Returns:
            Whether it has ended.

        Raises:
            GroupError: if it ended since the group was given other terms.
            HubClosed: if it ended since the loop of its handlers did.
        """
        with on_shutdown_signal(lambda: stop_all(grace)):
            # After a signal, leaving the block waits for the end, whatever the timeout. The system may deliver a signal
            # to any thread, and Python runs its handler when the main thread wakes.
            end = inf if timeout is None else monotonic() + timeout
            while not self._over.wait(max(0.0, min(_WAKE_S, end - monotonic()))) and monotonic() < end:
                pass
        return self._outcome()

    def __await__(self) -> Generator[Any, None, bool]:
        return self._ended().__await__()

    async def _ended(self) -> bool:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def tell(_: Processing) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(ended.set)

        self._waiters.append(tell)
        try:
            # The loop goes on meanwhile: handlers may run on it.
            with on_shutdown_signal(lambda: stop_all(GRACE_S), waits=False) as watch:
                if not self._over.is_set():
                    await ended.wait()
                if watch is not None and watch.is_asked:
                    await asyncio.wrap_future(watch.finished)
        finally:
            self._waiters.remove(tell)
        return self._outcome()

    def _outcome(self) -> bool:
        if self._error is not None:
            raise self._error
        return self._over.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.astop()

    def forked(self) -> None:
        """Have ended, in a child process: threads, loop and connection are the parent's."""
        if self._link is not None:
            self._link.abandon()
        self._worker = None
        self._over = Flag()
        self._over.set()

    async def _begin(self, workers: Callable[[OnResult], Executor], since: Since, replace: bool) -> None:
        self._link = link = ReconnectingClient(self._address, self._name)
        processor = Worker(link, self._subjects, self._plan, workers, self._tell, self._end)
        try:
            await processor.start(since, replace)
        except BaseException:
            await link.close()
            raise
        self._worker = processor
        _running.add(self)

    def _is_here(self) -> bool:
        """Whether waiting for the handlers here would be in their way."""
        if in_io_thread() or _inside.get() is self:
            return True
        try:
            return asyncio.get_running_loop() is self._handlers_loop
        except RuntimeError:
            return False

    def _tell(self, workers: Executor, failure: Failure) -> None:
        failures = self.failures
        if failures.observers:
            workers.tell(lambda: failures.on_next(failure))

    def _end(self, workers: Executor, reason: Exception | None) -> None:
        self._error = reason
        if self.failures.observers:
            workers.tell(self.failures.on_completed)
        self._over.set()
        for tell in list(self._waiters):
            tell(self)
        self._parted(self)

    def _told(self) -> dict[str, int]:
        counts: dict[str, int] = {} if self._worker is None else dict(self._worker.counts)
        return {name: counts.get(name, 0) for name in Counts._fields}


def stop_all(grace: float) -> None:
    """Stop all processings of this process at the same time, and wait until they have ended.

    Args:
        grace: seconds that running handlers have to finish.
    """
    deadline = monotonic() + grace + _CLOSE_TIMEOUT_S
    for ended in [each.begin_to_stop(grace) for each in list(_running)]:
        if ended is not None:
            with suppress(TimeoutError):
                ended.result(max(0.0, deadline - monotonic()))


def _nobody(_: Processing) -> None:
    """Nobody wants to know."""
