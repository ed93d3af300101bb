"""A job that is not handled at once: delivered before, handled only once, failing, or dead.

How often a message was delivered does not tell how often it was tried: a process that stops hands back what it has not
begun, and one that is killed takes along what only waited in it. So attempts are noted in the group's ledger: one that
fails, when it has failed, and one of a message of which a delivery came to nothing, before it begins, since that may
have ended its process. Of these one is run at a time: then it is known who did it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from traceback import format_exception
from typing import Protocol, TypeVar

from rxhub.concurrency.backoff import Backoff
from rxhub.errors import HubConnectionError, RxHubError, StreamError, as_exception, error_text
from rxhub.transport.nats.dead_letter import headers_of, subject_of
from rxhub.transport.nats.processing.acks import ACK, nak_after
from rxhub.transport.nats.processing.delivery_state import AttemptRecord, AttemptStore
from rxhub.transport.nats.processing.expiry import Expiry
from rxhub.transport.nats.processing.failures import Failure, FailureLog
from rxhub.transport.nats.processing.id_store import HandledIdStore
from rxhub.transport.nats.processing.job import Job, LeaseExpired
from rxhub.transport.nats.processing.retry_policy import RetryPolicy
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.storing import publish_and_wait
from rxhub.transport.nats.subjects import Subjects

__all__ = ["JobRunner", "PoisonMessage", "Retries"]

# Seconds after which a letter that could not be stored is tried again.
_STORE_RETRY_S = 30.0
_LONGEST_PAUSE = 5.0
_ENDED = "its process ended, or was cut off, before it was known what came of it"

_STOPPED = "its process was stopped before it was known what came of it"

T = TypeVar("T")

logger = logging.getLogger("rxhub")


class PoisonMessage(RxHubError):
    """An event whose attempts all ended without a result: it may be what ends its process."""


class JobRunner(Protocol):
    """What care is taken in: whoever holds the jobs, and has them run."""

    def rest(self, job: Job) -> None:
        """Let its data be dropped from memory until `resume`."""
        ...

    async def resume(self, job: Job) -> None:
        """Have its data in memory, as it was stored; raises `Missing`, or what `Bucket.get` raises."""
        ...

    def go_on(self, job: Job) -> None:
        """Run a job whose turn has come."""
        ...

    async def run_handler(self, job: Job) -> BaseException | None:
        """Have the handler called; gives back what it raised."""
        ...

    def settle(self, job: Job, verb: bytes) -> None:
        """Be done with it."""
        ...

    def count(self, what: str) -> None:
        """Count what became of a job: a name of `Counts`."""
        ...

    def tell(self, failure: Failure) -> None:
        """Tell the observers of failures."""
        ...


class Retries:
    """Takes care of jobs, each in a task of its own.

    Args:
        ward: where they are.
        link: to the servers.
        subjects: of the stream.
        group: its name.
        retrying: how often they are tried.
        attempts: what the group knows of them.
        expiry: what is known of their deletion.
        handled: the ids of those that were handled, if they are stored.
        keeps_place: whether a failing job stays with us, so that those behind it wait, instead of coming again later.
        concurrency: how many handlers run at a time.
        reporter: where failures are logged.
    """

    def __init__(
        self,
        ward: JobRunner,
        link: ReconnectingClient,
        subjects: Subjects,
        group: str,
        retrying: RetryPolicy,
        attempts: AttemptStore,
        expiry: Expiry,
        handled: HandledIdStore | None,
        keeps_place: bool,
        concurrency: int,
        reporter: FailureLog,
    ) -> None:
        self._ward = ward
        self._link = link
        self._subjects = subjects
        self._group = group
        self._retrying = retrying
        self._attempts = attempts
        self._expiry = expiry
        self._handled = handled
        self._keeps_place = keeps_place
        self._reporter = reporter
        self._alone = asyncio.Lock()
        self._places = asyncio.Semaphore(concurrency)

    async def begin(self, job: Job) -> None:
        """See a job through that has not been run yet, once it is known what the group knows of it.

        Raises:
            Expired: if that could not be learnt while it was ours.
        """
        ward, message = self._ward, job.message
        handled = self._handled
        if handled is not None and await self._surely(job, lambda: handled.known([job.digest])):
            ward.count("skipped")
            ward.settle(job, ACK)
            return
        if message.delivered == 1:
            await self.end(job, await self._run(job))
            return
        tried = await self._surely(job, lambda: self._attempts.get(message))
        job.attempt, job.is_noted = tried.attempts + 1, tried.delivered > 0 or tried.attempts > 0
        if self._retrying.is_last(tried.attempts):
            job.attempt = tried.attempts
            await self.dead_letter(
                job, PoisonMessage(f"It was tried {tried.attempts} times: {tried.reason or _ENDED}.")
            )
        elif message.delivered - 1 > tried.delivered:
            async with self._alone:
                await self._surely(job, lambda: self._note_beginning(job))
                error = await self._run(job)
            await self.end(job, error)
        else:
            await self.end(job, await self._run(job))

    async def recall(self, job: Job) -> None:
        """Run a job whose data is not in memory. Raises `Expired`, and `Missing` if the stream has it no more."""
        await self._surely(job, lambda: self._ward.resume(job))
        self._ward.go_on(job)

    async def end(self, job: Job, error: BaseException | None) -> None:
        """Do what is to be done when a handler has ended.

        Raises:
            Expired: if it was not begun.
        """
        ward = self._ward
        while error is not None:
            if isinstance(error, LeaseExpired):
                raise error
            ward.count("failed")
            if self._retrying.is_last(job.attempt):
                await self.dead_letter(job, error)
                return
            delay = self._retrying.delay(job.attempt)
            if self._expiry.is_gone_in(job.message, delay):
                await self.dead_letter(job, error, "The stream deletes it before the next attempt.")
                return
            self._reporter.failed(job.name, job.attempt, error, f"is tried again in {delay:.3g} s")
            ward.tell(Failure(job.event, as_exception(error), job.attempt, is_final=False))
            ward.count("retried")
            if not self._keeps_place:
                await self._note_failure(job, error)
                ward.settle(job, nak_after(delay))
                return
            job.is_begun = False
            await self._pause(job, delay)
            job.attempt += 1
            await self._surely(job, lambda: self._note_beginning(job))
            error = await self._run(job)
        ward.count("handled")
        ward.settle(job, ACK)
        await self.forget(job)

    async def dead_letter(self, job: Job, error: BaseException, because: str = "") -> None:
        """Store a dead letter, and be done with the job when that is stored.

        Args:
            job: which.
            error: how its last attempt ended.
            because: why there are no further attempts, if not because that was the last one.
        """
        ward, message = self._ward, job.message
        trace = "".join(format_exception(error)) if error.__traceback__ is not None else ""
        trace = trace.encode(errors="backslashreplace").decode()
        reason = f"{type(error).__name__}: {error_text(error)}" if trace else error_text(error)
        reason = f"{reason} {because}".rstrip()
        backoff = Backoff(0.5, _STORE_RETRY_S)
        while True:
            try:
                line = await self._link.ready(_LONGEST_PAUSE)
                headers = headers_of(self._group, message, reason, trace, job.attempt, line.max_payload)
                await publish_and_wait(
                    self._link, subject_of(self._subjects, self._group, message), message.data, headers
                )
                break
            except (HubConnectionError, StreamError) as failure:
                logger.error(
                    "%s: %s has failed for good, but cannot be stored as a dead letter, and is kept: %s",
                    self._group,
                    job.name,
                    failure,
                )
            if self._link.is_closed:
                return
            if not self._keeps_place:
                await self._note_failure(job, error)
                ward.settle(job, nak_after(_STORE_RETRY_S))
                return
            job.is_begun = False
            await self._pause(job, backoff.delay())
        self._reporter.failed(job.name, job.attempt, error, "it is a dead letter now")
        ward.tell(Failure(job.event, as_exception(error), job.attempt, is_final=True))
        ward.count("dead")
        ward.settle(job, ACK)
        await self.forget(job)

    async def _pause(self, job: Job, seconds: float) -> None:
        """Wait with a job that keeps its place."""
        self._ward.rest(job)
        await asyncio.sleep(seconds)
        await self._surely(job, lambda: self._ward.resume(job))

    async def _run(self, job: Job) -> BaseException | None:
        """Run the handler, and store that it has succeeded, before anything else is begun in its place."""
        handled = self._handled
        if handled is None:
            return await self._ward.run_handler(job)
        # Were the next one begun at once, it could end the process before the id of this one is stored.
        async with self._places:
            error = await self._ward.run_handler(job)
            if error is None:
                await self._surely(job, lambda: handled.mark([job.digest]), has_run=True)
            return error

    async def _note_beginning(self, job: Job) -> None:
        """Note an attempt of which nothing may be heard any more."""
        await self._attempts.put(job.message, AttemptRecord(job.attempt, job.message.delivered - 1, _ENDED, job.name))
        job.is_noted = True

    async def _note_failure(self, job: Job, error: BaseException) -> None:
        """Note an attempt that has failed; if that cannot be done, there will be one more."""
        reason = f"{type(error).__name__}: {error_text(error)}"[:500]
        try:
            await self._attempts.put(job.message, AttemptRecord(job.attempt, job.message.delivered, reason, job.name))
        except (HubConnectionError, StreamError) as failure:
            logger.warning("%s: an attempt at %s could not be noted: %s", self._group, job.name, failure)

    async def interrupted(self, job: Job) -> None:
        """Note that the attempt under way ends with this process, and does not count."""
        try:
            await self._attempts.put(
                job.message, AttemptRecord(job.attempt - 1, job.message.delivered, _STOPPED, job.name)
            )
        except (HubConnectionError, StreamError) as failure:
            logger.debug("%s: the interruption of %s could not be noted: %s", self._group, job.name, failure)

    async def forget(self, job: Job) -> None:
        """Remove the note of a job that is done with."""
        if job.is_noted:
            try:
                await self._attempts.forget(job.message)
            except (HubConnectionError, StreamError) as failure:
                # It goes by itself in time.
                logger.debug("The attempts at %s could not be forgotten: %s", job.name, failure)

    async def _surely(self, job: Job, ask: Callable[[], Awaitable[T]], has_run: bool = False) -> T:
        """Ask until there is an answer; raise `Expired` if it comes too late to begin."""
        backoff = Backoff(0.1, _LONGEST_PAUSE)
        while True:
            try:
                return await ask()
            except (HubConnectionError, StreamError) as error:
                if self._link.is_closed or (not has_run and monotonic() > job.until):
                    raise LeaseExpired(f"{job.name} is somebody else's by now.") from error
                logger.debug("%s: %s waits: %s", self._group, job.name, error)
            await asyncio.sleep(backoff.delay())
