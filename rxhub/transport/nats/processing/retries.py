"""Retry and dead-letter handling: jobs that were delivered before, must be handled only once, or fail.

`options.RetryPolicy` computes the delays.

Attempts are recorded (see `AttemptStore`): a failed one when it has failed, and one whose message had a delivery
without a known result before it starts, because it may have ended its process. Such jobs run one at a time, so that the
one that ends the process is known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from traceback import format_exception
from typing import Any, Protocol, TypeVar

from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.supervise import report
from rxhub.errors import HubConnectionError, RxHubError, StreamError, as_exception, error_text
from rxhub.transport.nats.dead_letter import headers_of, subject_of
from rxhub.transport.nats.processing.delivery_state import AttemptRecord, AttemptStore
from rxhub.transport.nats.processing.executor import HandlerRunner
from rxhub.transport.nats.processing.expiry import Expiry
from rxhub.transport.nats.processing.failures import Failure, FailureLog
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.handled_ids import HandledIdStore
from rxhub.transport.nats.processing.in_flight import ACK, nak_after
from rxhub.transport.nats.processing.job import Job, LeaseExpired, MessageDeleted

__all__ = ["JobRunner", "PoisonMessage", "Retries"]

# A dead letter that the stream refuses is stored again after this time.
_STORE_RETRY_S = 30.0
_MAX_BACKOFF_S = 5.0
# A job is redelivered this long after an internal error.
_INTERNAL_ERROR_DELAY_S = 5.0
_NO_RESULT = "its process ended or lost its connection before the result was known"
_STOPPED = "its process was stopped before the result was known"

T = TypeVar("T")

logger = logging.getLogger("rxhub")


class PoisonMessage(RxHubError):
    """All attempts at an event ended without a result; the event may end its process."""


class JobRunner(Protocol):
    """What `Retries` and `Interruptions` need from the worker; see `Worker`."""

    @property
    def is_stopping(self) -> bool: ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]: ...
    def start_job(self, job: Job) -> None: ...
    def allow_parking(self, job: Job) -> None: ...
    async def restore(self, job: Job) -> None: ...
    def finish(self, job: Job, error: BaseException | None) -> None: ...
    def settle(self, job: Job, ack: bytes) -> None: ...
    def expire(self, job: Job) -> None: ...
    def count(self, name: str, job: Job) -> None: ...
    def notify(self, failure: Failure) -> None: ...


class Retries:
    """Runs jobs that need more than one call of the handler, each in a task."""

    def __init__(
        self,
        worker: JobRunner,
        group: Group,
        handlers: HandlerRunner,
        attempts: AttemptStore,
        expiry: Expiry,
        handled: HandledIdStore | None,
    ) -> None:
        options = group.options
        self._worker = worker
        self._handlers = handlers
        self._link = group.link
        self._subjects = group.subjects
        self._group = group.name
        self._retry = options.retry
        self._attempts = attempts
        self._expiry = expiry
        self._handled = handled
        # A failing job that keeps its place is retried here, and others wait. Otherwise it is redelivered later.
        self._keeps_place = options.key is not None
        self.failure_log = FailureLog(group.name, options.retries)
        self._one_at_a_time = asyncio.Lock()
        self._slots = asyncio.Semaphore(options.concurrency)
        self._deletions: set[asyncio.Task[None]] = set()

    # Tasks

    def run(self, job: Job) -> None:
        """Run a job that has not run in this process yet."""
        self._spawn(job, lambda: self._run(job))

    def recall(self, job: Job) -> None:
        """Read the data of a parked job whose turn has come, and run the job."""
        self._spawn(job, lambda: self._recall(job))

    def handle_failure(self, job: Job, error: BaseException) -> None:
        """Retry a job whose handler has raised, or store a dead letter."""
        self._spawn(job, lambda: self._handle_result(job, error))

    def reject(self, job: Job, error: Exception) -> None:
        """Store a dead letter for a message that is not a valid event."""
        self._spawn(job, lambda: self._dead_letter(job, error))

    def handle_internal_error(self, job: Job, error: Exception) -> None:
        """Have a job redelivered after an unexpected error, or store a dead letter."""
        report(f"work of {self._group}", error, job.name)
        # The deliveries, because the progress of the attempt is not known.
        job.attempt = job.message.delivered
        if self._retry.is_last(job.attempt):
            job.task = self._worker.spawn(lambda: self._reject_after_internal_error(job, error))
        else:
            self._worker.settle(job, nak_after(_INTERNAL_ERROR_DELAY_S))

    def _spawn(self, job: Job, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        job.task = self._worker.spawn(lambda: self._guard(job, step))

    async def _guard(self, job: Job, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await step()
        except LeaseExpired:
            self._worker.expire(job)
        except MessageDeleted as error:
            fields = job.log_fields(self._group)
            logger.error("%s: an event was not handled and is lost: %s", self._group, error, extra=fields)
            self._worker.count("expired", job)
            self._worker.settle(job, ACK)
            self.forget(job)
        except Exception as error:
            self.handle_internal_error(job, error)
        finally:
            if job.task is asyncio.current_task():
                job.task = None

    async def _reject_after_internal_error(self, job: Job, error: Exception) -> None:
        try:
            await self._dead_letter(job, error)
        except Exception as second:
            report(f"work of {self._group}", second, job.name)
            self._worker.settle(job, nak_after(_INTERNAL_ERROR_DELAY_S))

    # Attempts

    async def _run(self, job: Job) -> None:
        worker, message, handled = self._worker, job.message, self._handled
        if handled is not None and await self._request(job, lambda: handled.known([job.id_digest])):
            worker.count("skipped", job)
            worker.settle(job, ACK)
            return
        if message.delivered == 1:
            await self._handle_result(job, await self._attempt(job))
            return
        record = await self._request(job, lambda: self._attempts.get(message))
        job.attempt, job.has_record = record.attempts + 1, record.delivered > 0 or record.attempts > 0
        if self._retry.is_last(record.attempts):
            job.attempt = record.attempts
            reason = f"The event was tried {record.attempts} times: {record.reason or _NO_RESULT}."
            await self._dead_letter(job, PoisonMessage(reason))
        elif message.delivered - 1 > record.delivered:
            async with self._one_at_a_time:
                await self._request(job, lambda: self._record_start(job))
                error = await self._attempt(job)
            await self._handle_result(job, error)
        else:
            await self._handle_result(job, await self._attempt(job))

    async def _recall(self, job: Job) -> None:
        await self._request(job, lambda: self._worker.restore(job))
        self._worker.start_job(job)

    async def _handle_result(self, job: Job, error: BaseException | None) -> None:
        worker = self._worker
        while error is not None:
            if isinstance(error, LeaseExpired):
                raise error
            worker.count("failed", job)
            if self._retry.is_last(job.attempt):
                await self._dead_letter(job, error)
                return
            delay = self._retry.delay(job.attempt)
            if self._expiry.is_deleted_within(job.message, delay):
                await self._dead_letter(job, error, "The stream deletes the event before the next attempt.")
                return
            self.failure_log.log(job, error, f"the next attempt follows in {delay:.3g} s")
            worker.notify(Failure(job.event, as_exception(error), job.attempt, is_final=False))
            worker.count("retried", job)
            if not self._keeps_place:
                await self._record_failure(job, error)
                worker.settle(job, nak_after(delay))
                return
            await self._pause(job, delay)
            job.attempt += 1
            await self._request(job, lambda: self._record_start(job))
            error = await self._attempt(job)
        worker.count("handled", job)
        worker.settle(job, ACK)
        self.forget(job)

    async def _attempt(self, job: Job) -> BaseException | None:
        handled = self._handled
        if handled is None:
            return await self._call(job)
        # No other job starts before the id is stored, because it could end the process.
        async with self._slots:
            error = await self._call(job)
            if error is None:
                await self._request(job, lambda: handled.mark([job.id_digest]), has_run=True)
            return error

    async def _call(self, job: Job) -> BaseException | None:
        error = await self._handlers.run(job)
        job.is_counted = False
        return error

    async def _pause(self, job: Job, seconds: float) -> None:
        """Wait with a job that keeps its place."""
        job.is_started = False
        self._worker.allow_parking(job)
        await asyncio.sleep(seconds)
        await self._request(job, lambda: self._worker.restore(job))

    # Dead letters

    async def _dead_letter(self, job: Job, error: BaseException, remark: str = "") -> None:
        """Store a dead letter, and acknowledge the job when it is stored."""
        worker, message = self._worker, job.message
        trace = "".join(format_exception(error)) if error.__traceback__ is not None else ""
        trace = trace.encode(errors="backslashreplace").decode()
        reason = f"{type(error).__name__}: {error_text(error)}" if trace else error_text(error)
        reason = f"{reason} {remark}".rstrip()
        backoff = Backoff(0.5, _STORE_RETRY_S)
        while True:
            try:
                line = await self._link.ready(_MAX_BACKOFF_S)
                headers = headers_of(self._group, message, reason, trace, job.attempt, line.max_payload)
                await self._link.publish_and_wait(
                    subject_of(self._subjects, self._group, message), message.data, headers
                )
                break
            except (HubConnectionError, StreamError) as failure:
                logger.error(
                    "%s: could not store %s as a dead letter after its last attempt; retrying: %s",
                    self._group,
                    job.name,
                    failure,
                    extra=job.log_fields(self._group),
                )
            if self._link.is_closed:
                return
            if not self._keeps_place:
                await self._record_failure(job, error)
                worker.settle(job, nak_after(_STORE_RETRY_S))
                return
            await self._pause(job, backoff.delay())
        self.failure_log.log(job, error, "the event is now a dead letter")
        worker.notify(Failure(job.event, as_exception(error), job.attempt, is_final=True))
        worker.count("dead", job)
        worker.settle(job, ACK)
        self.forget(job)

    # Records

    async def record_interruption(self, job: Job) -> None:
        """Record that the running attempt was interrupted and does not count."""
        job.has_record = True
        await self._record(job, AttemptRecord(job.attempt - 1, job.message.delivered, _STOPPED, job.name))

    async def _record_failure(self, job: Job, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error_text(error)}"[:500]
        await self._record(job, AttemptRecord(job.attempt, job.message.delivered, reason, job.name))

    async def _record(self, job: Job, record: AttemptRecord) -> None:
        """Store a record if possible. Without it, there is one more attempt."""
        try:
            await self._attempts.put(job.message, record)
        except (HubConnectionError, StreamError) as error:
            fields = job.log_fields(self._group)
            logger.warning("%s: could not record an attempt at %s: %s", self._group, job.name, error, extra=fields)

    async def _record_start(self, job: Job) -> None:
        """Record an attempt whose result may never be known."""
        if self._worker.is_stopping:
            # The job is returned, which cancels this.
            await asyncio.get_running_loop().create_future()
        job.is_counted = True
        await self._attempts.put(
            job.message, AttemptRecord(job.attempt, job.message.delivered - 1, _NO_RESULT, job.name)
        )
        job.has_record = True

    def forget(self, job: Job) -> None:
        """Delete the record of a job that has ended, if there is one."""
        if job.has_record:
            task = self._worker.spawn(lambda: self._delete_record(job))
            self._deletions.add(task)
            task.add_done_callback(self._deletions.discard)

    async def wait_for_deletions(self, timeout: float) -> None:
        """Wait until the records of ended jobs are deleted: otherwise `Expiry` would count their events as lost."""
        if self._deletions:
            await asyncio.wait(self._deletions, timeout=timeout)

    async def _delete_record(self, job: Job) -> None:
        try:
            await self._attempts.delete(job.message)
        except (HubConnectionError, StreamError) as error:
            # It expires.
            logger.debug("%s: could not delete the attempts at %s: %s", self._group, job.name, error)

    async def _request(self, job: Job, request: Callable[[], Awaitable[T]], has_run: bool = False) -> T:
        """Repeat a request until it succeeds; raise LeaseExpired when it is too late to start the job."""
        backoff = Backoff(0.1, _MAX_BACKOFF_S)
        while True:
            try:
                return await request()
            except (HubConnectionError, StreamError) as error:
                if self._link.is_closed or (not has_run and monotonic() > job.lease_until):
                    raise LeaseExpired(f"The lease of {job.name} has expired.") from error
                logger.debug("%s: %s waits: %s", self._group, job.name, error)
            await asyncio.sleep(backoff.delay())
