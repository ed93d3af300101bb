"""Session ids: what a handshake hands out and a WebSocket hands in, once and soon."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Sessions"]


U = TypeVar("U")


class _Session(NamedTuple, Generic[U]):
    user: U
    expires: float


class Sessions(Generic[U]):
    """The handshakes that wait for their WebSocket.

    ftrack's Python client shows no key with its WebSocket: the id alone lets it in, as the user who made the handshake.
    So it is unguessable (256 bits), good for one WebSocket, and for some seconds only.

    Args:
        expiry: seconds for which an id is good.
        most: ids at once; the oldest makes room.
        clock: seconds that never go back.
    """

    __slots__ = ("_clock", "_expiry", "_most", "_waiting")

    def __init__(self, expiry: float = 30.0, most: int = 10_000, clock: Callable[[], float] = monotonic) -> None:
        self._expiry = expiry
        self._most = most
        self._clock = clock
        self._waiting: dict[str, _Session[U]] = {}  # in order of expiry

    def __len__(self) -> int:
        self._forget_expired()
        return len(self._waiting)

    def issue(self, user: U) -> str:
        """A new id for a user; it has no character that a URL or a handshake would mind."""
        self._forget_expired()
        while len(self._waiting) >= self._most:
            del self._waiting[next(iter(self._waiting))]
        sid = token_urlsafe(32)
        self._waiting[sid] = _Session(user, self._clock() + self._expiry)
        return sid

    def redeem(self, sid: str) -> U | None:
        """The user of an id, which is good no more then; None if it is not, or no longer, good."""
        self._forget_expired()
        session = self._waiting.pop(sid, None)
        return None if session is None else session.user

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._waiting:
            sid = next(iter(self._waiting))
            if self._waiting[sid].expires > now:
                break
            del self._waiting[sid]
