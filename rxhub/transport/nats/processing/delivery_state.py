"""The attempts that a group has made at events that were not handled at the first."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from rxhub.transport.nats.kv_bucket import KvBucket
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.reconnecting import ReconnectingClient

__all__ = ["AttemptEntry", "AttemptRecord", "AttemptStore"]

_DAY = 24 * 3600.0

# Notes that are looked at together.
_BATCH = 256

_MONTH = 30 * _DAY
"""An event may wait that long for its next attempt while no process of the group runs."""


class AttemptRecord(NamedTuple):
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


class AttemptEntry(NamedTuple):
    """What is noted of a message.

    Attributes:
        key: which message.
        sequence: of the message in its stream.
        revision: another one whenever the note is put.
        tried: what is noted.
    """

    key: str
    sequence: int
    revision: int
    tried: AttemptRecord


class AttemptStore:
    """The attempts at events that were not handled at the first.

    How often a message was delivered does not tell it: a process that stops hands back what it has not begun, and one
    that is killed takes along what only waited in it.

    Args:
        link: to the servers.
        stream: of the events.
        name: of the group in NATS.
        replicas: on how many servers it is stored.
    """

    def __init__(self, link: ReconnectingClient, stream: str, name: str, replicas: int) -> None:
        what = f"Attempts of {name} at events of {stream}."
        self._bucket = KvBucket(link, f"{stream}-attempts-{name}", what, _MONTH, replicas)

    async def get(self, message: Message) -> AttemptRecord:
        """What is known of a message's attempts. Raises what `Bucket.get` raises."""
        value = await self._bucket.get(_key(message))
        if not value:
            return AttemptRecord()
        return _tried(value)

    async def put(self, message: Message, tried: AttemptRecord) -> None:
        """Note an attempt. Raises what `Bucket.put` raises."""
        await self._bucket.put(_key(message), msgspec.json.encode(tried._asdict()))

    async def before(self, first: int) -> list[AttemptEntry]:
        """The notes of messages before a sequence of the stream. Raises what `Bucket.entries` raises."""
        keys = [key for key in await self._bucket.keys() if _sequence(key) < first]
        notes: list[AttemptEntry] = []
        for begin in range(0, len(keys), _BATCH):
            entries = await self._bucket.entries(keys[begin : begin + _BATCH])
            notes += [
                AttemptEntry(each.key, _sequence(each.key), each.sequence, _tried(each.value))
                for each in entries
                if each.value
            ]
        return sorted(notes)

    async def renew(self, note: AttemptEntry) -> None:
        """Show other processes that the message is in our hands. Raises what `Bucket.put` raises."""
        await self._bucket.put(note.key, msgspec.json.encode(note.tried._asdict()))

    async def drop(self, note: AttemptEntry) -> None:
        """The message is lost. Raises what `KvBucket.put` raises."""
        await self._bucket.delete(note.key)

    async def forget(self, message: Message) -> None:
        """The message is done with. Raises what `Bucket.put` raises."""
        await self._bucket.delete(_key(message))


def _tried(value: bytes) -> AttemptRecord:
    told: dict[str, Any] = msgspec.json.decode(value)
    return AttemptRecord(told["attempts"], told["delivered"], told["reason"], told.get("name", ""))


def _key(message: Message) -> str:
    # A stream that was deleted and made again counts from 1 again.
    return f"{message.sequence}-{message.nanoseconds}"


def _sequence(key: str) -> int:
    return int(key.partition("-")[0])
