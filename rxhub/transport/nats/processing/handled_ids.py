"""The ids of the events that a group has handled in the last week: stored by the server, looked up in memory.

A request per id would cost one `fsync` per event. A process therefore stores digests of ids in *pages*, the values of a
key-value bucket. Each write replaces the page by one that also contains the ids handled since, until it is full. If the
result of a write is unknown, the page is not written again, because the server could apply the two writes in either
order. Every process keeps the digests of all pages in memory, and reads new pages before it looks up ids. It therefore
knows every id that any process has stored, also after a crash.

The key of a page contains the id of the latest reset of the group. A process that has not noticed a reset yet writes
its page with all ids from before it, and others ignore that page.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from hashlib import blake2b
from time import monotonic
from typing import TypeVar
from uuid import uuid4

from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.kv_bucket import KvBucket
from rxhub.transport.nats.processing.executor import HandlerRunner
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import server_time

__all__ = ["HandledIdStore", "HandledIds", "digest_of"]

_DAY_S = 24 * 3600
# The stream itself rejects duplicates for 20 minutes. Later ones come from retries and replays.
_DAYS = 7

_DIGEST_BYTES = 16
_PAGE_BYTES = 256 * _DIGEST_BYTES
# All ids of a page expire a week after its last write, so a page is not written for longer than this.
_PAGE_AGE_S = 3600.0
# Pages per request; adding them blocks the loop for a few milliseconds.
_PAGES = 32
# The number of pages whose size is remembered. If an older page is read again, its digests are stored twice.
_LATEST_PAGES = 4_096

# Handled events whose ids are not stored yet, and ids per request.
_MAX_UNSTORED = 64
_BATCH = 256
_MAX_BACKOFF_S = 5.0
# Weight of a new value in the moving average.
_SMOOTHING = 0.2

T = TypeVar("T")

logger = logging.getLogger("rxhub")


class HandledIdStore:
    """The handled ids of one group, as one process knows them."""

    def __init__(
        self, link: ReconnectingClient, stream: str, group: str, replicas: int, reset_id: Callable[[], str] = str
    ) -> None:
        self.reset_id = reset_id  # the id of the latest reset that this process has noticed; empty if there is none
        description = f"Digests of the ids of events of {stream} that {group} has handled."
        self._bucket = KvBucket(link, f"{stream}-handled-{group}", description, _DAYS * _DAY_S, replicas)
        self._digests = _DigestSet()
        self._created = ("", "")
        # The last sequence that was read, and the number of bytes that were read of the latest pages.
        self._read = 0
        self._taken = BoundedDict[str, int](_LATEST_PAGES)
        self._reading = asyncio.Lock()
        # Server time minus `monotonic()`.
        self._offset = 0.0
        # The page that may be written again; the key is empty if there is none.
        self._key, self._page, self._page_ends = "", b"", 0.0
        self._writing = asyncio.Lock()

    async def create(self) -> None:
        await self._bucket.create()

    async def known(self, digests: Iterable[bytes]) -> set[bytes]:
        """The digests that any process of the group has stored."""
        await self._catch_up()
        return {each for each in digests if each in self._digests}

    async def mark(self, digests: Iterable[bytes], reset_id: str | None = None) -> None:
        """Store digests with one write. If it raises HubConnectionError, they may be stored or not.

        `reset_id`: the latest reset before they were handled, if there may have been another one since.
        """
        if reset_id is None:
            reset_id = self.reset_id()
        added = b"".join(digests)
        async with self._writing:
            key, page = self._key, self._page
            is_full = len(page) >= _PAGE_BYTES or monotonic() > self._page_ends
            if not key or is_full or _reset_id_of(key) != reset_id:
                key, page, self._page_ends = f"{reset_id}-{uuid4().hex}", b"", monotonic() + _PAGE_AGE_S
            self._key = ""
            page += added
            sequence = await self._bucket.put(key, page)
            self._key, self._page = key, page
        self._take(key, page, monotonic() + self._offset)
        if sequence == self._read + 1:
            self._read = sequence

    async def _catch_up(self) -> None:
        async with self._reading:
            info = await self._bucket.create()
            self._offset = server_time(info).timestamp() - monotonic()
            if (created := (str(info["created"]), self.reset_id())) != self._created:
                # The bucket was recreated, and its sequences start again, or the group was reset.
                self._created, self._read = created, 0
                self._digests, self._key = _DigestSet(), ""
                self._taken.clear()
            last: int = info["state"]["last_seq"]
            while self._read < last:
                pages = await self._bucket.following(self._read + 1, _PAGES)
                for page in pages:
                    self._take(page.key, page.value or b"", datetime.fromisoformat(page.time).timestamp())
                self._read = max(self._read, pages[-1].sequence if pages else last)

    def _take(self, key: str, page: bytes, time: float) -> None:
        """Add the digests of a page that were not read before, unless the group was reset after it was written."""
        # Without a reset, the group may be a new one in place of a lost one: its ids count.
        if (reset_id := self.reset_id()) and _reset_id_of(key) != reset_id:
            return
        begin = self._taken.pop(key, 0)
        self._taken[key] = max(len(page), begin)
        self._digests.add(page, begin, int(time) // _DAY_S)


class HandledIds:
    """Looks up and stores the ids of the first deliveries of one process, many at a time.

    An event is acknowledged when its id is stored. If the process is killed before, the event is handled again. Further
    events therefore start before the ids of earlier ones are stored only where handlers would otherwise be idle: as
    many as return while ids are being stored, up to `_MAX_UNSTORED`. If one handler takes longer than storing an id,
    that is none. Redelivered and failed events are handled one by one, by `Retries`.
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

    def clear(self) -> list[Job]:
        """Forget all jobs that were not submitted, because the group was reset; returns those that were handled."""
        self._unknown.clear()
        self._ready.clear()
        self._has_unstored.clear()
        handled = list(self._unstored)
        self._unstored.clear()
        self._pending -= len(handled)
        return handled

    def discard(self) -> None:
        """A submitted job has failed, and its id is not to be stored."""
        self._pending -= 1
        self._submit_ready()

    async def look_up(self) -> None:
        while True:
            await self._must_look_up.wait()
            jobs = _take(self._unknown)
            digests = [job.id_digest for job in jobs]
            runs = [job.run for job in jobs]
            known = await _retry(lambda digests=digests: self._store.known(digests))
            now = monotonic()
            for job, run in zip(jobs, runs, strict=True):
                if job.run != run:
                    continue  # it was released in the meantime
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
            if not jobs:
                continue  # they were cleared
            reset_id = self._store.reset_id()
            seconds = await _retry(lambda digests=digests, reset_id=reset_id: self._mark(digests, reset_id))
            self._storing_s += (seconds - self._storing_s) * _SMOOTHING
            if not self._unstored:
                self._has_unstored.clear()
            self._pending -= len(jobs)
            for job in jobs:
                self._on_stored(job)
            self._submit_ready()

    async def _mark(self, digests: list[bytes], reset_id: str) -> float:
        began = monotonic()
        await self._store.mark(digests, reset_id)
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


