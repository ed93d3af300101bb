"""Order by key when a process takes over from another one.

Messages that the previous process held, or that were lost with a connection, are redelivered only after `ACK_WAIT_S`,
and later messages arrive before them. The new process therefore collects messages until it holds all that the server
counts as in flight, and then starts them in the order of the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.supervise import supervise
from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.job import Job

__all__ = ["Takeover"]

_PIN_HEADER = "Nats-Pin-Id"

logger = logging.getLogger("rxhub")


class Takeover:
    """Collects jobs while earlier messages may be missing."""

    def __init__(self, group: Group, jobs: Mapping[int, Job], start: Callable[[Job], object]) -> None:
        self._group = group
        self._jobs = jobs
        self._start = start
        self._collected: list[Job] = []
        self._pin: str | None = None
        self._gaps = 0
        self._task: asyncio.Task[None] | None = None

    def on_gap(self) -> None:
        """Messages may be missing from now on."""
        self._pin = None
        self._gaps += 1

    def collect(self, job: Job) -> bool:
        """Collect a job if earlier messages may be missing; whether it was collected."""
        pin = job.message.headers.get(_PIN_HEADER, "")
        if pin != self._pin:
            # This process was pinned now, again or for the first time.
            self._gaps += 1
            self._pin = pin
            if self._task is None:
                name = f"waiting for earlier events of {self._group.name}"
                self._task = supervise(self._wait_for_missing, name, restart=True)
        if self._task is None:
            return False
        self._collected.append(job)
        return True

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _wait_for_missing(self) -> None:
        backoff = Backoff(0.05, 1.0)
        is_logged = False
        while True:
            gaps = self._gaps
            try:
                missing = await self._group.ack_pending() - len(self._jobs)
            except (HubConnectionError, StreamError) as error:
                logger.debug("Could not read how many events of %s are in flight: %s", self._group.name, error)
            else:
                if missing <= 0 and gaps == self._gaps:
                    break
                if not is_logged and missing > 0:
                    is_logged = True
                    logger.info("%s: waiting for %d earlier events of other processes.", self._group.name, missing)
            await asyncio.sleep(backoff.delay())
        self._task = None
        jobs, self._collected = self._collected, []
        for job in sorted(jobs, key=lambda job: job.message.sequence):
            # A job whose lease has expired is redelivered.
            if self._jobs.get(job.message.sequence) is job:
                self._start(job)
