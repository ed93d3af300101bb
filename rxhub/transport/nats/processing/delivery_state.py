"""The recorded attempts of a group, in a key-value bucket."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from rxhub.transport.nats.kv_bucket import KvBucket
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.pull_consumer import Message

__all__ = ["AttemptEntry", "AttemptRecord", "AttemptStore"]

_BATCH = 256
# An event may wait this long for its next attempt while no process of the group runs.
_MAX_AGE_S = 30 * 24 * 3600.0


class AttemptRecord(msgspec.Struct, frozen=True):
    """The attempts at one event."""

    attempts: int = 0
    delivered: int = 0  # the number of deliveries whose result is known
    reason: str = ""  # how the last attempt ended
    name: str = ""  # of the event, for log messages


class AttemptEntry(NamedTuple):
    """A stored record, by the sequence of its message and its key in the bucket."""

    sequence: int
    key: str
    revision: int  # changes with every write
    record: AttemptRecord


class AttemptStore:
    """The attempts at events that were not handled at the first.

    The delivery count of JetStream is not the number of attempts. A process that stops returns messages that it has not
    started, and a killed process loses messages that only waited.

    All methods raise HubConnectionError if the server does not answer, and StreamError if it refuses.
    """

    def __init__(self, group: Group) -> None:
        description = f"Attempts of {group.consumer} at events of {group.stream}."
        name = f"{group.stream}-attempts-{group.consumer}"
        self._bucket = KvBucket(group.link, name, description, _MAX_AGE_S, group.replicas)

    async def get(self, message: Message) -> AttemptRecord:
        """The record of a message; an empty one if there is none."""
        value = await self._bucket.get(_key(message))
        return _decode(value) if value else AttemptRecord()

    async def put(self, message: Message, record: AttemptRecord) -> None:
        await self._bucket.put(_key(message), msgspec.json.encode(record))

    async def delete(self, message: Message) -> None:
        await self._bucket.delete(_key(message))

    async def before(self, sequence: int) -> list[AttemptEntry]:
        """The records of messages before a sequence of the stream, oldest first."""
        keys = [key for key in await self._bucket.keys() if _sequence(key) < sequence]
        found: list[AttemptEntry] = []
        for begin in range(0, len(keys), _BATCH):
            found += [
                AttemptEntry(_sequence(entry.key), entry.key, entry.sequence, _decode(entry.value))
                for entry in await self._bucket.entries(keys[begin : begin + _BATCH])
                if entry.value
            ]
        return sorted(found, key=lambda entry: entry.sequence)

    async def renew(self, entry: AttemptEntry) -> None:
        """Write a record again: its new revision shows other processes that this one holds the message."""
        await self._bucket.put(entry.key, msgspec.json.encode(entry.record))

    async def delete_entry(self, entry: AttemptEntry) -> None:
        await self._bucket.delete(entry.key)


def _decode(value: bytes) -> AttemptRecord:
    return msgspec.json.decode(value, type=AttemptRecord)


def _key(message: Message) -> str:
    # With the time, because a stream that was deleted and recreated uses the same sequences again.
    return f"{message.sequence}-{message.nanoseconds}"


def _sequence(key: str) -> int:
    return int(key.partition("-")[0])
