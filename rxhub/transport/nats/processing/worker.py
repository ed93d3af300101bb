"""The worker of one process in a group: each message from the pull to the acknowledgement.

The worker runs on the I/O loop; handlers run in an executor. A message becomes a `Job`, which is in flight until it is
acknowledged, or returned to the server. Most jobs are read, filtered, submitted to the executor and acknowledged. Jobs
that need more, such as retries, get a task in `Retries`.

A process prefetches messages for a tenth of a second, according to the average running time of the handler: it need not
wait for the network, and does not hold messages that idle processes could handle. In `sequential` groups, the consumer
has one message in flight, in any process.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic, time
from typing import Any

from rxhub.concurrency.event_loop import is_cancelling
from rxhub.concurrency.supervise import supervise
from rxhub.errors import EventError, GroupError, HubClosed, ProtocolError
from rxhub.event import Event
from rxhub.telemetry import counts
from rxhub.telemetry.counts import Level
from rxhub.transport.nats.processing import group as group_times
from rxhub.transport.nats.processing.delivery_state import AttemptStore
from rxhub.transport.nats.processing.executor import Executor, HandlerRunner, Result
from rxhub.transport.nats.processing.expiry import Expiry
from rxhub.transport.nats.processing.failures import Failure
from rxhub.transport.nats.processing.filtering import MessageFilter
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.group_membership import GroupMembership
from rxhub.transport.nats.processing.handled_ids import HandledIds, HandledIdStore, digest_of
from rxhub.transport.nats.processing.in_flight import ACK, NAK, InFlight
from rxhub.transport.nats.processing.interruptions import Interruptions
from rxhub.transport.nats.processing.job import Job, LeaseExpired
from rxhub.transport.nats.processing.key_ordering import KeyOrdering, key_values
from rxhub.transport.nats.processing.parking import Parking
from rxhub.transport.nats.processing.redelivery import RedeliveryCheck
from rxhub.transport.nats.processing.retries import Retries
from rxhub.transport.nats.pull_consumer import Message, PullConsumer

__all__ = ["Worker"]

_PREFETCH_S = 0.1
_TICK_S = 1.0
# For sending the last acknowledgements, and for running handlers when the worker ends by an error.
_FLUSH_TIMEOUT_S = 1.0

logger = logging.getLogger("rxhub")


class Worker:
    """One process in a group that it has joined. All methods run on the I/O loop."""

    def __init__(
        self,
        group: Group,
        executor: Executor,
        on_failure: Callable[[Failure], object],
        on_ended: Callable[[Exception | None], object],
    ) -> None:
        options = group.options
        self.counts: Counter[str] = Counter()  # the numbers of events, by the fields of `Counts`
        self._link = group.link
        self._options = options
        self._group = group
        self._executor = executor
        self._on_ended = on_ended
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping: asyncio.Task[None] | None = None
        by_key = self._by_key = options.key is not None
        self._key_values = key_values(options.key or "")
        self._pulling = PullConsumer(
            group.stream,
            group.consumer,
            self._receive,
            ahead=group.prefetch if by_key else options.concurrency,
            group=group_times.PINNED if by_key else "",
            # A process that orders by key must pull more often than the server waits for it.
            expires=group_times.PIN_TIMEOUT_S / 3 if by_key else 30.0,
            is_drained=True,
        )
        self._in_flight = InFlight(self._pulling, lambda message: self._redeliveries.add(message))
        self._redeliveries = RedeliveryCheck(
            group, self._pulling, self._in_flight, self._receive, self.spawn, lambda error: self._fail(error)
        )
        self._filter = MessageFilter(group, self._skip)
        self._order: KeyOrdering[Job] = KeyOrdering()
        self._parking = Parking(group, self._pulling, self._in_flight, self._order, self.spawn)
        self._membership = GroupMembership(group, self._pulling, self._in_flight, self._enqueue, self._fail)
        self._handlers = HandlerRunner(group.name, executor, self._take_results, lambda: not self._order)
        attempts = AttemptStore(group)
        self._expiry = Expiry(group, attempts, self._in_flight.jobs, lambda: self.count("expired"))
        self._id_store: HandledIdStore | None = None
        self._handled_ids: HandledIds | None = None
        if options.once:
            self._id_store = HandledIdStore(
                group.link, group.stream, group.consumer, group.replicas, lambda: group.reset_id
            )
            self._handled_ids = HandledIds(
                self._id_store, self._handlers, options.concurrency, self._skip, self.expire, self._succeed
            )
        self._retries = Retries(self, group, self._handlers, attempts, self._expiry, self._id_store)
        self._interruptions = Interruptions(self, self._in_flight, self._retries, options)

    async def start(self) -> None:
        """Read the limits of the stream, start the handlers, and pull. Raises HubClosed without a thread for them."""
        await self._expiry.check()
        if self._id_store is not None:
            await self._id_store.create()
        if is_cancelling():
            # nats-py may have lost the cancellation (see `cancel_and_wait`).
            raise asyncio.CancelledError
        self._handlers.start()
        group = self._group
        group.on_reset, group.on_paused = self._forget, self._set_paused
        self._set_paused(group.is_paused)
        self._supervise(self._maintain, "in-progress acknowledgements")
        self._supervise(self._membership.check_settings, "membership")
        self._supervise(self._expiry.watch, "expiry")
        if self._handled_ids is not None:
            self._supervise(self._handled_ids.look_up, "look-ups of ids")
            self._supervise(self._handled_ids.store, "storing of ids")
        if self._by_key:
            self._supervise(lambda: self._parking.keep_room(self._is_blocked), "parking")
        if (timeout := self._options.timeout) is not None:
            self._supervise(lambda: self._handlers.abandon_overdue(timeout), "timeouts")
        self._link.attach(self._in_flight)
        self._link.attach(self._membership)

    async def stop(self, timeout: float) -> None:
        """Stop pulling, wait `timeout` seconds for running handlers, and return all other messages."""
        if self._stopping is None:
            self._stopping = supervise(lambda: self._stop(timeout, None), f"stopping {self._group.name}")
        await asyncio.wait([self._stopping])

    # The protocol JobRunner, for Retries and Interruptions

    @property
    def is_stopping(self) -> bool:
        return self._stopping is not None

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        return self._supervise(work, "work", restart=False)

    def start_job(self, job: Job) -> None:
        if self.is_stopping:
            return  # the job will be returned
        if self._by_key:
            if job.is_parked:
                self._retries.recall(job)
                return
            self._parking.remove(job)
            self._parking.read_ahead(job)
        if job.message.delivered > 1:
            self._retries.run(job)
        elif self._handled_ids is None:
            self._handlers.submit(job)
        elif self._filter.is_retried(job.message):
            self._retries.run(job)
        else:
            job.is_batched = True
            self._handled_ids.add(job)

    def allow_parking(self, job: Job) -> None:
        self._parking.allow(job)

    async def restore(self, job: Job) -> None:
        await self._parking.fetch(job)
        self._parking.remove(job)
        # The handler may have changed the event.
        job.event = job.message.read_event()

    def finish(self, job: Job, error: BaseException | None) -> None:
        if (waiter := job.waiter) is not None:
            if not waiter.done():
                waiter.set_result(error)
        elif error is None:
            self._succeed(job)
        elif self._in_flight.holds(job):
            self._retries.handle_failure(job, error)
        else:
            self._leave(job)  # the group was reset, and the event is delivered again

    def settle(self, job: Job, ack: bytes) -> None:
        self._in_flight.settle(job, ack)
        self._leave(job)

    def expire(self, job: Job) -> None:
        group = self._group.name
        message = "%s: the lease of %s has expired; it will be redelivered."
        logger.info(message, group, job.name, extra=job.log_fields(group))
        self._in_flight.release(job)
        self._leave(job)
        # Later events must not start before it.
        self._membership.on_gap()

    def count(self, name: str, job: Job | None = None) -> None:
        self.counts[name] += 1
        if (counting := counts.active) is not None:
            topic = counts.OTHER if job is None or job.event is None else job.event.topic
            counting.group(self._group.name).results[name].add(topic)

    def notify(self, failure: Failure) -> None:
        self._on_failure(failure)

    # From the message to the executor

    def _receive(self, message: Message) -> None:
        if self._by_key:
            self._membership.observe(message)
        job = self._in_flight.add(message)
        if job is None:
            return
        if self.is_stopping:
            self.settle(job, NAK)
        elif self._read(job):
            if self._by_key and self._membership.collect(job):
                self._parking.allow(job)
            else:
                self._enqueue(job)

    def _read(self, job: Job) -> bool:
        """Read the event of a job; whether the handler receives it. Other jobs are settled."""
        try:
            job.event = event = job.message.read_event()
            if self._filter.matches(job.message, event):
                self._set_keys(job, event)
                return True
            if self._filter.skip(job):
                self._supervise(self._confirm_skipped, "work")
        except (ProtocolError, EventError) as error:
            self._retries.reject(job, error)
        except Exception as error:
            self._retries.handle_internal_error(job, error)
        return False

    def _set_keys(self, job: Job, event: Event) -> None:
        if self._by_key:
            job.keys = tuple(self._key_values(event))
        if self._handled_ids is not None:
            # With the id as a key, the second of two copies is looked up after the first one is done. Other programs
            # may store ids that are not strings.
            job.id_digest = digest_of(str(event.fields["id"]))
            job.keys += (job.id_digest,)

    def _enqueue(self, job: Job) -> None:
        """Run a job, or let it wait for those of the same keys."""
        try:
            if self._order.add(job, job.keys):
                self.start_job(job)
            elif self._by_key:
                self._parking.allow(job)
        except Exception as error:
            # Handled here, because it must not affect other jobs of the caller.
            self._retries.handle_internal_error(job, error)

    # From the result to the acknowledgement

    def _take_results(self, results: list[Result]) -> None:
        if (counting := counts.active) is not None:
            group = counting.group(self._group.name)
            called = [result for result in results if not isinstance(result.error, LeaseExpired)]
            for result in called:
                group.running.add(result.seconds)
            if called:
                # Reading the time of each message would cost as much as the rest.
                last = called[-1]
                group.waiting.add(max(0.0, time() - last.seconds - last.job.message.nanoseconds / 1e9))
        for result in results:
            self._take_result(result.job, result.error)
        mean_s, concurrency = self._handlers.mean_s, self._options.concurrency
        if mean_s and not self._by_key:
            prefetch = concurrency + int(concurrency * _PREFETCH_S / max(mean_s, 1e-6))
            self._pulling.ahead = min(prefetch, max(concurrency, self._group.prefetch))

    def _take_result(self, job: Job, error: BaseException | None) -> None:
        if job.is_batched and self._handled_ids is not None:
            if error is None and self._in_flight.holds(job):
                self._handled_ids.handled(job)
                return
            job.is_batched = False
            self._handled_ids.discard()
        if error is None or not self._interruptions.take(job, error):
            self.finish(job, error)

    def _succeed(self, job: Job) -> None:
        self.count("handled", job)
        self.settle(job, ACK)
        if job.has_record:
            self._retries.forget(job)

    def _skip(self, job: Job) -> None:
        self.count("skipped", job)
        self.settle(job, ACK)

    def _leave(self, job: Job) -> None:
        job.run += 1
        self._parking.remove(job)
        for freed in self._order.remove(job):
            self.start_job(freed)

    # Long-lived tasks

    def _supervise(
        self, work: Callable[[], Coroutine[Any, Any, None]], name: str, restart: bool = True
    ) -> asyncio.Task[None]:
        task = supervise(work, f"{name} of {self._group.name}", restart=restart)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _confirm_skipped(self) -> None:
        try:
            await self._filter.confirm()
        except GroupError as error:
            self._fail(error)

    async def _maintain(self) -> None:
        """Report jobs as in progress, and stop when the loop of the handlers has ended."""
        # Sent at once after an internal error, because the error may have replaced the last report.
        sent = float("-inf")
        while True:
            period = group_times.ACK_WAIT_S * group_times.IN_PROGRESS_SHARE
            await asyncio.sleep(min(_TICK_S, period))
            if not self._executor.is_alive:
                self._fail(HubClosed(f"The event loop that ran the handlers of {self._group.name} has ended."))
                return
            for job in self._in_flight.overdue():
                if job.task is not None:
                    job.task.cancel()
                self.expire(job)
            if monotonic() - sent >= period - _TICK_S / 2:
                sent = monotonic()
                self._parking.renew_leases()
                await self._in_flight.send_in_progress(self._link.connection)

    def levels(self) -> Iterator[Level]:
        """The numbers of events in progress and in the group, for metrics."""
        name, info = self._group.name, self._group.info
        yield Level("processing_in_progress", self._handlers.running, name)
        yield Level("group_waiting", info.get("num_pending", 0), name)
        yield Level("group_pending", info.get("num_ack_pending", 0), name)
        yield Level("group_redelivered", info.get("num_redelivered", 0), name)

    def _is_blocked(self) -> bool:
        """Whether handlers are idle and no event can arrive, because all jobs in memory wait."""
        handlers = self._handlers
        has_idle = handlers.running < self._options.concurrency and not handlers.is_paused
        return self._pulling.is_full and has_idle and not self.is_stopping

    # Changes of the group by an administrator

    def _set_paused(self, is_paused: bool) -> None:
        if is_paused:
            self._handlers.pause()
        elif self._handlers.is_paused and not self.is_stopping:
            self._handlers.resume()

    def _forget(self) -> None:
        """Forget all jobs, because the group was reset and delivers what it has to. Running handlers finish."""
        handled: set[Job] = set() if self._handled_ids is None else set(self._handled_ids.clear())
        taken = set(self._handlers.take_back_pending())
        jobs = list(self._in_flight.jobs.values())
        self._in_flight.clear()
        for job in jobs:
            # Running handlers keep their place, so that others of their key wait for them.
            runs = job.is_started and (job.task is None or job.waiter is not None) and job not in handled
            if job.task is not None:
                job.task.cancel()
            if not runs:
                job.run += 1
                self._parking.remove(job)
                self._order.remove(job)
            if job in taken and job.is_batched and self._handled_ids is not None:
                self._handled_ids.discard()
        self._membership.on_gap()

    # Stopping

    def _fail(self, error: Exception) -> None:
        if self._stopping is None:
            logger.error("%s", error)
            self._stopping = supervise(lambda: self._stop(_FLUSH_TIMEOUT_S, error), f"stopping {self._group.name}")

    async def _stop(self, timeout: float, error: Exception | None) -> None:
        deadline = monotonic() + timeout
        try:
            await self._membership.leave()
            if self._handled_ids is not None:
                self._handled_ids.stop()
            self._handlers.take_back_pending()
            await self._interruptions.begin(self._in_flight.jobs.values())
            running = await self._in_flight.drain(self._executor, deadline, self._by_key)
            if running:
                logger.warning(
                    "%s: %d handlers still run; their events will be redelivered.", self._group.name, len(running)
                )
                await asyncio.gather(*map(self._interruptions.record, running))
            await self._interruptions.wait()
            await self._retries.wait_for_deletions(_FLUSH_TIMEOUT_S)
            await self._in_flight.flush(self._link.connection, _FLUSH_TIMEOUT_S)
            await self._membership.unpin()
        finally:
            self._retries.failure_log.flush()
            for task in list(self._tasks):
                task.cancel()
            try:
                await self._link.close()
            finally:
                self._on_ended(error)
                self._executor.stop()
