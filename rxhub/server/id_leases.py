"""To which user an id belongs, among all servers of a backplane.

Replies go to ids, and ids are no secret: each event names its publisher's. So an id that one user has subscribed is
refused to all others, whichever server they ask.

Theory of operation. A stream beside that of the events holds the latest claim to each id, under a subject of the id's
own. To claim is to store the user's name there, on condition that nothing is there; the stream sees to it that of two
who try at once, one succeeds. If there is a claim already, its user may go on, on any server, and nobody else.

A claim outlives its client for a while, since a client comes back, perhaps to another server. The server that stored
the claim last releases it ten to twenty minutes after its last client has left: it deletes the message by its sequence,
which is another one as soon as a second server has renewed the claim. What a server could not release, since it ended,
expires a day after it was made or renewed; servers renew what is still subscribed.

A user holds so many ids at most on one server, so that nobody fills the stream with ids.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from time import monotonic
from typing import Any, Final

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.storing import publish_and_wait
from rxhub.transport.nats.streams import NO_MESSAGE

__all__ = ["IdLeases", "lease_stream"]

_EXPIRY_S = 24 * 3_600
_RENEW_AFTER_S = 6 * 3_600.0
_BATCH_SIZE = 64
_NANOSECONDS = 1_000_000_000
_RELEASE_AFTER_S = 600.0

_WRONG_LAST_SEQUENCE: Final = 10_071
"""JetStream's number for "wrong last sequence": there is a claim already."""

_NO_SUCH_SEQUENCE: Final = (10043, 10057)
"""JetStream's numbers for "sequence not found" and for a message that cannot be deleted, since it is gone."""


def lease_stream(stream: str, replicas: int) -> dict[str, Any]:
    """The configuration of the stream of claims that belongs to a stream of events."""
    return {
        "name": f"{stream}-ids",
        "description": f"To whom ids belong in {stream}.",
        "subjects": [f"{stream}.id.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "max_age": _EXPIRY_S * _NANOSECONDS,
        "duplicate_window": _NANOSECONDS,
    }


_logger = logging.getLogger("rxhub.server")


@dataclass(slots=True)
class _Lease:
    """One of ours.

    Attributes:
        sequence: of its message in the stream.
        renewed: seconds of the monotonic clock when that was stored.
        needed: the same of when a client was last known to need it.
    """

    sequence: int
    renewed: float
    needed: float


class IdLeases:
    """The claims of the clients of one server.

    Args:
        stream: of events.
        owner: who holds an id here at present; None if nobody does.
        limit: how many ids one user may hold on this server, the ids of clients that left lately included.
    """

    def __init__(self, stream: str, owner: Callable[[str], str | None], limit: int) -> None:
        self._stream = stream
        self._owner = owner
        self._limit = limit
        # By id and user. An id is held here by one user at a time.
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many ids are held."""
        return len(self._leases)

    async def acquire(self, line: NatsConnection, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Claim ids.

        Args:
            line: the connection.
            wanted: pairs of an id and the user who wants it.

        Returns:
            Of these, those that were refused, each with the reason.

        Raises:
            StreamError: if the stream does not do it.
            HubConnectionError: if there is no answer.
        """
        refused: dict[tuple[str, str], str] = {}
        new: list[tuple[str, str]] = []
        asked: Counter[str] = Counter()
        for pair in dict.fromkeys(wanted):
            id, user = pair
            if pair in self._leases:
                self._leases[pair].needed = monotonic()
            elif self._held[user] + asked[user] >= self._limit:
                refused[pair] = (
                    f"The id {id[:200]!r} cannot be subscribed: the user {user!r} has used {self._limit} ids on this "
                    "server, the most that Limits.ids_per_user allows. Use fewer ids, or wait: an id is released "
                    "ten to twenty minutes after its last client has left."
                )
            else:
                asked[user] += 1
                new.append(pair)
        for start in range(0, len(new), _BATCH_SIZE):
            some = new[start : start + _BATCH_SIZE]
            found = await asyncio.gather(*[self._acquire(line, id, user) for id, user in some])
            now = monotonic()
            for pair, sequence in zip(some, found, strict=True):
                if sequence is None:
                    refused[pair] = f"The id {pair[0][:200]!r} is subscribed by another user; make one of your own."
                else:
                    self._leases[pair] = _Lease(sequence, now, now)
                    self._held[pair[1]] += 1
        return refused

    async def renew(self, line: NatsConnection) -> None:
        """Renew the claims that are old and still needed, and release those that are not needed any more.

        Raises:
            StreamError: if the stream does not do it.
            HubConnectionError: if there is no answer.
        """
        now = monotonic()
        old: list[tuple[str, str]] = []
        left: list[tuple[str, str]] = []
        for pair, lease in self._leases.items():
            id, user = pair
            if self._owner(id) == user:
                lease.needed = now
                if lease.renewed < now - _RENEW_AFTER_S:
                    old.append(pair)
            elif lease.needed <= now - _RELEASE_AFTER_S:
                left.append(pair)
        for start in range(0, len(old), _BATCH_SIZE):
            some = old[start : start + _BATCH_SIZE]
            sequences = await asyncio.gather(*[self._store(line, id, user) for id, user in some])
            for pair, sequence in zip(some, sequences, strict=True):
                self._leases[pair].sequence, self._leases[pair].renewed = sequence, monotonic()
        for start in range(0, len(left), _BATCH_SIZE):
            if not all(
                await asyncio.gather(*[self._release(line, *pair) for pair in left[start : start + _BATCH_SIZE]])
            ):
                break

    def invalidate(self) -> None:
        """The stream may have lost them: the next `renew` renews all."""
        for lease in self._leases.values():
            lease.renewed = -inf

    async def _acquire(self, line: NatsConnection, id: str, user: str) -> int | None:
        """Claim an id; the sequence of the lease, or None if it is another user's."""
        expected = 0
        while True:
            try:
                return await self._store(line, id, user, {"Nats-Expected-Last-Subject-Sequence": str(expected)})
            except StreamError as error:
                if error.number != _WRONG_LAST_SEQUENCE:
                    raise
            try:
                found = await line.js_request(f"STREAM.MSG.GET.{self._stream}-ids", {"last_by_subj": self._subject(id)})
            except StreamError as error:
                if error.number != NO_MESSAGE:
                    raise
                expected = 0  # it has just expired, or was released
            else:
                message = found["message"]
                if base64.b64decode(message.get("data", "")).decode() != user:
                    return None
                # Renewed, so that the server which stored it does not release it.
                expected = message["seq"]

    async def _release(self, line: NatsConnection, id: str, user: str) -> bool:
        """Give an id back; whether the stream has answered. Without permission to delete, it expires by itself."""
        lease = self._leases.pop((id, user))
        self._held[user] -= 1
        if not self._held[user]:
            del self._held[user]
        try:
            await line.js_request(f"STREAM.MSG.DELETE.{self._stream}-ids", {"seq": lease.sequence, "no_erase": True})
        except StreamError as error:
            # Renewed by another server, or expired: there is nothing to delete.
            return error.number in _NO_SUCH_SEQUENCE
        except HubConnectionError as error:
            _logger.warning(
                "The ids of clients that have left could not be released, and expire within a day: %s", error
            )
            return False
        return True

    async def _store(self, line: NatsConnection, id: str, user: str, headers: dict[str, str] | None = None) -> int:
        return await publish_and_wait(line, self._subject(id), user.encode(), headers)

    def _subject(self, id: str) -> str:
        # Ids may be of any length and have anything in them.
        return f"{self._stream}.id.{sha256(id.encode(errors='surrogatepass')).hexdigest()}"
