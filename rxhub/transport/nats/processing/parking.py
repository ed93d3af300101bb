"""Messages that wait for others of their key, kept as a place in memory while their data stays in the stream.

Theory of operation. A process that orders by key holds a bounded number of messages in memory. If all of them wait, for
a failing event or a slow handler of their key, no event of another key can arrive. So the newest of them are *parked*:
their data is dropped, they no longer count for the bound, and the process reads on. A parked message keeps its place in
its lanes; when its turn comes, its data is read from the stream again.

The server is told to redeliver a parked message only after `LEASE_SHARE` of `ACK_WAIT`. That is renewed in time, so
nobody else gets the message as long as this process runs. After the process was killed, the messages come again to the
next one like all others.
"""

from __future__ import annotations

from base64 import b64decode
from time import monotonic

from rxhub.errors import StreamError
from rxhub.transport.nats.processing import group
from rxhub.transport.nats.processing.acks import IN_PROGRESS, AckSender, nak_after
from rxhub.transport.nats.processing.in_flight import SAFE_LEASE_SHARE
from rxhub.transport.nats.processing.job import Job, LeaseExpired, MessageDeleted
from rxhub.transport.nats.pull_consumer import PullConsumer
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import NO_MESSAGE

__all__ = ["Parking"]

LEASE_SHARE = 2.0
# Of the lease: what is left when it is renewed.
_RENEWED_AT = 0.6


class Parking:
    """The messages of one process that wait for others.

    Args:
        link: to the servers.
        stream: which the messages are in.
        pulling: where they come from.
        acks: who tells the server to wait.
    """

    def __init__(self, link: ReconnectingClient, stream: str, pulling: PullConsumer, acks: AckSender) -> None:
        self._link = link
        self._stream = stream
        self._pulling = pulling
        self._acks = acks
        # In memory, in the order in which they began to wait.
        self._waiting: dict[Job, None] = {}
        self._parked: dict[Job, None] = {}

    def __len__(self) -> int:
        """How many are parked."""
        return len(self._parked)

    def wait(self, job: Job) -> None:
        """Let a job be parked from now on, if it is not yet."""
        if not job.is_parked:
            self._waiting[job] = None

    def leave(self, job: Job) -> None:
        """Let a job be parked no more: it was settled, or its turn has come."""
        self._waiting.pop(job, None)
        self._parked.pop(job, None)

    def make_room(self) -> None:
        """Park the newer half of the jobs that wait."""
        waiting = list(self._waiting)
        for job in waiting[len(waiting) // 2 :]:
            del self._waiting[job]
            job.park()
            self._parked[job] = None
            self._lease(job)
        self._pulling.done(len(waiting) - len(waiting) // 2)

    def renew(self) -> None:
        """Tell the server to wait on, where it would not for much longer."""
        due = monotonic() + _RENEWED_AT * SAFE_LEASE_SHARE * LEASE_SHARE * group.ACK_WAIT
        for job in self._parked:
            if job.until < due:
                self._lease(job)

    async def fetch(self, job: Job) -> None:
        """Have a job in memory again, if it was parked.

        Raises:
            Missing: if its message is in the stream no more.
            Expired: if the server may have given it to another process.
            StreamError: if JetStream refuses to tell.
            HubConnectionError: if nobody answers.
        """
        if not job.is_parked:
            return
        asked = monotonic()
        if asked > job.until:
            raise LeaseExpired(f"{job.name} is somebody else's by now.")
        self._acks.put(job.reply, IN_PROGRESS)
        try:
            found = await self._link.js_request(f"STREAM.MSG.GET.{self._stream}", {"seq": job.message.sequence})
        except StreamError as error:
            if error.number != NO_MESSAGE:
                raise
            raise MessageDeleted(f"{job.name} is in the stream no more.") from error
        if not job.is_parked:
            return  # by another call, or it was settled meanwhile
        self._parked.pop(job, None)
        job.unpark(b64decode(found["message"].get("data") or b""))
        job.until = asked + SAFE_LEASE_SHARE * group.ACK_WAIT
        self._pulling.hold()

    def _lease(self, job: Job) -> None:
        seconds = LEASE_SHARE * group.ACK_WAIT
        job.until = monotonic() + SAFE_LEASE_SHARE * seconds
        self._acks.put(job.reply, nak_after(seconds))
