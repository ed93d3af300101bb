"""What a group remembers of its events beyond what the stream does: attempts that were made, and what was handled."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from rxhub.transport.nats.bucket import Bucket
from rxhub.transport.nats.link import Link
from rxhub.transport.nats.pulling import Message

__all__ = ["Attempts", "Handled", "Tried"]

_DAY = 24 * 3600.0

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
    """

    attempts: int = 0
    delivered: int = 0
    reason: str = ""


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
        told: dict[str, Any] = msgspec.json.decode(value)
        return Tried(told["attempts"], told["delivered"], told["reason"])

    async def put(self, message: Message, tried: Tried) -> None:
        """Note an attempt. Raises what `Bucket.put` raises."""
        await self._bucket.put(_key(message), msgspec.json.encode(tried._asdict()))

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

    async def mark(self, id: str) -> None:
        """Note that it was. Raises what `Bucket.put` raises."""
        await self._bucket.put(id, b"1")


def _key(message: Message) -> str:
    # A stream that was deleted and made again counts from 1 again.
    return f"{message.sequence}-{message.nanoseconds}"
