"""Short texts that are kept beside a stream of events, each under a key; the latest is what counts.

They are messages of a stream of their own that holds one message a subject.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from typing import Any

import msgspec
import nats.errors

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.link import Link
from rxhub.transport.nats.streams import configuration, ensured

__all__ = ["Notes"]

_NO_MESSAGE = 10037
_NO_STREAM = 10059
_PATIENCE = 5.0
_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Notes:
    """The texts beside one stream.

    Args:
        link: to NATS.
        stream: whose.
    """

    def __init__(self, link: Link, stream: str) -> None:
        self._link = link
        self._name = f"{stream}-notes"
        self._prefix = f"{stream}.note."
        self._is_there = False
        # What is written later counts, so the first must not overtake it while it waits for the stream to be made.
        self._order = asyncio.Lock()

    async def write(self, key: str, text: str, timeout: float = _PATIENCE) -> None:
        """Keep a text.

        Args:
            key: letters, digits, `-` and `_`.
            text: in the place of the one that was there.
            timeout: seconds.

        Raises:
            ValueError: if there can be no such key.
            StreamError: if it is refused.
            HubConnectionError: if there is no answer.
        """
        try:
            async with asyncio.timeout(timeout), self._order:
                await self._write(self._subject(key), text.encode())
        except (nats.errors.Error, OSError) as error:
            # The stream may have been deleted.
            self._is_there = False
            raise HubConnectionError(f"A note was not acknowledged: {error or type(error).__name__}.") from error

    async def read(self, key: str) -> str | None:
        """The text that is kept under a key, if there is one.

        Raises:
            StreamError: if it cannot be read.
            HubConnectionError: if there is no answer.
        """
        try:
            found = await self._link.ask(f"STREAM.MSG.GET.{self._name}", {"last_by_subj": self._subject(key)})
        except StreamError as error:
            if error.number in (_NO_MESSAGE, _NO_STREAM):
                return None
            raise
        return b64decode(found["message"].get("data", "")).decode()

    def _subject(self, key: str) -> str:
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"A key is 1 to 100 letters, digits, `-` and `_`, but {key!r} was given.")
        return self._prefix + key

    async def _write(self, subject: str, payload: bytes) -> None:
        if not self._is_there:
            wanted = configuration(self._name, replicas=self._link.replicas) | {
                "description": "What rxhub's programs remember.",
                "subjects": [f"{self._prefix}>"],
                "max_msgs_per_subject": 1,
                "discard": "old",
            }
            await ensured(self._link, wanted)
            self._is_there = True
        line = await self._link.ready()
        answer = await line.client.request(subject, payload, timeout=_PATIENCE)
        told: dict[str, Any] = msgspec.json.decode(answer.data)
        if refusal := told.get("error"):
            raise StreamError(refusal.get("code", 0), refusal.get("err_code", 0), str(refusal.get("description")))
