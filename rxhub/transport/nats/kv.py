"""Short texts that are kept beside a stream of events, each under a key; the latest is what counts."""

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
    """The texts beside one stream.

    Args:
        link: to NATS.
        stream: whose.
    """

    def __init__(self, link: ReconnectingClient, stream: str) -> None:
        self._bucket = KvBucket(link, f"{stream}-notes", "What rxhub's programs remember.")
        # What is written later counts, so the first must not overtake it while it waits for the bucket to be made.
        self._order = asyncio.Lock()

    async def put(self, key: str, text: str) -> None:
        """Keep a text.

        Args:
            key: letters, digits, `-` and `_`.
            text: in the place of the one that was there.

        Raises:
            ValueError: if there can be no such key.
            TypeError: if it is no text.
            StreamError: if it is refused.
            HubConnectionError: if there is no answer.
        """
        key = _checked(key)
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"What is kept is a text, but {type(text).__name__} was given.")
        try:
            async with asyncio.timeout(_PUT_TIMEOUT_S), self._order:
                await self._bucket.put(key, text.encode())
        except TimeoutError:
            raise HubConnectionError(f"The note {key} was not acknowledged within {_PUT_TIMEOUT_S:g} s.") from None

    async def get(self, key: str) -> str | None:
        """The text that is kept under a key, if there is one.

        Raises:
            ValueError: if there can be no such key.
            StreamError: if it cannot be read.
            HubConnectionError: if there is no answer.
        """
        text = await self._bucket.get(_checked(key))
        return None if text is None else text.decode()


def _checked(key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"A key is 1 to 100 letters, digits, `-` and `_`, but {key!r} was given.")
    return key
