"""Looking up and storing the ids of handled events, many at a time.

Theory of operation. With `once`, an event costs two more messages: one that asks whether its id is stored, and one that
stores it. Both wait for the server, so they are sent for all events together that are there: one question for all ids,
and all ids to store without waiting in between. An event is acknowledged when its id is stored.

If the process is killed before an id is stored, the event is handled again. So a further event begins in the place of
one whose id is not stored yet only where handlers would otherwise wait for most of the time: as many as return while
ids are stored, and `_MOST_UNSTORED` at most. Where one handler at a time takes longer than storing, that is none.

What was delivered before, or failed, goes the long way (`care`), one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import monotonic

from rxhub.concurrency.backoff import Backoff
from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.processing.delivery_state import Handled
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.reconnecting import Link

__all__ = ["Once"]

_MOST_UNSTORED = 64
# A share of what storing took, by which the mean follows it.
_SWAY = 0.2
# Ids in one question, and that are stored together.
_BATCH = 256
_LONGEST_PAUSE_S = 5.0

logger = logging.getLogger("rxhub")


class Once:
    """The events of one process that come for the first time, and those whose ids are to be stored.

    Args:
        link: to the servers.
        handled: the ids.
        concurrency: how many handlers run at a time.
        begin: has a job's handler called.
        skip: called with a job whose event was handled before.
        expire: called with a job that the server may have given to another process meanwhile.
        stored: called with a job that was handled when its id is stored.
    """

    def __init__(
        self,
        link: Link,
        handled: Handled,
        concurrency: int,
        begin: Callable[[Job], object],
        skip: Callable[[Job], object],
        expire: Callable[[Job], object],
        stored: Callable[[Job], object],
    ) -> None:
        self._link = link
        self._handled = handled
        self._concurrency = concurrency
        self._begin = begin
        self._skip = skip
        self._expire = expire
        self._stored = stored
        self._unknown: deque[Job] = deque()
        self._ready: deque[Job] = deque()
        self._unstored: deque[Job] = deque()
        self._under_way = 0
        self._most = concurrency
        self._storing_takes = 0.0
        self._has_unknown = asyncio.Event()
        self._has_unstored = asyncio.Event()

    def enter(self, job: Job) -> None:
        """Have a job begun, if its event was not handled before."""
        self._unknown.append(job)
        self._has_unknown.set()

    def returned(self, job: Job, took: float) -> None:
        """A handler has returned without an error: store its event's id.

        Args:
            job: which.
            took: seconds that handlers take on average.
        """
        unstored = self._concurrency * self._storing_takes / max(took, 1e-6)
        self._most = self._concurrency + int(min(unstored, _MOST_UNSTORED))
        self._unstored.append(job)
        self._has_unstored.set()

    def left(self) -> None:
        """A job that was begun here will not be stored here."""
        self._under_way -= 1
        self._go_on()

    async def look_up(self) -> None:
        """Ask for ids until cancelled."""
        while True:
            jobs = await _batch(self._unknown, self._has_unknown)
            backoff = Backoff(0.1, _LONGEST_PAUSE_S)
            known: set[str] | None = None
            while known is None:
                try:
                    known = await self._handled.known(map(_id, jobs))
                except (HubConnectionError, StreamError) as error:
                    logger.debug("Ids cannot be looked up at present: %s", error)
                    await asyncio.sleep(backoff.delay())
            for job in jobs:
                if monotonic() > job.until:
                    self._expire(job)
                elif _id(job) in known:
                    self._skip(job)
                else:
                    self._ready.append(job)
            self._go_on()

    async def store(self) -> None:
        """Store ids until cancelled."""
        while True:
            jobs: list[Job] = await _batch(self._unstored, self._has_unstored)
            backoff = Backoff(0.1, _LONGEST_PAUSE_S)
            while jobs:
                began = monotonic()
                missing: set[str] = set(map(_id, jobs))
                try:
                    missing = await self._handled.mark_all(missing)
                except (HubConnectionError, StreamError) as error:
                    logger.debug("Ids cannot be stored at present: %s", error)
                self._storing_takes += (monotonic() - began - self._storing_takes) * _SWAY
                for job in jobs:
                    if _id(job) not in missing:
                        self._under_way -= 1
                        self._stored(job)
                jobs = [job for job in jobs if _id(job) in missing]
                self._go_on()
                if jobs:
                    await asyncio.sleep(backoff.delay())

    def _go_on(self) -> None:
        while self._ready and self._under_way < self._most:
            self._under_way += 1
            self._begin(self._ready.popleft())


def _id(job: Job) -> str:
    return "" if job.event is None else str(job.event.id)


async def _batch(waiting: deque[Job], has_any: asyncio.Event) -> list[Job]:
    while not waiting:
        has_any.clear()
        await has_any.wait()
    return [waiting.popleft() for _ in range(min(len(waiting), _BATCH))]
