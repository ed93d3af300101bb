"""Distinguishes failures of handlers from interruptions by a shutdown.

A shutdown cancels coroutines. A signal to a process group, such as Ctrl-C, also ends the programs that handlers run,
possibly before this process notices it. Such an attempt does not count, and the event is returned to the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from subprocess import CalledProcessError
from time import monotonic

from rxhub.concurrency.shutdown import is_shutting_down
from rxhub.errors import error_text
from rxhub.transport.nats.processing.in_flight import NAK, InFlight
from rxhub.transport.nats.processing.job import HandlerInterrupted, Job, LeaseExpired
from rxhub.transport.nats.processing.options import WorkerOptions
from rxhub.transport.nats.processing.retries import JobRunner, Retries

__all__ = ["Interruptions"]

# The time in which the signal that may have caused a failure reaches this process.
_SIGNAL_DELAY_S = 0.3
_POLL_S = 0.02
_RECORD_TIMEOUT_S = 1.0

logger = logging.getLogger("rxhub")


class Interruptions:
    """Returns interrupted jobs to the server."""

    def __init__(self, worker: JobRunner, in_flight: InFlight, retries: Retries, options: WorkerOptions) -> None:
        self._worker = worker
        self._in_flight = in_flight
        self._retries = retries
        self._group = options.group
        self._retry = options.retry
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, job: Job, error: BaseException) -> bool:
        """Return a job that a shutdown interrupts, now or soon, or `finish` it later; False if it has failed."""
        if isinstance(error, LeaseExpired):  # the handler was not called
            return False
        if isinstance(error, HandlerInterrupted) or self._worker.is_stopping:
            self._interrupt(job, error)
        elif is_shutting_down() or isinstance(error, CalledProcessError) or self._retry.is_last(job.attempt):
            self._worker.spawn(lambda: self._wait_for_signal(job, error))
        else:
            return False
        return True

    async def begin(self, jobs: Iterable[Job]) -> None:
        """Record that attempts that run, or were about to, do not count: the process may be killed before they end."""
        await asyncio.gather(*[self.record(job) for job in jobs if job.is_started or job.is_counted])

    async def record(self, job: Job) -> None:
        """Record that the running attempt does not count, if the server answers in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_RECORD_TIMEOUT_S):
                await self._retries.record_interruption(job)

    async def wait(self) -> None:
        """Wait until all interrupted jobs are returned."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _wait_for_signal(self, job: Job, error: BaseException) -> None:
        run, deadline = job.run, monotonic() + _SIGNAL_DELAY_S
        # A shutdown may also end without stopping this worker, if it is for others in the process.
        while not self._worker.is_stopping and (monotonic() < deadline or is_shutting_down()):
            await asyncio.sleep(_POLL_S)
        if job.run != run:
            return
        if self._worker.is_stopping:
            self._interrupt(job, error)
        else:
            self._worker.finish(job, error)

    def _interrupt(self, job: Job, error: BaseException) -> None:
        if not isinstance(error, HandlerInterrupted):
            logger.warning(
                "%s: %s failed during the shutdown. The attempt does not count, and the event is returned: %s",
                self._group,
                job.name,
                error_text(error) or type(error).__name__,
                # The same signal has ended the program; a traceback would not help.
                exc_info=None if isinstance(error, CalledProcessError) else error,
                extra=job.log_fields(self._group),
            )
        if job.task is not None:
            job.task.cancel()
        task = self._worker.spawn(lambda: self._return(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _return(self, job: Job) -> None:
        try:
            await self.record(job)
        finally:
            job.is_started = False
            self._in_flight.settle(job, NAK)
