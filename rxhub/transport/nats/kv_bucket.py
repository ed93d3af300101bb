"""Small values by key, kept by JetStream: a key-value bucket, laid out as all NATS clients have them (ADR-8).

Values are read where they were written, from the leader: a copy that is a moment behind would say that a handled event
was not.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from collections.abc import Iterable
from hashlib import sha256
from time import monotonic
from typing import Any

from rxhub.errors import StreamError
from rxhub.transport.nats.reconnecting import Link
from rxhub.transport.nats.storing import asked_many, stored, stored_all
from rxhub.transport.nats.streams import NO_MESSAGE, NO_STREAM, ensured

__all__ = ["Bucket"]

_NO_RESPONDERS = 503
_NANOSECONDS = 1_000_000_000
_PATIENCE = 5.0
# Seconds until many are asked for at once again, where nobody answered that.
_ONE_BY_ONE_S = 60.0
_DUPLICATES = 120 * _NANOSECONDS
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")
_DELETED = "KV-Operation"


class Bucket:
    """One bucket; it is made when it is first written to, or by `make`.

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
        self._one_by_one_until = 0.0
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
            await self.make()
            await stored(self._link, self._subject(key), value)

    async def known(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that have a value, by one question (ADR-31), which any copy may answer.

        Raises:
            StreamError: if JetStream refuses to tell.
            HubConnectionError: if nobody answers.
        """
        by_subject = {self._subject(key): key for key in keys}
        answers = None
        if monotonic() > self._one_by_one_until:
            line = await self._link.ready(_PATIENCE)
            question = {"multi_last": list(by_subject), "batch": len(by_subject)}
            answers = await asked_many(line, f"$JS.API.DIRECT.GET.{self._stream}", question)
        if answers is None:
            # The bucket was deleted, or the server is older than 2.11.
            self._one_by_one_until = max(self._one_by_one_until, monotonic() + _ONE_BY_ONE_S)
            found = await asyncio.gather(*map(self.get, by_subject.values()))
            return {key for key, value in zip(by_subject.values(), found, strict=True) if value is not None}
        return {by_subject[subject] for subject, headers in answers.items() if _DELETED not in headers}

    async def keys(self) -> list[str]:
        """The keys that have a value or had one lately, as they are stored; 100,000 at most.

        Raises:
            StreamError: if JetStream refuses to tell.
            HubConnectionError: if nobody answers.
        """
        try:
            info = await self._link.ask(f"STREAM.INFO.{self._stream}", {"subjects_filter": f"{self._prefix}>"})
        except StreamError as error:
            if error.number == NO_STREAM:
                return []
            raise
        subjects: dict[str, int] = info["state"].get("subjects") or {}
        return [subject.removeprefix(self._prefix) for subject in subjects]

    async def put_all(self, keys: Iterable[str], value: bytes) -> set[str]:
        """Give many keys one value; those for which that was not confirmed.

        Raises:
            StreamError: if JetStream refuses it.
            HubConnectionError: if nobody answers.
        """
        by_subject = {self._subject(key): key for key in keys}
        try:
            missing = await stored_all(self._link, by_subject, value)
        except StreamError as error:
            if error.code != _NO_RESPONDERS:
                raise
            await self.make()
            missing = await stored_all(self._link, by_subject, value)
        return {by_subject[subject] for subject in missing}

    async def delete(self, key: str) -> None:
        """Let a key have no value. Raises what `put` raises."""
        await stored(self._link, self._subject(key), b"", {_DELETED: "PURGE", "Nats-Rollup": "sub"})

    def _subject(self, key: str) -> str:
        plain = key if _PLAIN_KEY.fullmatch(key) else f"sha256={sha256(key.encode(errors='surrogatepass')).hexdigest()}"
        return self._prefix + plain

    async def make(self) -> None:
        """Make the bucket, if it is not there.

        Raises:
            StreamError: if JetStream refuses it.
            HubConnectionError: if nobody answers.
        """
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
