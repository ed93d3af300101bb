"""The messages in flight, delivered to this process and not settled, and their acknowledgements.

The server redelivers a message that no process has reported as in progress for `ACK_WAIT_S`, so all of them are
reported nine times in that time. Acknowledgements that cannot be sent wait for the next connection, because JetStream
accepts one for any delivery of a message. If a connection breaks meanwhile, the message is redelivered, and
acknowledged again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic

import msgspec
import nats.errors

from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.processing import group
from rxhub.transport.nats.processing.executor import Executor
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.pull_consumer import Message, PullConsumer

__all__ = ["ACK", "IN_PROGRESS", "NAK", "SAFE_LEASE_SHARE", "InFlight", "nak_after"]

ACK = b"+ACK"
NAK = b"-NAK"
IN_PROGRESS = b"+WPI"

SAFE_LEASE_SHARE = 0.8  # share of a lease during which a job may start; the rest allows for the delays of the network
_MARGIN_SHARE = 1 - SAFE_LEASE_SHARE
_NANOSECONDS = 1_000_000_000
# More messages than can be in flight when a connection breaks.
_REMEMBERED = 20_000
_POLL_S = 0.005
_CANCEL_TIMEOUT_S = 1.0


def nak_after(seconds: float) -> bytes:
    """A negative acknowledgement that requests redelivery after a delay."""
    return NAK + b" " + msgspec.json.encode({"delay": max(1, int(seconds * _NANOSECONDS))})


class InFlight:
    """Messages that this process holds, and the sequences of those that it has acknowledged.

    As a `ConnectionTask`, it sends the acknowledgements, in order.
    """

    def __init__(self, pulling: PullConsumer, on_redelivered: Callable[[Message], object]) -> None:
        self.jobs: dict[int, Job] = {}  # by sequence in the stream, in the order of arrival
        self._pulling = pulling
        self._on_redelivered = on_redelivered
        self._acknowledged = BoundedDict[int, None](_REMEMBERED)
        self._acks: deque[tuple[str, bytes]] = deque()
        self._has_acks = asyncio.Event()
        self._latest_lease = inf

    def new_lease(self) -> float:
        """Until when a job may start whose message is delivered now.

        Not longer than for the messages before it: if reports fail, no event may start after an earlier one of its key
        has expired.
        """
        self._latest_lease = min(self._latest_lease, monotonic() + SAFE_LEASE_SHARE * group.ACK_WAIT_S)
        return self._latest_lease

    def overdue(self) -> list[Job]:
        """The waiting jobs whose messages another process may have, because no report has reached the server in time.

        The latest ones are first, so that none of them is the next of its key when an earlier one is released.
        """
        end = monotonic() - _MARGIN_SHARE * group.ACK_WAIT_S
        return [
            job
            for job in reversed(self.jobs.values())
            if job.lease_until < end and not (job.is_started or job.is_batched or job.is_parked)
        ]

    def add(self, message: Message) -> Job | None:
        """Hold a message; None if it is held already or was acknowledged, which `on_redelivered` checks."""
        sequence, lease_until = message.sequence, self.new_lease()
        job = self.jobs.get(sequence)
        if job is not None:
            # A redelivery renews the lease.
            job.reply, job.lease_until = message.reply, lease_until
        elif sequence in self._acknowledged:
            self._on_redelivered(message)
            return None
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
            self.send_ack(job.reply, ack)

    def release(self, job: Job) -> bool:
        """Hold a job no longer, without acknowledging it; whether it was held."""
        # A job can be settled twice, by its end and by the stop of the worker. The first one counts.
        if self.jobs.get(job.message.sequence) is not job:
            return False
        del self.jobs[job.message.sequence]
        if not job.is_parked:
            self._pulling.done()
        return True

    def holds(self, job: Job) -> bool:
        """Whether a job is neither settled nor released."""
        return self.jobs.get(job.message.sequence) is job

    def is_acknowledged(self, message: Message) -> bool:
        """Whether this process has acknowledged a message."""
        return message.sequence in self._acknowledged

    def clear(self) -> None:
        """Release and forget everything: the stream was recreated, or the group was reset."""
        for job in list(self.jobs.values()):
            self.release(job)
        self._acknowledged.clear()

    def send_ack(self, reply: str, ack: bytes) -> None:
        """Send an acknowledgement to a reply subject, now or after the next connect."""
        self._acks.append((reply, ack))
        self._has_acks.set()

    async def run(self, line: NatsConnection) -> None:
        waiting, publish = self._acks, line.client.publish
        while True:
            while waiting:
                await publish(*waiting[0])
                waiting.popleft()
            self._has_acks.clear()
            await self._has_acks.wait()

    async def flush(self, line: NatsConnection | None, timeout: float) -> None:
        """Wait until the server has received all acknowledgements, for up to `timeout` seconds."""
        with suppress(TimeoutError, nats.errors.Error, OSError):
            async with asyncio.timeout(timeout):
                while self._acks:
                    await asyncio.sleep(_POLL_S)
                if line is not None:
                    await line.flush()

    async def send_in_progress(self, line: NatsConnection | None) -> None:
        """Report jobs as in progress; this renews their leases if the server has received it in time."""
        now, overdue = monotonic(), set(self.overdue())
        jobs = [job for job in self.jobs.values() if not job.is_parked and job not in overdue]
        if line is None:
            return
        if not jobs:
            self._latest_lease = inf
            return
        with suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(group.ACK_WAIT_S / 4):
                for reply in [job.reply for job in jobs]:
                    await line.client.publish(reply, IN_PROGRESS)
                await line.flush()
            self._latest_lease = now + SAFE_LEASE_SHARE * group.ACK_WAIT_S
            overdue = set(self.overdue())
            for job in jobs:
                if job not in overdue:
                    job.lease_until = self._latest_lease

    async def drain(self, executor: Executor, deadline: float, in_order: bool) -> list[Job]:
        """Return all messages to the server, so that other processes receive them at once.

        Running handlers may finish until the deadline, as `time.monotonic()` counts; then they are cancelled, if that
        is possible. Messages of handlers that still run are not returned: another process would handle them at the same
        time. The server redelivers them after `ACK_WAIT_S`. With ordering by key, nothing is returned before everything
        that may precede it has finished.

        Returns the jobs whose handlers still run.
        """
        if not in_order:
            self._return(lambda job: not job.is_started)
        if not await self._wait_for_handlers(executor, deadline):
            executor.cancel()
            await self._wait_for_handlers(executor, monotonic() + _CANCEL_TIMEOUT_S)
        is_alive = executor.is_alive
        self._return(lambda job: not (job.is_started and is_alive))
        return list(self.jobs.values())

    async def _wait_for_handlers(self, executor: Executor, until: float) -> bool:
        """Whether all have finished in time."""
        while executor.is_alive and any(job.is_started for job in self.jobs.values()):
            if monotonic() >= until:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def _return(self, condition: Callable[[Job], bool]) -> None:
        jobs = [job for job in self.jobs.values() if condition(job)]
        for job in sorted(jobs, key=lambda job: job.message.sequence):
            if job.task is not None:
                job.task.cancel()
            self.settle(job, NAK)