def _reset_id_of(key: str) -> str:
    return key.rpartition("-")[0]


async def _retry(request: Callable[[], Awaitable[T]]) -> T:
    backoff = Backoff(0.1, _MAX_BACKOFF_S)
    while True:
        try:
            return await request()
        except (HubConnectionError, StreamError) as error:
            logger.debug("Could not look up or store ids; retrying: %s", error)
        await asyncio.sleep(backoff.delay())


class _DigestSet:
    """Digests of some days, in little more memory than their size.

    The digests of a day are in 4,096 arrays, by their first 12 bits.
    """

    def __init__(self) -> None:
        self._days: dict[int, dict[int, bytearray]] = {}

    def add(self, page: bytes, begin: int, day: int) -> None:
        """Add the digests of a page from an offset. The first one of a new day removes expired days."""
        if day not in self._days:
            self._days[day] = {}
            self._days = {each: arrays for each, arrays in self._days.items() if each >= max(self._days) - _DAYS}
        arrays = self._days.get(day, {})
        for at in range(begin, len(page) - _DIGEST_BYTES + 1, _DIGEST_BYTES):
            digest = page[at : at + _DIGEST_BYTES]
            number = digest[0] << 4 | digest[1] >> 4
            if number in arrays:
                arrays[number] += digest
            else:
                arrays[number] = bytearray(digest)

    def __contains__(self, digest: bytes) -> bool:
        number = digest[0] << 4 | digest[1] >> 4
        # A match at another place than the digest's own is as unlikely as a collision.
        return any(number in arrays and digest in arrays[number] for arrays in self._days.values())


def digest_of(id: str) -> bytes:
    """The digest that is stored for an id."""
    return blake2b(id.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
