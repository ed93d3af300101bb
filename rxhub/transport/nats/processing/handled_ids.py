"""Looking up and storing the ids of handled events, many at a time.

Theory of operation. With `once`, an event costs two more messages: one that asks whether its id is stored, and one that
stores it. Both wait for the server, so each is one message for all events that are there (`id_store`). An event is
acknowledged when its id is stored.

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
from math import inf
from time import monotonic

from rxhub.concurrency.backoff import Backoff
from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.processing.id_store import HandledIdStore
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.reconnecting import ReconnectingClient

__all__ = ["HandledIds"]

_MOST_UNSTORED = 64
# A share of what storing took, by which the mean follows it.
_SWAY = 0.2
# Ids in one question, and that are stored together.
_BATCH = 256
_LONGEST_PAUSE_S = 5.0

logger = logging.getLogger("rxhub")


class HandledIds:
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
        link: ReconnectingClient,
        handled: HandledIdStore,
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
        self._handler_takes = inf
        self._storing_takes = 0.0
        self._is_stopped = False
        # Set while ids are to be looked up, and to be stored.
        self._wants_ready = asyncio.Event()
        self._has_unstored = asyncio.Event()

    def enter(self, job: Job) -> None:
        """Have a job begun, if its event was not handled before."""
        self._unknown.append(job)
        self._prompt()

    def stop(self) -> None:
        """Begin nothing any more; what has not begun is handed back."""
        self._is_stopped = True

    def returned(self, job: Job, took: float) -> None:
        """A handler has returned without an error: store its event's id.

        Args:
            job: which.
            took: seconds that handlers take on average.
        """
        self._handler_takes = took
        self._unstored.append(job)
        self._has_unstored.set()

    def left(self) -> None:
        """A job that was begun here will not be stored here."""
        self._under_way -= 1
        self._go_on()

    async def look_up(self) -> None:
        """Ask for ids until cancelled."""
        while True:
            await self._wants_ready.wait()
            jobs = _taken(self._unknown)
            backoff = Backoff(0.1, _LONGEST_PAUSE_S)
            known: set[bytes] | None = None
            while known is None:
                try:
                    known = await self._handled.known([job.digest for job in jobs])
                except (HubConnectionError, StreamError) as error:
                    logger.debug("Ids cannot be looked up at present: %s", error)
                    await asyncio.sleep(backoff.delay())
            now = monotonic()
            for job in jobs:
                if now > job.until:
                    self._expire(job)
                elif job.digest in known:
                    self._skip(job)
                else:
                    self._ready.append(job)
            self._go_on()

    async def store(self) -> None:
        """Store ids until cancelled."""
        while True:
            await self._has_unstored.wait()
            jobs = _taken(self._unstored)
            backoff = Backoff(0.1, _LONGEST_PAUSE_S)
            while True:
                began = monotonic()
                try:
                    await self._handled.mark([job.digest for job in jobs])
                    break
                except (HubConnectionError, StreamError) as error:
                    logger.debug("Ids cannot be stored at present: %s", error)
                    await asyncio.sleep(backoff.delay())
            self._storing_takes += (monotonic() - began - self._storing_takes) * _SWAY
            if not self._unstored:
                self._has_unstored.clear()
            self._under_way -= len(jobs)
            for job in jobs:
                self._stored(job)
            self._go_on()

    def _go_on(self) -> None:
        unstored = self._concurrency * self._storing_takes / max(self._handler_takes, 1e-6)
        most = self._concurrency + int(min(unstored, _MOST_UNSTORED))
        while self._ready and self._under_way < most and not self._is_stopped:
            self._under_way += 1
            self._begin(self._ready.popleft())
        self._prompt()

    def _prompt(self) -> None:
        """Have ids looked up, many at a time: not before those that are ready have become few."""
        if self._unknown and len(self._ready) < self._concurrency + _MOST_UNSTORED:
            self._wants_ready.set()
        else:
            self._wants_ready.clear()


def _taken(waiting: deque[Job]) -> list[Job]:
    return [waiting.popleft() for _ in range(min(len(waiting), _BATCH))]
