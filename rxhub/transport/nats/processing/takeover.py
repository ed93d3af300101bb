"""A process that orders by key begins with the eldest of what is under way in its group.

The server sends all messages to one process, and pins another one when that is gone. What was under way with the one
before, or was on a line that broke, comes again only when its time is over; meanwhile later messages come. So these are
gathered until the server has nothing under way that is not in our hands, and then begun in the order of the stream.
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

_PIN = "Nats-Pin-Id"

logger = logging.getLogger("rxhub")


class Takeover:
    """What has come and may not be begun yet.

    Args:
        group: tells how much is under way.
        holding: all that is in our hands.
        begin: called with each job in order, once nothing is missing.

    Attributes:
        jobs: what was gathered so far.
    """

    def __init__(self, group: Group, holding: Mapping[int, Job], begin: Callable[[Job], object]) -> None:
        self.jobs: list[Job] = []
        self._group = group
        self._holding = holding
        self._begin = begin
        self._pin: str | None = None
        self._losses = 0
        self._task: asyncio.Task[None] | None = None

    def lose(self) -> None:
        """Something may be missing from now on."""
        self._pin = None
        self._losses += 1

    def takes(self, job: Job) -> bool:
        """Whether a job that has come has to wait here."""
        pin = job.message.headers.get(_PIN, "")
        if pin != self._pin:
            # We are the one now, again or for the first time.
            self._losses += 1
            self._pin = pin
            self.jobs.append(job)
            if self._task is None:
                self._task = supervise(self._gather, f"waiting for earlier events of {self._group.name}", restart=True)
            return True
        if self._task is not None:
            self.jobs.append(job)
            return True
        return False

    def stop(self) -> None:
        """Begin nothing any more."""
        if self._task is not None:
            self._task.cancel()

    async def _gather(self) -> None:
        backoff = Backoff(0.05, 1.0)
        is_told = False
        while True:
            losses = self._losses
            try:
                missing = await self._group.under_way() - len(self._holding)
            except (HubConnectionError, StreamError) as error:
                logger.debug("What is under way in %s is not known yet: %s", self._group.name, error)
            else:
                if missing <= 0 and losses == self._losses:
                    break
                if not is_told and missing > 0:
                    is_told = True
                    logger.info(
                        "%s: %d events that were under way elsewhere are waited for, as they come first.",
                        self._group.name,
                        missing,
                    )
            await asyncio.sleep(backoff.delay())
        self._task = None
        jobs, self.jobs = self.jobs, []
        for job in sorted(jobs, key=lambda job: job.message.sequence):
            # It may have run out of time meanwhile, and will come again.
            if self._holding.get(job.message.sequence) is job:
                self._begin(job)
