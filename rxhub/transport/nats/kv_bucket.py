"""Small values by key, kept by JetStream: a key-value bucket, laid out as all NATS clients have them (ADR-8).

Values are read where they were written, from the leader: a copy that is a moment behind would say that a handled event
was not.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from time import monotonic
from typing import Any, NamedTuple

from rxhub.errors import StreamError
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.storing import get_last_many, publish_and_wait
from rxhub.transport.nats.streams import NO_MESSAGE, NO_STREAM, ensure_stream

__all__ = ["KvBucket", "KvEntry"]

_NO_RESPONDERS = 503
_NANOSECONDS = 1_000_000_000
_PATIENCE = 5.0
# Seconds until many are asked for at once again, where nobody answered that.
_BATCH_RETRY_AFTER_S = 60.0
_DUPLICATES = 120 * _NANOSECONDS
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")
_DELETED = "KV-Operation"


class KvEntry(NamedTuple):
    """A value as it is publish_and_wait.

    Attributes:
        key: as it is publish_and_wait.
        value: None if it was deleted.
        sequence: its read_position in the bucket's stream; every write has a later one.
        time: when it was publish_and_wait, as the server writes it.
    """

    key: str
    value: bytes | None
    sequence: int
    time: str


class KvBucket:
    """One bucket; it is made when it is first written to, or by `make`.

    Args:
        ttl: seconds after which a value is forgotten; 0 is never.
    """

    def __init__(
        self, link: ReconnectingClient, name: str, description: str, ttl: float = 0.0, replicas: int | None = None
    ) -> None:
        self._link = link
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._description = description
        self._ttl = ttl
        self._one_by_one_until = 0.0
        self._replicas = replicas

    async def get(self, key: str) -> bytes | None:
        """The value of a key; None if it has none."""
        found = await self._message({"last_by_subj": self._subject(key)})
        return None if found is None else found.value

    async def put(self, key: str, value: bytes) -> int:
        """Give a key a value; its sequence when it is stored."""
        try:
            return await publish_and_wait(self._link, self._subject(key), value)
        except StreamError as error:
            if error.code != _NO_RESPONDERS:
                raise
            await self.create()
            return await publish_and_wait(self._link, self._subject(key), value)

    async def entries(self, keys: Iterable[str]) -> list[KvEntry]:
        """The latest entries of keys, where they have one, by one request, which any copy may answer."""
        subjects = list(map(self._subject, keys))
        found = await self._messages({"multi_last": subjects, "batch": len(subjects)})
        if found is None:
            each = await asyncio.gather(*[self._message({"last_by_subj": subject}) for subject in subjects])
            found = [entry for entry in each if entry is not None]
        return found

    async def following(self, sequence: int, most: int) -> list[KvEntry]:
        """Entries from a sequence on, in order; none if there is none by then, as the leader knows it."""
        question = {"seq": sequence, "next_by_subj": f"{self._prefix}>"}
        found = await self._messages({**question, "batch": most})
        if not found:
            # The copy that has answered may be behind.
            first = await self._message(question)
            found = [] if first is None else [first]
        return found

    async def keys(self) -> list[str]:
        """The keys that have a value or had one lately, as they are stored; 100,000 at most."""
        try:
            info = await self._link.js_request(f"STREAM.INFO.{self._stream}", {"subjects_filter": f"{self._prefix}>"})
        except StreamError as error:
            if error.number == NO_STREAM:
                return []
            raise
        subjects: dict[str, int] = info["state"].get("subjects") or {}
        return [subject.removeprefix(self._prefix) for subject in subjects]

    async def delete(self, key: str) -> None:
        """Let a key have no value. Raises what `put` raises."""
        await publish_and_wait(self._link, self._subject(key), b"", {_DELETED: "PURGE", "Nats-Rollup": "sub"})

    def _subject(self, key: str) -> str:
        plain = key if _PLAIN_KEY.fullmatch(key) else f"sha256={sha256(key.encode(errors='surrogatepass')).hexdigest()}"
        return self._prefix + plain

    async def create(self) -> dict[str, Any]:
        """Make the bucket, if it is not there; the leader's information about its stream."""
        ttl = int(self._ttl * _NANOSECONDS)
        return await ensure_stream(
            self._link,
            {
                "name": self._stream,
                "description": self._description,
                "subjects": [f"{self._prefix}>"],
                "max_msgs_per_subject": 1,
                "max_age": ttl,
                "storage": "file",
                "discard": "new",
                "num_replicas": self._replicas or self._link.replicas,
                "duplicate_window": min(ttl or _DUPLICATES, _DUPLICATES),
                "allow_rollup_hdrs": True,
                "deny_delete": True,
                "allow_direct": True,
            },
        )

    async def _message(self, question: dict[str, Any]) -> KvEntry | None:
        """One entry, from the leader; None if there is none."""
        try:
            found = await self._link.js_request(f"STREAM.MSG.GET.{self._stream}", question)
        except StreamError as error:
            if error.number in (NO_MESSAGE, NO_STREAM):
                return None
            raise
        message: dict[str, Any] = found["message"]
        headers, data = b64decode(message.get("hdrs", "")), b64decode(message.get("data", ""))
        return self._entry(message["subject"], _DELETED.encode() in headers, data, message["seq"], message["time"])

    async def _messages(self, question: Mapping[str, Any]) -> list[KvEntry] | None:
        """Many entries by one request (ADR-31), from any copy; None if nobody answers such requests."""
        if monotonic() < self._one_by_one_until:
            return None
        line = await self._link.ready(_PATIENCE)
        answers = await get_last_many(line, f"$JS.API.DIRECT.GET.{self._stream}", question)
        if answers is None:
            # The bucket was deleted, or the server is older than 2.11.
            self._one_by_one_until = monotonic() + _BATCH_RETRY_AFTER_S
            return None
        return [
            self._entry(
                headers["Nats-Subject"],
                _DELETED in headers,
                data,
                int(headers["Nats-Sequence"]),
                headers["Nats-Time-Stamp"],
            )
            for headers, data in answers
        ]

    def _entry(self, subject: str, is_deleted: bool, data: bytes, sequence: int, time: str) -> KvEntry:
        return KvEntry(subject.removeprefix(self._prefix), None if is_deleted else data, sequence, time)
