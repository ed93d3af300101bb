"""Runs plain functions as handlers, in threads.

A thread cannot be ended from outside. A stuck one is abandoned and replaced; it ends when its handler returns. The
threads are daemons, so that a stuck one does not prevent the exit of the program.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from time import monotonic
from typing import cast

from rxhub.concurrency.awaitables import as_coroutine, check_was_run, is_unfinished
from rxhub.errors import HubClosed
from rxhub.event import Event
from rxhub.transport.nats.processing.executor import Executor, Result
from rxhub.transport.nats.processing.failures import run_callback
from rxhub.transport.nats.processing.job import Job, LeaseExpired

__all__ = ["ThreadExecutor"]


class _ThreadState:
    """The running job of a thread, and whether the thread was abandoned."""

    __slots__ = ("is_abandoned", "job")

    def __init__(self) -> None:
        self.job: Job | None = None
        self.is_abandoned = False


class ThreadExecutor(Executor):
    """Runs handlers in threads of its own. A coroutine that a handler returns runs in the same thread."""

    def __init__(self, handler: Callable[[Event], object], concurrency: int, context: Context, group: str) -> None:
        super().__init__(handler, concurrency, context, group)
        # Its `get` waits in C. None wakes a thread for callbacks, or to stop.
        self._pending: SimpleQueue[Job | None] = SimpleQueue()
        self._callbacks: deque[Callable[[], object]] = deque()
        self._threads: list[_ThreadState] = []

    def start(self, on_result: Callable[[Result], None]) -> None:
        self._on_result = on_result
        try:
            for _ in range(self._concurrency):
                self._start_thread()
        except HubClosed:
            self.stop()
            raise

    def submit(self, job: Job) -> None:
        self._pending.put(job)

    def call(self, callback: Callable[[], object]) -> None:
        self._callbacks.append(callback)
        self._pending.put(None)

    def take_pending(self) -> list[Job]:
        taken: list[Job] = []
        with suppress(Empty):
            while True:
                job = self._pending.get_nowait()
                if job is not None:
                    taken.append(job)
        if self._callbacks:
            self._pending.put(None)  # the one that was sent with them was taken
        return taken

    def overdue(self, timeout: float) -> list[Job]:
        latest = monotonic() - timeout
        return [job for state in self._threads if (job := state.job) is not None and job.started_at < latest]

    def abandon(self, job: Job) -> None:
        for state in self._threads:
            if state.job is job:
                state.is_abandoned = True
                self._threads.remove(state)
                self._start_thread()
                return

    def cancel(self) -> None:
        """Do nothing: threads cannot be cancelled."""

    def stop(self) -> None:
        self._is_stopped = True
        for _ in self._threads:
            self._pending.put(None)

    def _start_thread(self) -> None:
        state = _ThreadState()
        self.start_thread(self._run, state)
        self._threads.append(state)

    def _run(self, state: _ThreadState) -> None:
        take, handler, on_result = self._pending.get, self._handler, self._on_result
        while not (self._is_stopped or state.is_abandoned):
            job = take()
            while self._callbacks:
                with suppress(IndexError):  # another thread has taken it
                    run_callback(self._callbacks.popleft())
            if job is None:
                continue
            run, now = job.run, monotonic()
            if now > job.lease_until:
                on_result(Result(job, run, LeaseExpired(), 0.0))
                continue
            job.started_at = now
            state.job = job
            failure: BaseException | None = None
            trace = self.start_trace(job)
            try:
                result = self.variables(trace).run(handler, cast("Event", job.event))
                if is_unfinished(result):
                    self.variables(trace).run(asyncio.run, as_coroutine(result))
                else:
                    check_was_run(result)
            except BaseException as error:
                # Including SystemExit, which must not end the thread.
                failure = error
            state.job = None
            if trace is not None:
                trace.end(failure)
            on_result(Result(job, run, failure, monotonic() - now))
            # The exception would keep the frames of the handler alive.
            del failure
