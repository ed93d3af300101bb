"""The ids of the events that a group has handled, for a week: stored by the server, looked up in memory.

Theory of operation. One message for each id would cost one `fsync` for each event. So a process stores ids in *pages*:
a page is one value of a key-value bucket, and holds a digest of 16 bytes for each id. A process writes its page again
with the ids that were handled meanwhile, all by one write, until the page is full. An id is stored when the server has
confirmed a page with it. While it is unknown whether a write was stored, its page is not written any more, since the
server could apply the writes in another order; the next write begins a new page.

Every process knows the digests of all pages. Before it looks up ids, it asks the leader of the bucket for its last
sequence and reads what it has not read yet. In this way an id that any process has stored is known, also after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from time import monotonic
from uuid import uuid4

from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.transport.nats.kv_bucket import KvBucket
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import server_time

__all__ = ["HandledIdStore", "digest_of"]

_DAY_S = 24 * 3600
_DAYS = 7
"""The stream itself keeps events from being stored twice for 20 minutes; what comes later was retried or replayed."""

_DIGEST_BYTES = 16
# A full page, which is written again only as often as it takes to fill it.
_PAGE_BYTES = 256 * _DIGEST_BYTES
# A page expires a week after its last write, and so do all of its ids.
_PAGE_AGE_S = 3600.0
# Pages that are read by one request, and together hold up the loop for some milliseconds.
_BATCH = 32
# Pages that may come again; the digests of earlier ones would be kept twice.
_LATEST_PAGES = 4_096


class HandledIdStore:
    """The handled ids of one group, as one process knows them.

    Args:
        link: to the servers.
        stream: of the events.
        name: of the group in NATS.
        replicas: on how many servers the ids are stored.
    """

    def __init__(self, link: ReconnectingClient, stream: str, name: str, replicas: int) -> None:
        what = f"Digests of the ids of events of {stream} that {name} has handled."
        self._bucket = KvBucket(link, f"{stream}-handled-{name}", what, _DAYS * _DAY_S, replicas)
        self._digests = _DigestSet()
        self._created: str = ""
        # The sequence up to which pages were read, and how many bytes of the latest ones.
        self._read = 0
        self._taken = BoundedDict[str, int](_LATEST_PAGES)
        self._reading = asyncio.Lock()
        # The server's clock, by our monotonic one.
        self._offset = 0.0
        # Of the page that may be written again; no key if there is none.
        self._key, self._page, self._page_ends = "", b"", 0.0
        self._writing = asyncio.Lock()

    async def make(self) -> None:
        """Make the bucket; raises what `KvBucket.make` raises."""
        await self._bucket.create()

    async def known(self, digests: Iterable[bytes]) -> set[bytes]:
        """Those of the digests that a process of the group has stored.

        Raises:
            StreamError: if JetStream refuses to tell.
            HubConnectionError: if nobody answers.
        """
        await self._catch_up()
        return {each for each in digests if each in self._digests}

    async def mark(self, digests: Iterable[bytes]) -> None:
        """Store digests by one write; they are stored when this returns.

        Raises:
            StreamError: if JetStream refuses it.
            HubConnectionError: if nobody answers; then they may be stored.
        """
        added = b"".join(digests)
        async with self._writing:
            key, page = self._key, self._page
            if not key or len(page) >= _PAGE_BYTES or monotonic() > self._page_ends:
                key, page, self._page_ends = uuid4().hex, b"", monotonic() + _PAGE_AGE_S
            self._key = ""
            page += added
            sequence = await self._bucket.put(key, page)
            self._key, self._page = key, page
        self._take(key, page, monotonic() + self._offset)
        if sequence == self._read + 1:
            self._read = sequence

    async def _catch_up(self) -> None:
        """Read the pages that were written since the last time."""
        async with self._reading:
            info = await self._bucket.create()
            self._offset = server_time(info).timestamp() - monotonic()
            if str(info["created"]) != self._created:
                # Another bucket, which counts anew.
                self._created, self._read = str(info["created"]), 0
                self._digests, self._key = _DigestSet(), ""
                self._taken.clear()
            last: int = info["state"]["last_seq"]
            while self._read < last:
                pages = await self._bucket.following(self._read + 1, _BATCH)
                for page in pages:
                    self._take(page.key, page.value or b"", datetime.fromisoformat(page.time).timestamp())
                self._read = max(self._read, pages[-1].sequence if pages else last)

    def _take(self, key: str, page: bytes, time: float) -> None:
        """Remember what a page holds and did not when it was taken before."""
        begin = self._taken.pop(key, 0)
        self._taken[key] = max(len(page), begin)
        self._digests.add(page, begin, int(time) // _DAY_S)


class _DigestSet:
    """Many digests, in little more memory than they have, for some days.

    They are spread over 4,096 arrays a day, by their first 12 bits.
    """

    def __init__(self) -> None:
        self._days: dict[int, dict[int, bytearray]] = {}

    def add(self, page: bytes, begin: int, day: int) -> None:
        """Add the digests of a page from one on; days that are over are forgotten when a new one begins."""
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
        for arrays in self._days.values():
            # Random bytes do not contain a digest at another place than its own.
            if number in arrays and digest in arrays[number]:
                return True
        return False


def digest_of(id: str) -> bytes:
    """What is stored of an id."""
    return blake2b(id.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
