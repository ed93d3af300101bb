"""Looks up and stores the ids of handled events, many at a time (`once=True`).

An event is acknowledged when its id is stored. If the process is killed before, the event is handled again. Further
events therefore start before the ids of earlier ones are stored only where handlers would otherwise be idle: as many as
return while ids are being stored, up to `_MAX_UNSTORED`. If one handler takes longer than storing an id, that is none.
Redelivered and failed events do not use this path; `Retries` handles them one by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from rxhub.concurrency.backoff import Backoff
from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.processing.executor import HandlerRunner
from rxhub.transport.nats.processing.id_store import HandledIdStore
from rxhub.transport.nats.processing.job import Job

__all__ = ["HandledIds"]

_MAX_UNSTORED = 64
_BATCH = 256
_MAX_BACKOFF_S = 5.0
# Weight of a new value in the moving average.
_SMOOTHING = 0.2

T = TypeVar("T")

logger = logging.getLogger("rxhub")


class HandledIds:
    """The first deliveries of one process.

    Args:
        on_known: called with a job whose event was handled before.
        on_expired: called with a job whose lease has expired.
        on_stored: called with a handled job when its id is stored.
    """

    def __init__(
        self,
        store: HandledIdStore,
        handlers: HandlerRunner,
        concurrency: int,
        on_known: Callable[[Job], object],
        on_expired: Callable[[Job], object],
        on_stored: Callable[[Job], object],
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._concurrency = concurrency
        self._on_known = on_known
        self._on_expired = on_expired
        self._on_stored = on_stored
        self._unknown: deque[Job] = deque()
        self._ready: deque[Job] = deque()
        self._unstored: deque[Job] = deque()
        # Submitted and not stored.
        self._pending = 0
        self._storing_s = 0.0
        self._is_stopped = False
        self._must_look_up = asyncio.Event()
        self._has_unstored = asyncio.Event()

    def add(self, job: Job) -> None:
        """Submit a job, unless its event was handled before."""
        self._unknown.append(job)
        self._schedule_look_up()

    def stop(self) -> None:
        self._is_stopped = True

    def handled(self, job: Job) -> None:
        """Store the id of a job whose handler succeeded."""
        self._unstored.append(job)
        self._has_unstored.set()

    def discard(self) -> None:
        """A submitted job has failed, and its id is not to be stored."""
        self._pending -= 1
        self._submit_ready()

    async def look_up(self) -> None:
        while True:
            await self._must_look_up.wait()
            jobs = _take(self._unknown)
            digests = [job.id_digest for job in jobs]
            known = await _retry(lambda digests=digests: self._store.known(digests))
            now = monotonic()
            for job in jobs:
                if now > job.lease_until:
                    self._on_expired(job)
                elif job.id_digest in known:
                    self._on_known(job)
                else:
                    self._ready.append(job)
            self._submit_ready()

    async def store(self) -> None:
        while True:
            await self._has_unstored.wait()
            jobs = _take(self._unstored)
            digests = [job.id_digest for job in jobs]
            seconds = await _retry(lambda digests=digests: self._mark(digests))
            self._storing_s += (seconds - self._storing_s) * _SMOOTHING
            if not self._unstored:
                self._has_unstored.clear()
            self._pending -= len(jobs)
            for job in jobs:
                self._on_stored(job)
            self._submit_ready()

    async def _mark(self, digests: list[bytes]) -> float:
        began = monotonic()
        await self._store.mark(digests)
        return monotonic() - began

    def _submit_ready(self) -> None:
        unstored = self._concurrency * self._storing_s / max(self._handlers.mean_s, 1e-6)
        limit = self._concurrency + int(min(unstored, _MAX_UNSTORED))
        while self._ready and self._pending < limit and not self._is_stopped:
            self._pending += 1
            self._handlers.submit(self._ready.popleft())
        self._schedule_look_up()

    def _schedule_look_up(self) -> None:
        # Only when few jobs are ready, so that each request looks up many ids.
        if self._unknown and len(self._ready) < self._concurrency + _MAX_UNSTORED:
            self._must_look_up.set()
        else:
            self._must_look_up.clear()


def _take(waiting: deque[Job]) -> list[Job]:
    return [waiting.popleft() for _ in range(min(len(waiting), _BATCH))]


async def _retry(request: Callable[[], Awaitable[T]]) -> T:
    backoff = Backoff(0.1, _MAX_BACKOFF_S)
    while True:
        try:
            return await request()
        except (HubConnectionError, StreamError) as error:
            logger.debug("Could not look up or store ids; retrying: %s", error)
        await asyncio.sleep(backoff.delay())
