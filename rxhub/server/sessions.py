"""Session ids, which connect a handshake with its WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe
from time import monotonic
from typing import Generic, TypeVar

from rxhub.concurrency.bounded_dict import BoundedDict

__all__ = ["Sessions"]

U = TypeVar("U")


class Sessions(Generic[U]):
    """Handshakes that were not yet followed by a WebSocket.

    ftrack's Python client sends no key with its WebSocket. The session id alone authenticates it as the user of the
    handshake, so it has 256 random bits, and is valid for one WebSocket and some seconds.

    Args:
        expiry: seconds for which an id is valid.
        most: maximum number of ids. Above it, the oldest is dropped.
        clock: replaces the monotonic clock, in seconds.
    """

    def __init__(self, expiry: float = 30.0, most: int = 10_000, clock: Callable[[], float] = monotonic) -> None:
        self._expiry = expiry
        self._clock = clock
        self._waiting = BoundedDict[str, tuple[U, float]](most)  # users and ends, in the order of the ends

    def __len__(self) -> int:
        self._forget_expired()
        return len(self._waiting)

    def issue(self, user: U) -> str:
        """Create an id for a user. It contains only characters that need no quoting in a URL or a handshake."""
        self._forget_expired()
        sid = token_urlsafe(32)
        self._waiting[sid] = user, self._clock() + self._expiry
        return sid

    def redeem(self, sid: str) -> U | None:
        """The user of an id, which becomes invalid; None if it is not valid."""
        self._forget_expired()
        user, _ = self._waiting.pop(sid, (None, 0.0))
        return user

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._waiting and self._waiting[oldest := next(iter(self._waiting))][1] <= now:
            del self._waiting[oldest]
