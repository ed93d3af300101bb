"""Runs handlers in an executor, which calls them in threads or tasks, and collects their results.

A handler may take a microsecond or an hour. A job therefore costs an executor one read from a queue and one write to
another, and the I/O loop is woken once for many results: at once for the first one, then after a millisecond or when no
further result is expected.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from rxhub.errors import HubClosed
from rxhub.event import Event
from rxhub.telemetry import tracing
from rxhub.transport.nats.processing.job import HandlerTimeout, Job, LeaseExpired

if TYPE_CHECKING:
    from rxhub.telemetry.spans import HandlerTrace

__all__ = ["Executor", "HandlerRunner", "Result"]

_BATCH_DELAY_S = 0.001
_MAX_CHECK_INTERVAL_S = 1.0
# Weight of a new value in the moving average.
_SMOOTHING = 0.2

logger = logging.getLogger("rxhub")


class Result(NamedTuple):
    """The result of a job."""

    job: Job
    run: int  # `job.run` when the job was submitted
    error: BaseException | None  # `LeaseExpired` if the handler was not called
    seconds: float


class Executor(ABC):
    """Calls handlers, each in a copy of `context`. All methods are called on the I/O loop and return at once."""

    def __init__(self, handler: Callable[[Event], object], concurrency: int, context: Context, group: str) -> None:
        self._handler = handler
        self._concurrency = concurrency
        self._context = context
        self._group = group
        self._is_stopped = False

    @property
    def is_alive(self) -> bool:
        """Whether handlers can be called; their event loop may have ended."""
        return True

    def start_trace(self, job: Job) -> HandlerTrace | None:
        """The trace of an attempt that starts now; None if tracing is off."""
        if tracing.active is None or job.event is None:
            return None
        trace = tracing.active.handle(job.event, self._group, job.attempt)
        job.trace_id = trace.trace_id
        return trace

    def variables(self, trace: HandlerTrace | None) -> Context:
        """The variables of a handler: a copy of `context` in which the span of the attempt is the current one."""
        variables = self._context.copy()
        if trace is not None:
            trace.attach(variables)
        return variables

    def start_thread(self, run: Callable[..., object], *arguments: object) -> None:
        """Run a function in a thread that does not prevent the exit of the program."""
        try:
            Thread(target=run, args=arguments, name=f"rxhub-{self._group}", daemon=True).start()
        except RuntimeError as error:
            raise HubClosed(f"Cannot start a thread for handlers: {error}.") from error

    @abstractmethod
    def start(self, on_result: Callable[[Result], None]) -> None:
        """Start; `on_result` receives results, in any thread. Raises HubClosed if no thread can be started."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Call the handler as soon as there is room."""

    @abstractmethod
    def call(self, callback: Callable[[], object]) -> None:
        """Run a callback, such as an observer of failures, between two handlers."""

    @abstractmethod
    def take_pending(self) -> list[Job]:
        """Remove and return the jobs that have not started, in order."""

    @abstractmethod
    def overdue(self, timeout: float) -> list[Job]:
        """The jobs that have run for more than `timeout` seconds and that the executor cannot end itself."""

    @abstractmethod
    def abandon(self, job: Job) -> None:
        """Stop waiting for a job; another one may run in its place."""

    @abstractmethod
    def cancel(self) -> None:
        """Cancel running handlers, if that is possible."""

    @abstractmethod
    def stop(self) -> None:
        """Start no further jobs. Running handlers may finish."""


class HandlerRunner:
    """Runs the handlers of one worker, and passes their results on in order. All methods run on the I/O loop.

    `expects_results` tells whether results of running handlers are worth waiting for: no other job waits for them.
    """

    def __init__(
        self,
        group: str,
        executor: Executor,
        on_results: Callable[[list[Result]], object],
        expects_results: Callable[[], bool],
    ) -> None:
        self.executor = executor
        self.running = 0  # the number of submitted jobs without a result
        self.mean_s = 0.0  # the moving average of the running time of handlers in seconds; 0 before the first result
        self._group = group
        self._on_results = on_results
        self._expects_results = expects_results
        self._loop = asyncio.get_running_loop()
        self._results: deque[Result] = deque()
        self._is_scheduled = False
        self.is_paused = False
        # Jobs that wait for `resume`, and their `run` when they were submitted.
        self._held: list[tuple[Job, int]] = []

    def start(self) -> None:
        self.executor.start(self._put)

    def submit(self, job: Job) -> None:
        if self.is_paused:
            self._held.append((job, job.run))
            return
        job.run += 1
        job.is_started = True
        self.running += 1
        self.executor.submit(job)

    def pause(self) -> None:
        """Start no further handlers; running ones finish."""
        if not self.is_paused:
            taken = self._take_back()
            self.is_paused = True
            self._held = [(job, job.run) for job in taken]

    def resume(self) -> None:
        """Start the handlers that wait, in order."""
        self.is_paused = False
        held, self._held = self._held, []
        for job, run in held:
            # Others were released in the meantime.
            if job.run == run:
                self.submit(job)

    async def run(self, job: Job) -> BaseException | None:
        """Call the handler; return its error. `on_results` has to pass the result to `job.waiter`."""
        job.waiter = waiter = self._loop.create_future()
        self.submit(job)
        try:
            return await waiter
        finally:
            job.waiter = None

    def take_back_pending(self) -> list[Job]:
        """Forget the jobs whose handlers have not started; returns them."""
        held, self._held = self._held, []
        return [*self._take_back(), *(job for job, _ in held)]

    def _take_back(self) -> list[Job]:
        taken = self.executor.take_pending()
        for job in taken:
            job.is_started = False
            self.running -= 1
        return taken

    async def abandon_overdue(self, timeout: float) -> None:
        """Abandon handlers that the executor cannot end after `timeout` seconds; until cancelled."""
        while True:
            await asyncio.sleep(min(_MAX_CHECK_INTERVAL_S, timeout / 10))
            for job in self.executor.overdue(timeout):
                self.executor.abandon(job)
                # The result of the handler will be late.
                job.run += 1
                error = HandlerTimeout(f"The handler has not ended within {timeout:g} s.")
                self._take([Result(job, job.run, error, timeout)])

    def _put(self, result: Result) -> None:
        """Receive a result, in any thread."""
        self._results.append(result)
        if not self._is_scheduled or len(self._results) == self.running:
            self._is_scheduled = True
            with suppress(RuntimeError):  # the loop is closed, at exit
                self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        # First, because a result that is added from now on must schedule another call.
        self._is_scheduled = False
        results = self._results
        batch = [results.popleft() for _ in range(len(results))]
        if not batch:
            return
        self._take(batch)
        if self.running and self._expects_results():
            self._is_scheduled = True
            self._loop.call_later(_BATCH_DELAY_S, self._collect)

    def _take(self, batch: list[Result]) -> None:
        results: list[Result] = []
        for result in batch:
            if result.run == result.job.run:
                results.append(result)
                continue
            error = result.error
            how = "without an error" if error is None else f"with {type(error).__name__}: {error}"
            message = "%s: the handler of %s ended %s after its timeout."
            logger.warning(message, self._group, result.job.name, how, extra=result.job.log_fields(self._group))
        self.running -= len(results)
        seconds = [result.seconds for result in results if not isinstance(result.error, LeaseExpired)]
        if seconds:
            mean_s = sum(seconds) / len(seconds)
            self.mean_s += (mean_s - self.mean_s) * (_SMOOTHING if self.mean_s else 1.0)
        self._on_results(results)
