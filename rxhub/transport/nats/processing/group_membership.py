"""The membership of a process in its group: it survives lost connections and lost consumers.

Messages arrive as long as the consumer exists with our settings. A lost consumer is recreated (`Group.restore`). If the
consumer has other settings, because it was recreated or replaced, the membership and its worker end. This is noticed
when the server refuses a pull, or at the next check within ten seconds.

With order by key, one process receives all messages, and another one takes over when it is gone. Messages that the
previous process held, or that were lost with a connection, are redelivered only after `ACK_WAIT_S`, and later messages
arrive before them. A process therefore collects messages until it holds all that the server counts as in flight, and
then starts them in the order of the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.supervise import supervise
from rxhub.errors import GroupError, HubConnectionError, StreamError
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.processing import group as group_times
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.in_flight import InFlight
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.pull_consumer import ConsumerGone, Message, PullConsumer, PullRefused

__all__ = ["GroupMembership"]

_LEAVE_TIMEOUT_S = 1.0
# A process resumes its work at the latest this long after the group.
_PAUSED_CHECK_S = 1.0
# The name of a deleted consumer is free before its state is removed from the server's disk. A consumer that was created
# within milliseconds began, in spite of its configuration, where the old one had been long before (nats-server 2.15).
_RECREATE_DELAY_S = 0.5

logger = logging.getLogger("rxhub")


class GroupMembership:
    """Pulls messages of a group, as a `ConnectionTask`.

    `start` gets each collected job, in the order of the stream, and `on_excluded` the error if the group has other
    settings.
    """

    def __init__(
        self,
        group: Group,
        pulling: PullConsumer,
        in_flight: InFlight,
        start: Callable[[Job], object],
        on_excluded: Callable[[GroupError], object],
    ) -> None:
        self._group = group
        self._link = group.link
        self._pulling = pulling
        self._in_flight = in_flight
        self._start = start
        self._on_excluded = on_excluded
        self._collected: list[Job] = []
        self._pin: str | None = None
        self._last = 0  # the number of the last delivery
        self._gaps = 0
        self._waiting: asyncio.Task[None] | None = None
        self._is_leaving = False
        self._has_pulled = asyncio.Event()

    async def run(self, line: NatsConnection) -> None:
        try:
            await self._pull(line)
        except GroupError as error:
            self._on_excluded(error)
        self._has_pulled.set()

    async def check_settings(self) -> None:
        """Check the floor and the settings of the group repeatedly."""
        while True:
            period = group_times.ACK_WAIT_S * group_times.CHECK_SHARE
            await asyncio.sleep(min(period, _PAUSED_CHECK_S) if self._group.is_paused else period)
            try:
                await self._group.confirm()
            except (HubConnectionError, StreamError) as error:
                logger.debug("Could not read the state of the group %s: %s", self._group.name, error)
            except GroupError as error:
                self._on_excluded(error)
                return

    async def leave(self) -> None:
        """Stop pulling, and receive the messages that are already on their way."""
        self._is_leaving = True
        if self._link.connection is not None:
            self._pulling.finish()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                    await self._has_pulled.wait()
        await self._link.detach(self)
        if self._waiting is not None:
            self._waiting.cancel()

    async def unpin(self) -> None:
        """Let another process order by key at once, if this one did."""
        if self._pulling.pin:
            with suppress(HubConnectionError, StreamError):
                await self._group.unpin()

    def on_gap(self) -> None:
        """Messages may be missing from now on: those in flight may be redelivered after later ones."""
        self._pin = None
        self._gaps += 1

    def observe(self, message: Message) -> None:
        """Check whether earlier messages may be missing before this one; if so, the next jobs are collected."""
        # The pinned process receives all deliveries. One can be lost between two servers, without a lost connection.
        is_next = message.consumer_sequence == self._last + 1
        self._last = message.consumer_sequence
        if is_next and self._pulling.pin == self._pin:
            return
        self._gaps += 1
        self._pin = self._pulling.pin
        if self._waiting is None:
            name = f"waiting for earlier events of {self._group.name}"
            self._waiting = supervise(self._wait_for_missing, name, restart=True)

    def collect(self, job: Job) -> bool:
        """Collect a job while earlier messages may be missing; whether it was collected."""
        if self._waiting is None:
            return False
        self._collected.append(job)
        return True

    async def _pull(self, line: NatsConnection) -> None:
        self.on_gap()
        await self._in_flight.send_in_progress(line)
        while not self._is_leaving:
            try:
                await self._pulling.run(line)
            except ConsumerGone as error:
                logger.warning("The group %s was lost; recreating it: %s", self._group.name, error.description)
                await self._recreate()
            except PullRefused:
                await self._group.confirm()
                raise

    async def _recreate(self) -> None:
        await asyncio.sleep(_RECREATE_DELAY_S)
        if await self._group.create_streams():
            # The new stream uses the same sequences for other messages.
            self._in_flight.clear()
        await self._group.restore()
        self.on_gap()

    async def _wait_for_missing(self) -> None:
        backoff = Backoff(0.05, 1.0)
        is_logged = False
        while True:
            gaps = self._gaps
            try:
                missing = await self._group.count_missing(self._in_flight.jobs.keys())
            except (HubConnectionError, StreamError) as error:
                logger.debug("Could not read how many events of %s are in flight: %s", self._group.name, error)
            else:
                if missing <= 0 and gaps == self._gaps:
                    break
                if not is_logged and missing > 0:
                    is_logged = True
                    logger.info("%s: waiting for %d earlier events of other processes.", self._group.name, missing)
            await asyncio.sleep(backoff.delay())
        self._waiting = None
        jobs, self._collected = self._collected, []
        for job in sorted(jobs, key=lambda job: job.message.sequence):
            # A job whose lease has expired is redelivered.
            if self._in_flight.jobs.get(job.message.sequence) is job:
                self._start(job)
