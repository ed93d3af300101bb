"""What one process of a group does with each message, from the pull to the acknowledgement.

Theory of operation. All of this runs on the network's loop; handlers run elsewhere (`workers`). A message becomes a
`Job`, which is held until it is *settled*: acknowledged, or handed back. Nearly every job goes the short way: read,
tested against the subscription, handed to the workers, returned without an error, acknowledged. Whatever is out of the
ordinary has a task of its own, in which it is taken care of (`care`).

Whether messages come at all, and from where on, is the affair of the `membership`; what becomes of those that are held
at the end is that of `letting_go`.

Never twice, as far as one can know: what is held is vouched for (`holding`), and a job whose time has run out all the
same, since we were cut off, is not begun any more. What comes again while it is held is not run again.

Order: `sequential` groups have one message under way in the consumer itself, whichever process has it. Where there is a
key, jobs wait in `lanes`, a failing one keeps its place until its last attempt, and the server sends all messages to
one process, which begins with the eldest (`gathering`). Where all that is held waits for others, the newest are parked,
so that events of other keys can come (`parking`).

How many messages are held ahead follows from how long the handler takes: a tenth of a second's worth. So a process does
not wait for the network, and none has much to do while others have nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from subprocess import CalledProcessError
from time import monotonic
from typing import Any

from rxhub.concurrency.shutdown import is_shutting_down
from rxhub.concurrency.supervise import report, supervise
from rxhub.errors import EventError, GroupError, HubClosed, HubConnectionError, ProtocolError, StreamError, error_text
from rxhub.event import Event
from rxhub.transport.json_payload import read_stored
from rxhub.transport.nats.processing import group as grouping
from rxhub.transport.nats.processing.acks import ACK, NAK, AckSender, nak_after
from rxhub.transport.nats.processing.delivery_state import AttemptStore
from rxhub.transport.nats.processing.drain import drain
from rxhub.transport.nats.processing.executor import Executor, OnResult, Result, ResultQueue
from rxhub.transport.nats.processing.expiry import Expiry
from rxhub.transport.nats.processing.failures import Failure, FailureLog
from rxhub.transport.nats.processing.filtering import MessageFilter
from rxhub.transport.nats.processing.group import Group, Since
from rxhub.transport.nats.processing.group_membership import GroupMembership
from rxhub.transport.nats.processing.handled_ids import HandledIds
from rxhub.transport.nats.processing.id_store import HandledIdStore, digest_of
from rxhub.transport.nats.processing.in_flight import InFlight
from rxhub.transport.nats.processing.job import HandlerInterrupted, HandlerTimeout, Job, LeaseExpired, MessageDeleted
from rxhub.transport.nats.processing.key_ordering import KeyOrdering, key_values
from rxhub.transport.nats.processing.options import WorkerOptions
from rxhub.transport.nats.processing.parking import Parking
from rxhub.transport.nats.processing.retries import Retries
from rxhub.transport.nats.processing.takeover import Takeover
from rxhub.transport.nats.pull_consumer import Message, PullConsumer
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.subjects import Subjects

__all__ = ["Worker"]

_AHEAD = 0.1
_TICK = 1.0
# A share of what a handler took, by which the mean follows it.
_SWAY = 0.2
# Seconds after which what was settled by a mistake of ours is tried again.
_AFTER_MISTAKE = 5.0
_LAST_WORDS = 1.0
# A signal to a group of processes may end what a handler runs before it reaches us.
_SIGNAL_DELAY_S = 0.3
_SIGNAL_LOOK_S = 0.02
# Between two looks whether all that is held waits for others.
_ROOM_LOOK = 0.05
# Parked jobs whose data is read before their turn, of each lane.
_READ_AHEAD = 32

logger = logging.getLogger("rxhub")


class Worker:
    """One process's share in a group. All methods run on the network's loop.

    Args:
        link: to the servers, of the processor's own.
        subjects: of the stream.
        plan: what is to be done.
        workers: makes what calls the handler, given who is to be told of its results.
        tell: told of each failure.
        ended: called when it has ended, with the reason if that is an error.

    Attributes:
        counts: what became of messages, by the names of `Counts`.
    """

    def __init__(
        self,
        link: ReconnectingClient,
        subjects: Subjects,
        plan: WorkerOptions,
        workers: Callable[[OnResult], Executor],
        tell: Callable[[Executor, Failure], object],
        ended: Callable[[Executor, Exception | None], object],
    ) -> None:
        terms = plan.terms
        self.counts: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._subjects = subjects
        self._plan = plan
        self._tell = tell
        self._ended = ended
        self._group = Group(link, subjects, plan.group, terms, plan.max_waiting)
        self._selection = MessageFilter(plan, subjects, self._group, self._skip)
        self._by_key = terms.key is not None
        self._values = key_values(terms.key or "")
        self._is_once = terms.once
        self._lanes: KeyOrdering[Job] = KeyOrdering()
        self._acks = AckSender()
        self._pulling = PullConsumer(
            subjects.stream,
            self._group.consumer,
            self._take,
            ahead=self._group.ahead if self._by_key else plan.concurrency,
            group=grouping.PINNED if self._by_key else "",
            # Who orders by key is followed by somebody else when he has not asked for that long.
            expires=grouping.PIN_TIMEOUT / 3 if self._by_key else 30.0,
            is_drained=True,
        )
        self._holding = InFlight(self._pulling, self._acks)
        self._parking = Parking(link, subjects.stream, self._pulling, self._acks)
        self._gathering = Takeover(self._group, self._holding.jobs, self._enter)
        self._membership = GroupMembership(
            link, self._group, self._pulling, self._holding, self._gathering.lose, self.end
        )
        self._returns = ResultQueue(self._loop, self._take_back, self._is_more_to_come, lambda: self._in_hand)
        self._workers = workers(self._returns.put)
        self._reporter = FailureLog(plan.group, plan.retrying.retries)
        self._care: Retries | None = None
        self._once: HandledIds | None = None
        self._in_hand = 0
        self._mean = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._interruptions: set[asyncio.Task[None]] = set()
        self._routines: list[asyncio.Task[Any]] = []
        self._stopping: asyncio.Task[None] | None = None

    # Beginning

    async def start(self, since: Since, replace: bool) -> None:
        """Connect, join the group and begin.

        Raises:
            HubConnectionError: if no server can be reached.
            StreamError: if JetStream refuses something.
            GroupError: if the group has other terms.
        """
        link, subjects, plan = self._link, self._subjects, self._plan
        await link.start()
        await self._membership.join(since, replace)
        name, replicas = self._group.consumer, self._group.replicas
        handled = HandledIdStore(link, subjects.stream, name, replicas) if plan.terms.once else None
        attempts = AttemptStore(link, subjects.stream, name, replicas)
        expiry = Expiry(link, subjects.stream, plan.group, attempts, self._holding.jobs, lambda: self.count("expired"))
        await expiry.look()
        self._care = Retries(
            self,
            link,
            subjects,
            plan.group,
            plan.retrying,
            attempts,
            expiry,
            handled,
            self._by_key,
            plan.concurrency,
            self._reporter,
        )
        self._workers.start()
        self._routines = [
            supervise(self._look_after, f"in-progress acknowledgements of {plan.group}", restart=True),
            supervise(self._membership.keep_up, f"membership in {plan.group}", restart=True),
        ]
        self._routines.append(supervise(expiry.watch, f"expiry in {plan.group}", restart=True))
        if handled is not None:
            await handled.make()
            self._once = once = HandledIds(
                link, handled, plan.concurrency, self._hand_over, self._skip, self._lose, self._handled
            )
            self._routines += [
                supervise(once.look_up, f"look-ups of {plan.group}", restart=True),
                supervise(once.store, f"ids of {plan.group}", restart=True),
            ]
        if self._by_key:
            self._routines.append(supervise(self._make_room, f"parking of {plan.group}", restart=True))
        if plan.timeout is not None:
            timeout = plan.timeout
            self._routines.append(supervise(lambda: self._watch(timeout), f"timeouts of {plan.group}", restart=True))
        link.attach(self._acks)
        link.attach(self._membership)

    # A message's way

    def _take(self, message: Message) -> None:
        job = self._holding.take(message)
        if job is None:
            return
        if self._stopping is not None:
            self.settle(job, NAK)
        elif self._read(job):
            if self._by_key and self._gathering.takes(job):
                self._parking.wait(job)
            else:
                self._enter(job)

    def _read(self, job: Job) -> bool:
        """Whether a job is for the handler; others are settled."""
        message = job.message
        try:
            job.event = event = read_stored(message.data)
            if self._selection.takes(message, event):
                self._set_keys(job, event)
                return True
            if self._selection.skip(job):
                self._spawn(self._confirm, restart=True)
        except (ProtocolError, EventError) as error:
            unreadable = error
            self._care_for(job, lambda care: care.dead_letter(job, unreadable))
        except Exception as error:
            self._blunder(job, error)
        return False

    def _enter(self, job: Job) -> None:
        """Run it, or have it wait for those that entered before."""
        try:
            if self._lanes.enter(job, job.keys):
                self._go_on(job)
            elif self._by_key:
                self._parking.wait(job)
        except Exception as error:
            # Here, for whoever enters several: what goes wrong with one concerns no other.
            self._blunder(job, error)

    def _set_keys(self, job: Job, event: Event) -> None:
        """Note what a job's event shares with those that it has to wait for."""
        if self._by_key:
            job.keys = tuple(self._values(event))
        if self._is_once:
            # Of two copies, the second is looked up when the first is done with. It is a text wherever it is stored,
            # though others may store events whose id is none.
            job.digest = digest_of(str(event.fields["id"]))
            job.keys += (job.digest,)

    def _go_on(self, job: Job) -> None:
        if self._stopping is not None:
            return  # it will be handed back
        if self._by_key:
            if job.is_parked:
                self._care_for(job, lambda care: care.recall(job))
                return
            self._parking.leave(job)
            self._read_ahead(job)
        is_first = job.message.delivered == 1
        if is_first and not self._is_once:
            self._hand_over(job)
        elif is_first and self._once is not None and not self._selection.is_retried(job.message):
            job.is_new = True
            self._once.enter(job)
        else:
            self._care_for(job, lambda care: care.begin(job))

    def _read_ahead(self, job: Job) -> None:
        """Have the data of those that follow a job, if it is not in memory."""
        parked = [each for each in self._lanes.following(job, _READ_AHEAD) if each.is_parked]
        if parked and next(self._lanes.following(job, 1)).is_parked:
            for each in parked:
                self._spawn(lambda each=each: self._fetch(each))

    async def _fetch(self, job: Job) -> None:
        # What cannot be read now is asked for again when its turn comes.
        with suppress(HubConnectionError, StreamError, MessageDeleted, LeaseExpired):
            await self._parking.fetch(job)
            if job in self._lanes and not self._lanes.may_run(job):
                self._parking.wait(job)

    def _hand_over(self, job: Job) -> None:
        job.run += 1
        job.is_begun = True
        self._in_hand += 1
        self._workers.put(job)

    def _take_back(self, batch: list[Result]) -> None:
        took, count = 0.0, 0
        for job, run, error, seconds in batch:
            if run != job.run:
                self._tell_of_late(job, error)
                continue
            self._in_hand -= 1
            if error is None or not isinstance(error, LeaseExpired):
                took += seconds
                count += 1
            if job.is_new and self._once is not None and error is None:
                self._once.returned(job, self._mean or seconds)
                continue
            if job.is_new and self._once is not None:
                job.is_new = False
                self._once.left()
            if error is not None and self._is_interruption(error):
                self._interrupted(job, error)
            elif error is not None and self._may_be_interruption(job, error):
                self._spawn(lambda job=job, error=error: self._await_signal(job, error))
            else:
                self._end(job, error)
        if count and not self._by_key:
            self._mean += (took / count - self._mean) * (_SWAY if self._mean else 1.0)
            concurrency = self._plan.concurrency
            ahead = concurrency + int(concurrency * _AHEAD / max(self._mean, 1e-6))
            self._pulling.ahead = min(ahead, max(concurrency, self._group.ahead))

    def _end(self, job: Job, error: BaseException | None) -> None:
        if (waiter := job.waiter) is not None:
            if not waiter.done():
                waiter.set_result(error)
        elif error is None:
            self._handled(job)
        else:
            self._care_for(job, lambda care: care.end(job, error))

    def _is_interruption(self, error: BaseException) -> bool:
        """Whether a handler may have ended by an error since we stop.

        It was cancelled, or a program that it runs got the signal that we got too. `Expired` tells that it did not run.
        """
        return isinstance(error, HandlerInterrupted) or (
            self._stopping is not None and not isinstance(error, LeaseExpired)
        )

    def _may_be_interruption(self, job: Job, error: BaseException) -> bool:
        """Whether an error may come of a signal that tells us to stop, so that it is worth waiting for that."""
        if isinstance(error, LeaseExpired):
            return False
        return is_shutting_down() or isinstance(error, CalledProcessError) or self._plan.retrying.is_last(job.attempt)

    async def _await_signal(self, job: Job, error: BaseException) -> None:
        """Count a failure unless we are told to stop at about the same time."""
        run, deadline = job.run, monotonic() + _SIGNAL_DELAY_S
        # A shutdown may also be that of others in this process, and pass without stopping us.
        while self._stopping is None and (monotonic() < deadline or is_shutting_down()):
            await asyncio.sleep(_SIGNAL_LOOK_S)
        if job.run != run:
            return
        if self._stopping is not None:
            self._interrupted(job, error)
        else:
            self._end(job, error)

    def _interrupted(self, job: Job, error: BaseException) -> None:
        """Hand back a job whose attempt does not count."""
        if not isinstance(error, HandlerInterrupted):
            logger.warning(
                "%s: %s failed while the process stops; the attempt does not count, and the event is handed back: %s",
                self._plan.group,
                job.name,
                error_text(error) or type(error).__name__,
                # A program that the handler runs was ended by the same signal, as Ctrl-C at a terminal does.
                exc_info=None if isinstance(error, CalledProcessError) else error,
            )
        if job.task is not None:
            job.task.cancel()
        self._interruptions.add(self._spawn(lambda: self._hand_back(job)))

    async def _hand_back(self, job: Job) -> None:
        try:
            await self._uncount(job)
        finally:
            job.is_begun = False
            self._holding.settle(job, NAK)

    async def _uncount(self, job: Job) -> None:
        """Note that an attempt was interrupted, so that it does not count."""
        assert self._care is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._care.interrupted(job)

    def _is_more_to_come(self) -> bool:
        return self._in_hand > 0 and not len(self._lanes)

    # What care asks for

    async def run_handler(self, job: Job) -> BaseException | None:
        """Have the handler called; gives back what it raised."""
        job.waiter = waiter = self._loop.create_future()
        self._hand_over(job)
        try:
            return await waiter
        finally:
            job.waiter = None

    def rest(self, job: Job) -> None:
        """Let a job's data be dropped from memory until `resume`."""
        self._parking.wait(job)

    async def resume(self, job: Job) -> None:
        """Have a job's data in memory, as it was stored."""
        await self._parking.fetch(job)
        self._parking.leave(job)
        # Whatever the handler has done to it.
        job.event = read_stored(job.message.data)

    def go_on(self, job: Job) -> None:
        """Run a job whose turn has come."""
        self._go_on(job)

    def settle(self, job: Job, verb: bytes) -> None:
        """Be done with a job."""
        self._holding.settle(job, verb)
        self._release(job)

    def count(self, what: str) -> None:
        """Count what became of a message."""
        self.counts[what] += 1

    def tell(self, failure: Failure) -> None:
        """Tell the observers of failures."""
        self._tell(self._workers, failure)

    def _care_for(self, job: Job, how: Callable[[Retries], Coroutine[Any, Any, None]]) -> None:
        assert self._care is not None
        care = self._care
        job.task = self._spawn(lambda: self._cared_for(job, how(care)))

    async def _cared_for(self, job: Job, care: Coroutine[Any, Any, None]) -> None:
        try:
            await care
        except LeaseExpired:
            self._lose(job)
        except MessageDeleted as error:
            logger.error("%s: an event was not handled, and is lost: %s", self._plan.group, error)
            self.counts["expired"] += 1
            self.settle(job, ACK)
            assert self._care is not None
            await self._care.forget(job)
        except Exception as error:
            self._blunder(job, error)
        finally:
            if job.task is asyncio.current_task():
                job.task = None

    def _lose(self, job: Job) -> None:
        """Leave a job to whoever gets it next, us or another process."""
        logger.info("%s: %s is left to whoever gets it next.", self._plan.group, job.name)
        self._holding.drop(job)
        self._release(job)
        # What comes before it must be begun before it.
        self._gathering.lose()

    def _handled(self, job: Job) -> None:
        self.counts["handled"] += 1
        self.settle(job, ACK)

    def _blunder(self, job: Job, error: Exception) -> None:
        report(f"work of {self._plan.group}", error, job.name)
        # Deliveries, as it is not known how far an attempt has got.
        job.attempt = job.message.delivered
        if self._plan.retrying.is_last(job.attempt):
            job.task = self._spawn(lambda: self._dead_letter(job, error))
        else:
            self.settle(job, nak_after(_AFTER_MISTAKE))

    async def _dead_letter(self, job: Job, error: Exception) -> None:
        assert self._care is not None
        try:
            await self._care.dead_letter(job, error)
        except Exception as mistake:
            report(f"work of {self._plan.group}", mistake, job.name)
            self.settle(job, nak_after(_AFTER_MISTAKE))

    def _release(self, job: Job) -> None:
        job.run += 1
        self._parking.leave(job)
        for freed in self._lanes.leave(job):
            self._go_on(freed)

    def _skip(self, job: Job) -> None:
        self.counts["skipped"] += 1
        self.settle(job, ACK)

    async def _confirm(self) -> None:
        try:
            await self._selection.confirm()
        except GroupError as error:
            self.end(error)

    # What has to be looked at now and then

    async def _look_after(self) -> None:
        """Vouch for what is held, and see that there is still somebody to handle it."""
        # At once after an internal error, which may have come in place of the last acknowledgement.
        vouched = float("-inf")
        while True:
            period = grouping.ACK_WAIT * grouping.IN_PROGRESS_SHARE
            await asyncio.sleep(min(_TICK, period))
            if not self._workers.is_alive:
                self.end(HubClosed(f"The loop that handled the events of {self._plan.group} has ended."))
                return
            if monotonic() - vouched >= period - _TICK / 2:
                vouched = monotonic()
                self._parking.renew()
                await self._holding.send_in_progress(self._link.connection)

    async def _make_room(self) -> None:
        """Park jobs where nothing can come since all that is held waits for others."""
        while True:
            await asyncio.sleep(_ROOM_LOOK)
            if self._pulling.is_full and self._in_hand < self._plan.concurrency and self._stopping is None:
                self._parking.make_room()

    async def _watch(self, timeout: float) -> None:
        """Give up handlers that do not end."""
        while True:
            await asyncio.sleep(min(_TICK, timeout / 10))
            for job in self._workers.overdue(timeout):
                self._workers.give_up(job)
                # What it returns one day will be late.
                job.run += 1
                error = HandlerTimeout(f"The handler has not ended within {timeout:g} s.")
                self._take_back([Result(job, job.run, error, timeout)])

    def _tell_of_late(self, job: Job, error: BaseException | None) -> None:
        how = "without an error" if error is None else f"with {type(error).__name__}: {error}"
        logger.warning(
            "%s: the handler of %s ended %s after nobody waited for it any more.", self._plan.group, job.name, how
        )

    # The end

    def end(self, reason: Exception) -> None:
        """Stop, since it cannot go on."""
        if self._stopping is None:
            logger.error("%s", reason)
            self._stopping = self._begin_to_stop(_LAST_WORDS, reason)

    async def stop(self, timeout: float) -> None:
        """Pull no more, let what runs end, hand back what has not begun.

        Args:
            timeout: seconds that what runs may take.
        """
        if self._stopping is None:
            self._stopping = self._begin_to_stop(timeout, None)
        await asyncio.wait([self._stopping])

    def _begin_to_stop(self, timeout: float, reason: Exception | None) -> asyncio.Task[None]:
        return supervise(lambda: self._stop(timeout, reason), f"stopping {self._plan.group}")

    async def _stop(self, timeout: float, reason: Exception | None) -> None:
        deadline = monotonic() + timeout
        try:
            await self._membership.leave()
            self._gathering.stop()
            if self._once is not None:
                self._once.stop()
            for job in self._workers.withdraw():
                job.is_begun = False
                self._in_hand -= 1
            left = await drain(self._workers, self._holding, deadline, self._by_key)
            if left:
                logger.warning("%s: %d handlers still run, whose events come again.", self._plan.group, left)
                running = [job for job in self._holding.jobs.values() if job.is_begun]
                await asyncio.gather(*map(self._uncount, running))
            if self._interruptions:
                await asyncio.wait(self._interruptions)
            await self._acks.flush(self._link.connection, _LAST_WORDS)
            await self._membership.resign()
        finally:
            self._reporter.rest()
            for task in [*self._routines, *self._tasks]:
                task.cancel()
            try:
                await self._link.close()
            finally:
                self._ended(self._workers, reason)
                self._workers.stop()

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]], restart: bool = False) -> asyncio.Task[None]:
        task = supervise(work, f"work of {self._plan.group}", restart=restart)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
