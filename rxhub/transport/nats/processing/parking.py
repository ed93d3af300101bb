"""Messages that wait for others of their key and keep only their place in memory, while their data is in the stream.

If all messages that a process holds wait for a failing event or a slow handler of their key, no event of another key
can arrive. The newer half of them is then *parked*: their data is dropped, they no longer count for the bound, and the
process continues to pull. A parked message keeps its place in its queues; its data is read again when its turn comes.

The server is asked to redeliver a parked message after a lease, which is renewed in time, so no other process gets the
message while this one runs.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.processing import group as group_times
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.in_flight import IN_PROGRESS, SAFE_LEASE_SHARE, InFlight, nak_after
from rxhub.transport.nats.processing.job import Job, LeaseExpired, MessageDeleted
from rxhub.transport.nats.processing.key_ordering import KeyOrdering
from rxhub.transport.nats.pull_consumer import PullConsumer
from rxhub.transport.nats.streams import NO_MESSAGE

__all__ = ["Parking"]

_LEASE_SHARE = 2.0
# Share of a lease that is left when it is renewed.
_RENEWAL_SHARE = 0.6
_POLL_S = 0.05
# The number of parked jobs of each queue whose data is read before their turn.
_READ_AHEAD = 32


class Parking:
    """The waiting jobs of one process."""

    def __init__(
        self,
        group: Group,
        pulling: PullConsumer,
        in_flight: InFlight,
        order: KeyOrdering[Job],
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], object],
    ) -> None:
        self._group = group
        self._pulling = pulling
        self._in_flight = in_flight
        self._order = order
        self._spawn = spawn
        # In the order in which they began to wait.
        self._in_memory: dict[Job, None] = {}
        self._parked: dict[Job, None] = {}

    def allow(self, job: Job) -> None:
        """Allow to park a job, until `remove`."""
        if not job.is_parked:
            self._in_memory[job] = None

    def remove(self, job: Job) -> None:
        """Do not park a job any more: it was settled, or its turn has come."""
        self._in_memory.pop(job, None)
        self._parked.pop(job, None)

    async def keep_room(self, is_blocked: Callable[[], bool]) -> None:
        """Park jobs while `is_blocked` returns that no event can arrive, because all jobs wait; until cancelled."""
        while True:
            await asyncio.sleep(_POLL_S)
            if is_blocked():
                self._make_room()

    def renew_leases(self) -> None:
        """Renew the leases that expire soon."""
        due = monotonic() + _RENEWAL_SHARE * SAFE_LEASE_SHARE * _LEASE_SHARE * group_times.ACK_WAIT_S
        for job in self._parked:
            if job.lease_until < due:
                self._lease(job)

    def read_ahead(self, job: Job) -> None:
        """Read the data of the parked jobs behind a job that runs now, if the next one is parked."""
        following = list(self._order.following(job, _READ_AHEAD))
        if following and following[0].is_parked:
            for each in following:
                if each.is_parked:
                    self._spawn(lambda each=each: self._fetch_early(each))

    async def fetch(self, job: Job) -> None:
        """Read the data of a parked job. Raises MessageDeleted, or LeaseExpired if another process may have it."""
        if not job.is_parked:
            return
        if monotonic() > job.lease_until:
            raise LeaseExpired(f"The lease of {job.name} has expired.")
        lease_until = self._in_flight.new_lease()
        self._in_flight.send_ack(job.reply, IN_PROGRESS)
        try:
            found = await self._group.link.js_request(
                f"STREAM.MSG.GET.{self._group.stream}", {"seq": job.message.sequence}
            )
        except StreamError as error:
            if error.number != NO_MESSAGE:
                raise
            raise MessageDeleted(f"{job.name} is not in the stream any more.") from error
        if not job.is_parked:
            return  # another call has read it, or it was settled
        self._parked.pop(job, None)
        job.unpark(b64decode(found["message"].get("data") or b""))
        job.lease_until = lease_until
        self._pulling.hold()

    async def _fetch_early(self, job: Job) -> None:
        # If this fails, the data is read when the turn of the job comes.
        with suppress(HubConnectionError, StreamError, MessageDeleted, LeaseExpired):
            await self.fetch(job)
            if job in self._order and not self._order.is_first(job):
                self.allow(job)

    def _make_room(self) -> None:
        jobs = list(self._in_memory)
        newer = jobs[len(jobs) // 2 :]
        for job in newer:
            del self._in_memory[job]
            job.park()
            self._parked[job] = None
            self._lease(job)
        self._pulling.done(len(newer))

    def _lease(self, job: Job) -> None:
        seconds = _LEASE_SHARE * group_times.ACK_WAIT_S
        job.lease_until = monotonic() + SAFE_LEASE_SHARE * seconds
        self._in_flight.send_ack(job.reply, nak_after(seconds))
