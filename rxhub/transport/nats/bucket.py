"""Small values by key, kept by JetStream: a key-value bucket, laid out as all NATS clients have them (ADR-8).

Values are read where they were written, from the leader: a copy that is a moment behind would say that a handled event
was not.
"""

from __future__ import annotations

import re
from base64 import b64decode
from hashlib import sha256
from typing import Any

from rxhub.errors import StreamError
from rxhub.transport.nats.link import Link
from rxhub.transport.nats.storing import stored
from rxhub.transport.nats.streams import NO_MESSAGE, NO_STREAM, ensured

__all__ = ["Bucket"]

_NO_RESPONDERS = 503
_NANOSECONDS = 1_000_000_000
_DUPLICATES = 120 * _NANOSECONDS
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")
_DELETED = "KV-Operation"


class Bucket:
    """One bucket; it is made when it is first written to.

    Args:
        link: to the servers.
        name: of the bucket: letters, digits, `-` and `_`.
        description: of it, for people.
        ttl: seconds after which a value is forgotten; 0 is never.
        replicas: on how many servers each is stored; None is as many as there should be of anything.
    """

    def __init__(self, link: Link, name: str, description: str, ttl: float = 0.0, replicas: int | None = None) -> None:
        self._link = link
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._description = description
        self._ttl = ttl
        self._replicas = replicas

    async def get(self, key: str) -> bytes | None:
        """The value of a key; None if it has none.

        Raises:
            StreamError: if JetStream refuses to tell.
            HubConnectionError: if nobody answers.
        """
        try:
            found = await self._link.ask(f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": self._subject(key)})
        except StreamError as error:
            if error.number in (NO_MESSAGE, NO_STREAM):
                return None
            raise
        message: dict[str, Any] = found["message"]
        if _DELETED.encode() in b64decode(message.get("hdrs", "")):
            return None
        return b64decode(message.get("data", ""))

    async def put(self, key: str, value: bytes) -> None:
        """Give a key a value; done when it is stored.

        Raises:
            StreamError: if JetStream refuses it.
            HubConnectionError: if nobody answers.
        """
        try:
            await stored(self._link, self._subject(key), value)
        except StreamError as error:
            if error.code != _NO_RESPONDERS:
                raise
            await self._make()
            await stored(self._link, self._subject(key), value)

    async def delete(self, key: str) -> None:
        """Let a key have no value. Raises what `put` raises."""
        await stored(self._link, self._subject(key), b"", {_DELETED: "PURGE", "Nats-Rollup": "sub"})

    def _subject(self, key: str) -> str:
        plain = key if _PLAIN_KEY.fullmatch(key) else f"sha256={sha256(key.encode(errors='surrogatepass')).hexdigest()}"
        return self._prefix + plain

    async def _make(self) -> None:
        ttl = int(self._ttl * _NANOSECONDS)
        await ensured(
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
