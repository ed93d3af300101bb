"""The messages that a process has been given and has not settled, and the memory of those that it has.

The server gives a message to somebody else when nobody has vouched for it for `ACK_WAIT`. So all that is held is
reported as in progress nine times in that time, wherever it waits.
"""

from __future__ import annotations

from time import monotonic

from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.processing import group
from rxhub.transport.nats.processing.acks import ACK, AckSender
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.pull_consumer import Message, PullConsumer

__all__ = ["SAFE_LEASE_SHARE", "InFlight"]

# Of the time that a message is ours: what is left of it belongs to the way there and back.
SAFE_LEASE_SHARE = 0.8
# Sequences in each half of the memory; more than can be under way to us when a line breaks.
_REMEMBERED = 10_000


class InFlight:
    """What is held.

    Args:
        pulling: where it comes from.
        acks: who tells the server what became of it.

    Attributes:
        jobs: by their sequence in the stream, in the order in which they came.
    """

    def __init__(self, pulling: PullConsumer, acks: AckSender) -> None:
        self.jobs: dict[int, Job] = {}
        self._pulling = pulling
        self._acks = acks
        self._settled: set[int] = set()
        self._settled_before: set[int] = set()

    def take(self, message: Message) -> Job | None:
        """Hold what has come; None if it is held already, or was settled."""
        sequence, until = message.sequence, monotonic() + SAFE_LEASE_SHARE * group.ACK_WAIT
        job = self.jobs.get(sequence)
        if job is not None:
            # The later copy's subject counts as well as the first one's; and now it is ours for longer.
            job.reply, job.until = message.reply, until
        elif sequence in self._settled or sequence in self._settled_before:
            self._acks.put(message.reply, ACK)
        else:
            self.jobs[sequence] = job = Job(message, until)
            return job
        self._pulling.done()
        return None

    def settle(self, job: Job, verb: bytes) -> None:
        """Tell the server what became of a job, and hold it no more."""
        if self._release(job):
            if verb is ACK:
                self._remember(job.message.sequence)
            self._acks.put(job.reply, verb)

    def drop(self, job: Job) -> None:
        """Hold a job no more, without a word: it is somebody else's by now."""
        self._release(job)

    def forget(self) -> None:
        """Remember nothing: what the sequences stood for is gone."""
        for job in list(self.jobs.values()):
            self.drop(job)
        self._settled, self._settled_before = set(), set()

    async def send_in_progress(self, line: NatsConnection | None) -> None:
        """Tell that all that is held is still worked on; it is ours for longer if that has arrived."""
        now = monotonic()
        jobs = [job for job in self.jobs.values() if not job.is_parked]
        if not jobs or line is None:
            return
        if await self._acks.send_in_progress(line, [job.reply for job in jobs], group.ACK_WAIT / 4):
            for job in jobs:
                job.until = now + SAFE_LEASE_SHARE * group.ACK_WAIT

    def _release(self, job: Job) -> bool:
        # Of two who settle a job, as one that ends and one that stops, the first has it.
        if self.jobs.get(job.message.sequence) is not job:
            return False
        del self.jobs[job.message.sequence]
        if not job.is_parked:
            self._pulling.done()
        return True

    def _remember(self, sequence: int) -> None:
        self._settled.add(sequence)
        if len(self._settled) > _REMEMBERED:
            self._settled, self._settled_before = set(), self._settled
