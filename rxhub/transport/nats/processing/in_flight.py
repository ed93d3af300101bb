"""The messages in flight: delivered to this process and not settled.

The server redelivers a message that no process has reported as in progress for `ACK_WAIT_S`. All messages are therefore
reported nine times in that time, wherever they wait.
"""

from __future__ import annotations

from time import monotonic

from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.processing import group
from rxhub.transport.nats.processing.acks import ACK, AckSender
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.pull_consumer import Message, PullConsumer

__all__ = ["SAFE_LEASE_SHARE", "InFlight"]

SAFE_LEASE_SHARE = 0.8
"""Share of a lease during which a job may start; the rest allows for the delays of the network."""

# More messages than can be in flight when a connection breaks.
_REMEMBERED = 20_000


class InFlight:
    """Messages that this process holds, and the sequences of those that it has acknowledged.

    Attributes:
        jobs: by sequence in the stream, in the order of arrival.
    """

    def __init__(self, pulling: PullConsumer, acks: AckSender) -> None:
        self.jobs: dict[int, Job] = {}
        self._pulling = pulling
        self._acks = acks
        self._acknowledged = BoundedDict[int, None](_REMEMBERED)

    def add(self, message: Message) -> Job | None:
        """Hold a message; None if it is held already or was acknowledged."""
        sequence, lease_until = message.sequence, monotonic() + SAFE_LEASE_SHARE * group.ACK_WAIT_S
        job = self.jobs.get(sequence)
        if job is not None:
            # A redelivery renews the lease.
            job.reply, job.lease_until = message.reply, lease_until
        elif sequence in self._acknowledged:
            self._acks.put(message.reply, ACK)
        else:
            self.jobs[sequence] = job = Job(message, lease_until)
            return job
        self._pulling.done()
        return None

    def settle(self, job: Job, ack: bytes) -> None:
        """Acknowledge a job, positively or negatively, and release it."""
        if self.release(job):
            if ack is ACK:
                self._acknowledged[job.message.sequence] = None
            self._acks.put(job.reply, ack)

    def release(self, job: Job) -> bool:
        """Hold a job no longer, without acknowledging it; whether it was held."""
        # A job can be settled twice, by its end and by the stop of the worker. The first one counts.
        if self.jobs.get(job.message.sequence) is not job:
            return False
        del self.jobs[job.message.sequence]
        if not job.is_parked:
            self._pulling.done()
        return True

    def clear(self) -> None:
        """Release and forget everything: the stream was recreated."""
        for job in list(self.jobs.values()):
            self.release(job)
        self._acknowledged.clear()

    async def send_in_progress(self, line: NatsConnection | None) -> None:
        """Report all jobs as in progress; this renews their leases if the server has received it."""
        now = monotonic()
        jobs = [job for job in self.jobs.values() if not job.is_parked]
        if not jobs or line is None:
            return
        if await self._acks.send_in_progress(line, [job.reply for job in jobs], group.ACK_WAIT_S / 4):
            for job in jobs:
                job.lease_until = now + SAFE_LEASE_SHARE * group.ACK_WAIT_S
