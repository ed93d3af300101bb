"""Short strings by key, stored next to a stream of events."""

from __future__ import annotations

import asyncio
import re

from rxhub.errors import HubConnectionError
from rxhub.transport.nats.kv_bucket import KvBucket
from rxhub.transport.nats.reconnecting import ReconnectingClient

__all__ = ["KvTexts"]

_PUT_TIMEOUT_S = 5.0
_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")


class KvTexts:
    """The strings of one stream."""

    def __init__(self, link: ReconnectingClient, stream: str) -> None:
        self._bucket = KvBucket(link, f"{stream}-notes", "What rxhub's programs remember.")
        # Writes are serialized, since the first one may wait for the creation of the bucket.
        self._order = asyncio.Lock()

    async def put(self, key: str, text: str) -> None:
        """Store a string, and replace the previous one.

        Raises ValueError if the key is invalid, TypeError if `text` is not a string.
        """
        key = _checked(key)
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Only strings can be stored, not {type(text).__name__}.")
        try:
            async with asyncio.timeout(_PUT_TIMEOUT_S), self._order:
                await self._bucket.put(key, text.encode())
        except TimeoutError:
            raise HubConnectionError(f"The note {key} was not acknowledged within {_PUT_TIMEOUT_S:g} s.") from None

    async def get(self, key: str) -> str | None:
        """The string stored under a key, or None."""
        text = await self._bucket.get(_checked(key))
        return None if text is None else text.decode()


def _checked(key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"A key is 1 to 100 letters, digits, `-` and `_`, but {key!r} was given.")
    return key
