"""Assigns the ids of subscribers to users, across all servers of a backplane.

Replies are addressed to ids, and every event contains its publisher's id. So an id that one user has subscribed is
rejected for all other users, on every server.

A second stream holds the latest lease of each id, under a subject of its own. A server acquires a lease by storing the
user's name on the condition that the subject is empty, or has a lease of the same user. A lease outlives its client,
because clients reconnect, possibly to another server. The server that stored it last releases it 10 to 20 minutes after
the last client has disconnected: it deletes the message by its sequence, which changes when another server renews the
lease. Servers renew the leases of subscribed ids. Those of a server that stopped expire a day after the last renewal.
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
from rxhub.transport.nats.streams import NO_MESSAGE

__all__ = ["IdLeases", "lease_stream"]

_EXPIRY_S = 24 * 3_600
_RENEW_AFTER_S = 6 * 3_600.0
_BATCH_SIZE = 64
_NANOSECONDS = 1_000_000_000
_RELEASE_AFTER_S = 600.0

_WRONG_LAST_SEQUENCE: Final = 10_071
"""JetStream's error code for "wrong last sequence": there already is a lease."""

_NO_SUCH_SEQUENCE: Final = (10043, 10057)
"""JetStream's error codes for "sequence not found" and for deleting a message that does not exist."""


def lease_stream(stream: str, replicas: int) -> dict[str, Any]:
    """The configuration of the stream of leases for a stream of events."""
    return {
        "name": f"{stream}-ids",
        "description": f"The users of the ids in {stream}.",
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
    """A lease of this server. Times are monotonic, in seconds."""

    sequence: int
    """Of its message in the stream."""
    renewed: float
    """When the message was stored."""
    needed: float
    """When the id was last seen in use."""


class IdLeases:
    """The leases of one server.

    Args:
        stream: of events.
        owner: returns the user who has subscribed with an id on this server, or None.
        limit: maximum number of ids of one user on this server, including those of recently disconnected clients.
    """

    def __init__(self, stream: str, owner: Callable[[str], str | None], limit: int) -> None:
        self._stream = stream
        self._owner = owner
        self._limit = limit
        # By id and user.
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._leases)

    async def acquire(self, line: NatsConnection, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Acquire leases for pairs of an id and a user. Returns the rejected pairs, with the reasons.

        Raises:
            StreamError: if NATS rejects a request.
            HubConnectionError: if NATS does not answer.
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
                    f"The id {id[:200]!r} cannot be subscribed: the user {user!r} already uses {self._limit} ids on "
                    "this server, the maximum of Limits.ids_per_user. Use fewer ids, or wait: an id is released 10 to "
                    "20 minutes after its last client has disconnected."
                )
            else:
                asked[user] += 1
                new.append(pair)
        for some in _batches(new):
            found = await asyncio.gather(*[self._acquire(line, id, user) for id, user in some])
            now = monotonic()
            for pair, sequence in zip(some, found, strict=True):
                if sequence is None:
                    refused[pair] = f"The id {pair[0][:200]!r} is subscribed by another user. Use a different id."
                else:
                    self._leases[pair] = _Lease(sequence, now, now)
                    self._held[pair[1]] += 1
        return refused

    async def renew(self, line: NatsConnection) -> None:
        """Renew old leases that are in use, and release unused ones. Raises the errors of `acquire`."""
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
        for some in _batches(old):
            sequences = await asyncio.gather(*[self._store(line, id, user) for id, user in some])
            for pair, sequence in zip(some, sequences, strict=True):
                self._leases[pair].sequence, self._leases[pair].renewed = sequence, monotonic()
        for some in _batches(left):
            if not all(await asyncio.gather(*[self._release(line, *pair) for pair in some])):
                break

    def invalidate(self) -> None:
        """Make the next `renew` renew all leases, because the stream may have lost them."""
        for lease in self._leases.values():
            lease.renewed = -inf

    async def _acquire(self, line: NatsConnection, id: str, user: str) -> int | None:
        """Acquire one lease. Returns its sequence, or None if another user has the id."""
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
                expected = 0  # the lease has expired or was released
            else:
                message = found["message"]
                if base64.b64decode(message.get("data", "")).decode() != user:
                    return None
                # Renew it, so that the server that stored it does not release it.
                expected = message["seq"]

    async def _release(self, line: NatsConnection, id: str, user: str) -> bool:
        """Release a lease. False if NATS does not answer. Without permission to delete, the lease expires."""
        lease = self._leases.pop((id, user))
        self._held[user] -= 1
        if not self._held[user]:
            del self._held[user]
        try:
            await line.js_request(f"STREAM.MSG.DELETE.{self._stream}-ids", {"seq": lease.sequence, "no_erase": True})
        except StreamError as error:
            # Another server has renewed it, or it has expired.
            return error.number in _NO_SUCH_SEQUENCE
        except HubConnectionError as error:
            _logger.warning("Could not release the ids of disconnected clients; they expire within a day: %s", error)
            return False
        return True

    async def _store(self, line: NatsConnection, id: str, user: str, headers: dict[str, str] | None = None) -> int:
        return await line.publish_and_wait(self._subject(id), user.encode(), headers)

    def _subject(self, id: str) -> str:
        # Ids may have any length and contain any character.
        return f"{self._stream}.id.{sha256(id.encode(errors='surrogatepass')).hexdigest()}"


def _batches(pairs: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    return [pairs[start : start + _BATCH_SIZE] for start in range(0, len(pairs), _BATCH_SIZE)]
