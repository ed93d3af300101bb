"""`Processing`, the result of `hub.process`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator, Iterable
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
from rxhub.errors import HubClosed, HubConnectionError
from rxhub.event import Event
from rxhub.rx.scoped_subject import ScopedSubject
from rxhub.rx.subject import Subject
from rxhub.telemetry import counts
from rxhub.telemetry.counts import EventCounts, Level
from rxhub.text.printable import printable
from rxhub.transport.io_thread import in_io_thread, io_loop
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.processing.executor import Executor
from rxhub.transport.nats.processing.failures import Failure
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.options import WorkerOptions
from rxhub.transport.nats.processing.task_executor import TaskExecutor
from rxhub.transport.nats.processing.thread_executor import ThreadExecutor
from rxhub.transport.nats.processing.worker import Worker
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.subjects import Subjects

__all__ = ["STOP_TIMEOUT_S", "Counts", "Processing", "stop_all"]

STOP_TIMEOUT_S = 5.0  # default time for running handlers to finish
# For returning messages to the server and closing the connection, after the handlers have finished.
_CLOSE_TIMEOUT_S = 10.0
_WAKE_S = 0.5

# The processing whose handler is running.
_current: ContextVar[Processing | None] = ContextVar("rxhub_processing", default=None)

# All processings of the program, which a signal stops.
_running: WeakSet[Processing] = WeakSet()

logger = logging.getLogger("rxhub")


class Counts(NamedTuple):
    """The numbers of events in this process.

    Attributes:
        handled: events whose handler returned.
        failed: failed attempts.
        retried: failed attempts that are followed by others.
        dead: events that became dead letters.
        skipped: events that do not match the subscription or the target, or, with `once=True`, were handled before.
        expired: events that were tried or waited for their turn when the stream deleted them, by its age or size limit
            or by hand. The log names each.
    """

    handled: int
    failed: int
    retried: int
    dead: int
    skipped: int
    expired: int = 0


class Processing:
    """This process's part in a group, from `hub.process(…)` to `stop()`.

    It is a context manager that stops at the end of the block. `async with` does not block the loop while stopping.

    Attributes:
        group: the name of the group.
        subscription: its events.
        failures: emits each failed attempt, where handlers run: in one of their threads, or on their loop.
    """

    def __init__(self, address: NatsOptions, subjects: Subjects, name: str, options: WorkerOptions) -> None:
        self.group = options.group
        self.subscription = options.subscription
        self.failures: Subject[Failure] = ScopedSubject(serialize=True)
        self._address = address
        self._subjects = subjects
        self._name = f"{name} {options.group}"
        self._options = options
        self._link: ReconnectingClient | None = None
        self._worker: Worker | None = None
        self._executor: Executor | None = None
        self._starting: asyncio.Task[Any] | None = None
        self._handlers_loop: asyncio.AbstractEventLoop | None = None
        self._over = Flag()
        self._error: Exception | None = None
        self._on_ended: list[Callable[[Processing], object]] = []

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts._asdict().items() if count)
        state = "has ended" if self._over.is_set() else counts or "no events yet"
        return printable(f"<Processing {self.subscription!r} in the group {self.group}: {state}>")

    def start(
        self,
        handler: Callable[[Event], object],
        call: Callable[[Coroutine[Any, Any, None]], None],
        on_ended: Callable[[Processing], object],
    ) -> None:
        """Start; `hub.process` calls this once."""
        self._on_ended.append(on_ended)
        context = copy_context()
        context.run(_current.set, self)
        options = self._options
        is_coroutine = returns_awaitable(handler)
        if is_coroutine:
            with suppress(RuntimeError):  # none is running
                self._handlers_loop = asyncio.get_running_loop()

        if is_coroutine:
            loop = self._handlers_loop
            self._executor = TaskExecutor(handler, options.concurrency, context, self.group, options.timeout, loop)
        else:
            self._executor = ThreadExecutor(handler, options.concurrency, context, self.group)
        try:
            call(self._start(self._executor))
        except BaseException:
            # Ctrl-C may come at any time.
            with suppress(HubClosed, HubConnectionError):
                loop = io_loop()
                asyncio.run_coroutine_threadsafe(self._abandon(), loop)
            raise

    @property
    def is_active(self) -> bool:
        """Whether events are handled: it was started, and neither stopped nor ended by an error."""
        return self._worker is not None and not self._over.is_set()

    @property
    def is_connected(self) -> bool:
        """Whether it has joined the group and is connected, so that events arrive."""
        return self.is_active and self._link is not None and self._link.connection is not None

    @property
    def error(self) -> Exception | None:
        """The error that ended it, if there was one."""
        return self._error

    @property
    def counts(self) -> Counts:
        """The numbers of events in this process."""
        counts: dict[str, int] = {} if self._worker is None else dict(self._worker.counts)
        return Counts(*(counts.get(name, 0) for name in Counts._fields))

    def levels(self, counting: EventCounts) -> Iterable[Level]:
        """The numbers of events in progress and in the group, for metrics."""
        worker = self._worker
        return () if worker is None or self._over.is_set() else worker.levels()

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Receive no more events, and wait for running handlers.

        Events that were received and not started are returned, so that other processes get them at once. Coroutines
        that still run after the timeout are cancelled. Threads are abandoned, and their events are redelivered to any
        process.

        In a handler, or on the loop that runs the handlers, it does not wait, because it would wait for itself. Use
        `await astop()` there.

        Args:
            timeout: seconds to wait for running handlers.
        """
        ended = self.begin_to_stop(timeout)
        if ended is None or self._would_block():
            return
        try:
            ended.result(timeout + _CLOSE_TIMEOUT_S)
        except TimeoutError:
            logger.warning("%r did not stop within %g s; stopping continues.", self, timeout + _CLOSE_TIMEOUT_S)

    def begin_to_stop(self, timeout: float = STOP_TIMEOUT_S) -> Future[None] | None:
        """`stop` without waiting; done when the processing has ended, or None if it had before."""
        worker = self._worker
        if worker is None or self._over.is_set():
            return None
        try:
            loop = io_loop()
        except HubClosed:
            return None
        return asyncio.run_coroutine_threadsafe(worker.stop(timeout), loop)

    async def astop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """`stop` without blocking the running loop."""
        ended = self.begin_to_stop(timeout)
        if ended is not None and _current.get() is not self:
            waiting = asyncio.wrap_future(ended)
            ignore_error(waiting)
            await asyncio.wait([waiting], timeout=timeout + _CLOSE_TIMEOUT_S)

    def wait(self, timeout: float | None = None, *, grace: float = GRACE_S) -> bool:
        """Wait until it has ended, by `stop()`, by an error, or by SIGTERM or SIGINT.

        After a signal, all processings of the program stop receiving events. Running handlers have `grace` seconds to
        finish; then coroutines are cancelled. Unfinished events are returned, and the attempt does not count. A second
        signal ends the program at once. Signals are handled in the main thread only. Signal handlers that the program
        has installed are called too, and are restored when this returns.

        In a coroutine, use `await processing` instead.

        Args:
            timeout: seconds; None is unlimited.
            grace: seconds for running handlers after a signal.

        Returns:
            Whether it has ended.

        Raises:
            GroupError: if it ended because the settings of the group were replaced.
            HubClosed: if it ended because the loop of its handlers ended.
        """
        with on_shutdown_signal(lambda: stop_all(grace)):
            # The end of the block waits for a shutdown, regardless of the timeout. A signal may arrive in any thread,
            # and Python calls its handler when the main thread wakes.
            end = inf if timeout is None else monotonic() + timeout
            while not self._over.wait(max(0.0, min(_WAKE_S, end - monotonic()))) and monotonic() < end:
                pass
        return self._has_ended()

    def __await__(self) -> Generator[Any, None, bool]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> bool:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def wake(_: Processing) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(ended.set)

        self._on_ended.append(wake)
        try:
            # The shutdown must not block the loop, because handlers may run on it.
            with on_shutdown_signal(lambda: stop_all(GRACE_S), waits=False) as watch:
                if not self._over.is_set():
                    await ended.wait()
                if watch is not None and watch.is_asked:
                    await asyncio.wrap_future(watch.finished)
        finally:
            self._on_ended.remove(wake)
        return self._has_ended()

    def _has_ended(self) -> bool:
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
        """Have ended in a forked child: threads, loop and connection belong to the parent."""
        if self._link is not None:
            self._link.abandon()
        self._worker = None
        self._over = Flag()
        self._over.set()

    async def _start(self, executor: Executor) -> None:
        self._starting = asyncio.current_task()
        self._link = link = ReconnectingClient(self._address, self._name)
        try:
            await link.start()
            group = Group(link, self._subjects, self._options)
            await group.create_streams()
            await group.join()
            worker = Worker(group, executor, self._notify, self._end)
            await worker.start()
            self._worker = worker
        except BaseException:
            await link.close()
            raise
        _running.add(self)
        counts.sources.add(self)

    async def _abandon(self) -> None:
        """Stop it if it has started; cancel its start unless that was done."""
        if self._worker is not None:
            await self._worker.stop(0.0)
        elif self._starting is not None and not self._starting.cancelling():
            self._starting.cancel()

    def _would_block(self) -> bool:
        """Whether waiting here for the handlers would prevent them from running."""
        if in_io_thread() or _current.get() is self:
            return True
        try:
            return asyncio.get_running_loop() is self._handlers_loop
        except RuntimeError:
            return False

    def _notify(self, failure: Failure) -> None:
        failures = self.failures
        if failures.observers and self._executor is not None:
            self._executor.call(lambda: failures.on_next(failure))

    def _end(self, error: Exception | None) -> None:
        self._error = error
        if self.failures.observers and self._executor is not None:
            self._executor.call(self.failures.on_completed)
        self._over.set()
        for on_ended in self._on_ended[::-1]:
            on_ended(self)


def stop_all(grace: float) -> None:
    """Stop all processings of the program at the same time, with `grace` seconds for running handlers, and wait."""
    deadline = monotonic() + grace + _CLOSE_TIMEOUT_S
    for ended in [each.begin_to_stop(grace) for each in list(_running)]:
        if ended is not None:
            with suppress(TimeoutError):
                ended.result(max(0.0, deadline - monotonic()))
