"""Runs coroutine handlers as tasks, on the caller's event loop or on a private one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, cast

from rxhub.concurrency.awaitables import await_, check_was_run, is_unfinished
from rxhub.errors import HubClosed
from rxhub.event import Event
from rxhub.transport.nats.processing.executor import Executor, Result
from rxhub.transport.nats.processing.failures import run_callback
from rxhub.transport.nats.processing.job import HandlerInterrupted, HandlerTimeout, Job, LeaseExpired

if TYPE_CHECKING:
    from rxhub.telemetry.spans import HandlerTrace

__all__ = ["TaskExecutor"]

_CANCEL_TIMEOUT_S = 5.0  # a cancelled handler is abandoned if it has not ended after this time


class TaskExecutor(Executor):
    """Runs each handler in a task on `loop`, or in a thread with a private loop, for up to `timeout` seconds."""

    def __init__(
        self,
        handler: Callable[[Event], object],
        concurrency: int,
        context: Context,
        group: str,
        timeout: float | None,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(handler, concurrency, context, group)
        self._timeout = timeout
        self._is_private = loop is None
        if loop is not None:
            self._loop = loop
        self._pending: deque[Job] = deque()
        self._running: dict[Job, asyncio.Task[BaseException | None]] = {}
        # Sleeps while handlers run. Only an ending loop, which cancels all tasks, cancels it.
        self._sentinel: asyncio.Task[object] | None = None
        self._is_scheduled = False
        self._is_cancelled = False

    def start(self, on_result: Callable[[Result], None]) -> None:
        self._on_result = on_result
        if not self._is_private:
            return
        self._loop = asyncio.new_event_loop()
        try:
            self.start_thread(_run_loop, self._loop)
        except HubClosed:
            self._loop.close()
            raise

    @property
    def is_alive(self) -> bool:
        return not self._loop.is_closed() and (bool(self._running) or not self._is_stopped)

    def submit(self, job: Job) -> None:
        self._pending.append(job)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self._start_pending)

    def call(self, callback: Callable[[], object]) -> None:
        self._schedule(lambda: run_callback(callback))

    def take_pending(self) -> list[Job]:
        taken: list[Job] = []
        with suppress(IndexError):  # the loop of the handlers takes jobs too
            while True:
                taken.append(self._pending.popleft())
        return taken

    def overdue(self, timeout: float) -> list[Job]:
        # Handlers are cancelled after `timeout` on their own loop. These have ignored it, or block the loop.
        latest = monotonic() - timeout - _CANCEL_TIMEOUT_S
        return [job for job in list(self._running) if job.started_at < latest]

    def abandon(self, job: Job) -> None:
        self._running.pop(job, None)
        self._schedule(self._start_pending)

    def cancel(self) -> None:
        def cancel() -> None:
            self._is_cancelled = True
            for task in list(self._running.values()):
                task.cancel()

        self._schedule(cancel)

    def stop(self) -> None:
        self._is_stopped = True
        if self._is_private:
            self._schedule(self._loop.stop)

    def _schedule(self, function: Callable[[], object]) -> None:
        # If the loop is closed, the worker notices it by `is_alive`.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def _start_pending(self) -> None:
        self._is_scheduled = False
        while len(self._running) < self._concurrency and not self._is_stopped:
            try:
                job = self._pending.popleft()
            except IndexError:
                return
            job.started_at = now = monotonic()
            if now > job.lease_until:
                self._on_result(Result(job, job.run, LeaseExpired(), 0.0))
                continue
            if self._sentinel is None:
                self._sentinel = self._loop.create_task(asyncio.Event().wait())
            trace = self.start_trace(job)
            task = self._loop.create_task(self._run(job), context=self.variables(trace))
            self._running[job] = task
            task.add_done_callback(partial(self._done, job, job.run, now, trace))

    async def _run(self, job: Job) -> BaseException | None:
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                result = self._handler(cast("Event", job.event))
                if is_unfinished(result):
                    result = await await_(result)
                check_was_run(result)
        except BaseException as error:
            # Returned, because a SystemExit in a task would end the loop.
            if isinstance(error, TimeoutError) and deadline.expired():
                return HandlerTimeout(f"The handler was cancelled after {self._timeout:g} s.")
            return error
        return None

    def _done(
        self,
        job: Job,
        run: int,
        started_at: float,
        trace: HandlerTrace | None,
        task: asyncio.Task[BaseException | None],
    ) -> None:
        if self._running.get(job) is task:
            del self._running[job]
        error = asyncio.CancelledError() if task.cancelled() else task.result()
        sentinel = self._sentinel
        # An ending loop would not finish further jobs.
        self._is_stopped = self._is_stopped or (sentinel is not None and sentinel.cancelling() > 0)
        if task.cancelling() and (self._is_cancelled or self._is_stopped):
            # Cancelled by `cancel` or the end of the loop. A timeout undoes its own cancellation (`uncancel`).
            interrupted = HandlerInterrupted(f"The handler was cancelled, and ended with {error!r}.")
            interrupted.__cause__ = error
            error = interrupted
        if trace is not None:
            trace.end(error)
        self._on_result(Result(job, run, error, monotonic() - started_at))
        self._start_pending()
        if sentinel is not None and not self._running:
            sentinel.cancel()
            self._sentinel = None


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    with suppress(RuntimeError):
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_CANCEL_TIMEOUT_S))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
