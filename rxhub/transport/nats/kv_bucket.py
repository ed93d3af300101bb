"""Small values by key, in a key-value bucket of JetStream, laid out as in all NATS clients (ADR-8).

Values are read from the leader: a replica that lags behind would say that a handled event was not handled. So nats-py's
`KeyValue`, which reads from any replica, is not used.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from time import monotonic
from typing import Any, NamedTuple

import msgspec
import nats.errors

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.direct_client import parse_headers
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import NO_MESSAGE, NO_STREAM, ensure_stream

__all__ = ["KvBucket", "KvEntry", "KvTexts"]

_NO_RESPONDERS = 503
_NANOSECONDS = 1_000_000_000
_TIMEOUT_S = 5.0
# Seconds until a batch is requested again from a server that did not answer the last one.
_BATCH_RETRY_AFTER_S = 60.0
_DUPLICATES = 120 * _NANOSECONDS
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")
_TEXT_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_DELETED = "KV-Operation"


class KvEntry(NamedTuple):
    """A stored value."""

    key: str
    value: bytes | None  # None if it was deleted
    sequence: int  # in the bucket's stream; every write has a later one
    time: str  # when it was stored, as the server writes it


class KvBucket:
    """One bucket, which is created when it is first written to, or by `create`. A value expires after `ttl` seconds.

    All methods raise StreamError if JetStream refuses a request, and HubConnectionError if the server does not answer.
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
        """Store a value under a key; returns its sequence."""
        try:
            return await self._link.publish_and_wait(self._subject(key), value)
        except StreamError as error:
            if error.code != _NO_RESPONDERS:
                raise
            await self.create()
            return await self._link.publish_and_wait(self._subject(key), value)

    async def delete(self, key: str) -> None:
        await self._link.publish_and_wait(self._subject(key), b"", {_DELETED: "PURGE", "Nats-Rollup": "sub"})

    async def entries(self, keys: Iterable[str]) -> list[KvEntry]:
        """The latest entries of those keys that have one, by one request, which any replica may answer."""
        subjects = list(map(self._subject, keys))
        found = await self._batch({"multi_last": subjects, "batch": len(subjects)})
        if found is None:
            each = await asyncio.gather(*[self._message({"last_by_subj": subject}) for subject in subjects])
            found = [entry for entry in each if entry is not None]
        return found

    async def following(self, sequence: int, most: int) -> list[KvEntry]:
        """Up to `most` entries from a sequence on, in order; none if the leader has none at present."""
        question = {"seq": sequence, "next_by_subj": f"{self._prefix}>"}
        found = await self._batch({**question, "batch": most})
        if not found:
            # The replica that has answered may be behind.
            first = await self._message(question)
            found = [] if first is None else [first]
        return found

    async def keys(self) -> list[str]:
        """The keys that have or recently had a value, as they are stored; 100,000 at most."""
        try:
            info = await self._link.js_request(f"STREAM.INFO.{self._stream}", {"subjects_filter": f"{self._prefix}>"})
        except StreamError as error:
            if error.number == NO_STREAM:
                return []
            raise
        subjects: dict[str, int] = info["state"].get("subjects") or {}
        return [subject.removeprefix(self._prefix) for subject in subjects]

    async def create(self) -> dict[str, Any]:
        """Create the bucket if it does not exist; returns the leader's information about its stream."""
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

    def _subject(self, key: str) -> str:
        plain = key if _PLAIN_KEY.fullmatch(key) else f"sha256={sha256(key.encode(errors='surrogatepass')).hexdigest()}"
        return self._prefix + plain

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

    async def _batch(self, question: Mapping[str, Any]) -> list[KvEntry] | None:
        """Many entries by one request (ADR-31), from any replica; None if no server answers such requests."""
        if monotonic() < self._one_by_one_until:
            return None
        entries: list[KvEntry] = []
        status: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def take(_subject: str, _reply: str, data: bytes, raw: bytes) -> None:
            headers: Mapping[str, str] = parse_headers(raw) if raw else {}
            if "Nats-Subject" in headers:
                sequence, time = int(headers["Nats-Sequence"]), headers["Nats-Time-Stamp"]
                entries.append(self._entry(headers["Nats-Subject"], _DELETED in headers, data, sequence, time))
            elif not status.done():
                status.set_result(headers.get("Status", ""))

        line = await self._link.ready(_TIMEOUT_S)
        inbox, subject = line.inbox(), f"$JS.API.DIRECT.GET.{self._stream}"
        end = await line.subscribe(inbox, take)
        code = ""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await line.client.publish(subject, msgspec.json.encode(question), reply=inbox)
                code = await status
        except (nats.errors.Error, OSError, TimeoutError) as error:
            if line.is_closed:
                raise HubConnectionError(f"The connection ended before {subject} was answered.") from error
        finally:
            await end()
        # 204 ends the batch; 404 means that nothing matched.
        if code in ("204", "404"):
            return entries
        # The bucket was deleted, or the server is older than 2.11.
        self._one_by_one_until = monotonic() + _BATCH_RETRY_AFTER_S
        return None

    def _entry(self, subject: str, is_deleted: bool, data: bytes, sequence: int, time: str) -> KvEntry:
        return KvEntry(subject.removeprefix(self._prefix), None if is_deleted else data, sequence, time)


class KvTexts:
    """Short strings by key, stored next to a stream of events."""

    def __init__(self, link: ReconnectingClient, stream: str) -> None:
        self._bucket = KvBucket(link, f"{stream}-notes", "What rxhub's programs remember.")
        # Writes are serialized, since the first one may wait for the creation of the bucket.
        self._order = asyncio.Lock()

    async def put(self, key: str, text: str) -> None:
        """Store a string; raises ValueError if the key is invalid, TypeError if `text` is not a string."""
        key = _checked(key)
        if not isinstance(text, str):
            raise TypeError(f"Only strings can be stored, not {type(text).__name__}.")
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._order:
                await self._bucket.put(key, text.encode())
        except TimeoutError:
            raise HubConnectionError(f"The note {key} was not acknowledged within {_TIMEOUT_S:g} s.") from None

    async def get(self, key: str) -> str | None:
        """The string stored under a key, or None; raises ValueError if the key is invalid."""
        text = await self._bucket.get(_checked(key))
        return None if text is None else text.decode()


def _checked(key: str) -> str:
    if _TEXT_KEY.fullmatch(key) is None:
        raise ValueError(f"A key is 1 to 100 letters, digits, `-` and `_`, but {key!r} was given.")
    return key
