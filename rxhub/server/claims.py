"""To which user an id belongs, among all servers of a backplane.

Replies go to ids, and ids are no secret: each event names its publisher's. So an id that one user has subscribed is
refused to all others, whichever server they ask.

Theory of operation. A stream beside that of the events holds the latest claim to each id, under a subject of the id's
own. To claim is to store the user's name there, on condition that nothing is there; the stream sees to it that of two
who try at once, one succeeds. If there is a claim already, its user may go on, on any server, and nobody else.

A claim is not taken back when a client leaves: it comes back, and its id is of no use to others. It is forgotten a day
after it was made or renewed; servers renew what is still subscribed.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable
from hashlib import sha256
from math import inf
from time import monotonic
from typing import Any, Final

from rxhub.errors import StreamError
from rxhub.transport.nats.line import Line
from rxhub.transport.nats.storing import stored
from rxhub.transport.nats.streams import NO_MESSAGE

__all__ = ["Claims", "configuration"]

_EXPIRY = 24 * 3_600
_RENEWED_AFTER = 6 * 3_600.0
_AT_ONCE = 64
_NANOSECONDS = 1_000_000_000
_MOST_KNOWN = 200_000

_TAKEN: Final = 10_071
"""JetStream's number for "wrong last sequence": there is a claim already."""


def configuration(stream: str, replicas: int) -> dict[str, Any]:
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
        "max_age": _EXPIRY * _NANOSECONDS,
        "duplicate_window": _NANOSECONDS,
    }


class Claims:
    """The claims of the clients of one server.

    Args:
        stream: of events.
        owner: who holds an id here at present; None if nobody does.
    """

    def __init__(self, stream: str, owner: Callable[[str], str | None]) -> None:
        self._stream = stream
        self._owner = owner
        # Ours, each with the time of its last renewal. An id is held here by one user at a time.
        self._known: dict[tuple[str, str], float] = {}

    async def take(self, line: Line, wanted: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Claim ids.

        Args:
            line: the connection.
            wanted: pairs of an id and the user who wants it.

        Returns:
            Of these, those that belong to another user.

        Raises:
            StreamError: if the stream does not do it.
            HubConnectionError: if there is no answer.
        """
        new = [pair for pair in dict.fromkeys(wanted) if pair not in self._known]
        refused: set[tuple[str, str]] = set()
        for start in range(0, len(new), _AT_ONCE):
            some = new[start : start + _AT_ONCE]
            owners = await asyncio.gather(*[self._claimed(line, id, user) for id, user in some])
            now = monotonic()
            for (id, user), owner in zip(some, owners, strict=True):
                if owner == user:
                    self._known[id, user] = now
                else:
                    refused.add((id, user))
        return refused

    async def renew(self, line: Line) -> None:
        """Renew the claims that are old and still needed, and forget those that are not.

        Raises:
            StreamError: if the stream does not do it.
            HubConnectionError: if there is no answer.
        """
        before = monotonic() - _RENEWED_AFTER
        old: list[tuple[str, str]] = []
        for pair, renewed in list(self._known.items()):
            id, user = pair
            if self._owner(id) == user:
                if renewed < before:
                    old.append(pair)
            elif renewed < before or len(self._known) > _MOST_KNOWN:
                del self._known[pair]
        for start in range(0, len(old), _AT_ONCE):
            some = old[start : start + _AT_ONCE]
            await asyncio.gather(*[self._store(line, id, user) for id, user in some])
            self._known.update(dict.fromkeys(some, monotonic()))

    def doubt(self) -> None:
        """The stream may have lost them: the next `renew` renews all."""
        self._known = dict.fromkeys(self._known, -inf)

    async def _claimed(self, line: Line, id: str, user: str) -> str:
        """Claim an id; the user to whom it belongs then."""
        while True:
            try:
                await self._store(line, id, user, {"Nats-Expected-Last-Subject-Sequence": "0"})
                return user
            except StreamError as error:
                if error.number != _TAKEN:
                    raise
            try:
                found = await line.ask(f"STREAM.MSG.GET.{self._stream}-ids", {"last_by_subj": self._subject(id)})
            except StreamError as error:
                if error.number != NO_MESSAGE:  # it has just expired
                    raise
            else:
                return base64.b64decode(found["message"].get("data", "")).decode()

    async def _store(self, line: Line, id: str, user: str, headers: dict[str, str] | None = None) -> None:
        await stored(line, self._subject(id), user.encode(), headers)

    def _subject(self, id: str) -> str:
        # Ids may be of any length and have anything in them.
        return f"{self._stream}.id.{sha256(id.encode(errors='surrogatepass')).hexdigest()}"
