"""What a group remembers of its events beyond what the stream does: attempts that were made, and what was handled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from rxhub.transport.nats.kv_bucket import Bucket
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.reconnecting import Link

__all__ = ["Attempts", "Handled", "Tried"]

_DAY = 24 * 3600.0

# Notes that are looked at together.
_BATCH = 256

_MONTH = 30 * _DAY
"""An event may wait that long for its next attempt while no process of the group runs."""

_WEEK = 7 * _DAY
"""The stream itself keeps events from being stored twice for 20 minutes; what comes later was retried or replayed."""


class Tried(NamedTuple):
    """What is known of the attempts at an event.

    Attributes:
        attempts: how many there were.
        delivered: how many deliveries it is known of what came of them.
        reason: how the last attempt ended.
        name: of the event, for people.
    """

    attempts: int = 0
    delivered: int = 0
    reason: str = ""
    name: str = ""


class Attempts:
    """The attempts at events that were not handled at the first.

    How often a message was delivered does not tell it: a process that stops hands back what it has not begun, and one
    that is killed takes along what only waited in it.

    Args:
        link: to the servers.
        stream: of the events.
        name: of the group in NATS.
        replicas: on how many servers it is stored.
    """

    def __init__(self, link: Link, stream: str, name: str, replicas: int) -> None:
        what = f"Attempts of {name} at events of {stream}."
        self._bucket = Bucket(link, f"{stream}-attempts-{name}", what, _MONTH, replicas)

    async def get(self, message: Message) -> Tried:
        """What is known of a message's attempts. Raises what `Bucket.get` raises."""
        value = await self._bucket.get(_key(message))
        if not value:
            return Tried()
        return _tried(value)

    async def put(self, message: Message, tried: Tried) -> None:
        """Note an attempt. Raises what `Bucket.put` raises."""
        await self._bucket.put(_key(message), msgspec.json.encode(tried._asdict()))

    async def take_lost(self, since: int, until: int) -> list[tuple[str, str]]:
        """Forget messages that are in the stream no more; the name of each, and how its last attempt ended.

        Args:
            since: the first sequence to look for.
            until: the first sequence that the stream has.

        Raises what `Bucket.get` raises.
        """
        found = await self._bucket.keys()
        gone = [key for key in found if since <= int(key.partition("-")[0]) < until]
        lost: list[tuple[str, str]] = []
        for begin in range(0, len(gone), _BATCH):
            for key in sorted(await self._bucket.known(gone[begin : begin + _BATCH])):
                value = await self._bucket.get(key)
                if value:
                    await self._bucket.delete(key)
                    tried = _tried(value)
                    lost.append((tried.name or f"the message {key.partition('-')[0]}", tried.reason))
        return lost

    async def forget(self, message: Message) -> None:
        """The message is done with. Raises what `Bucket.put` raises."""
        await self._bucket.delete(_key(message))


class Handled:
    """The ids of events that the group has handled, for a week.

    Args:
        link: to the servers.
        stream: of the events.
        name: of the group in NATS.
        replicas: on how many servers it is stored.
    """

    def __init__(self, link: Link, stream: str, name: str, replicas: int) -> None:
        what = f"Ids of events of {stream} that {name} has handled."
        self._bucket = Bucket(link, f"{stream}-handled-{name}", what, _WEEK, replicas)

    async def has(self, id: str) -> bool:
        """Whether an event was handled. Raises what `Bucket.get` raises."""
        return await self._bucket.get(id) is not None

    async def make(self) -> None:
        """Have a place for them. Raises what `Bucket.make` raises."""
        await self._bucket.make()

    async def known(self, ids: Iterable[str]) -> set[str]:
        """Those of them that were handled, by one question.

        In a cluster a copy may answer that is a moment behind. So it is for events that come for the first time: of
        those, the stream itself holds no second copy that is younger than its duplicate window.
        """
        return await self._bucket.known(ids)

    async def mark_all(self, ids: Iterable[str]) -> set[str]:
        """Note that they were, without waiting in between; those that could not be. Raises what `Bucket.put` raises."""
        return await self._bucket.put_all(ids, b"1")

    async def mark(self, id: str) -> None:
        """Note that it was. Raises what `Bucket.put` raises."""
        await self._bucket.put(id, b"1")


def _tried(value: bytes) -> Tried:
    told: dict[str, Any] = msgspec.json.decode(value)
    return Tried(told["attempts"], told["delivered"], told["reason"], told.get("name", ""))


def _key(message: Message) -> str:
    # A stream that was deleted and made again counts from 1 again.
    return f"{message.sequence}-{message.nanoseconds}"
