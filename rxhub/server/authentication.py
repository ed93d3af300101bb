"""Whether a key is its user's: checked in constant time, rarely enough that nobody can guess or exhaust.

A check costs some tenths of a second of a processor and 16 MiB, for right keys and wrong ones, known users and
unknown. Two at once run, in threads. A key that was checked before costs nothing (`User.is_verified`), so that a studio
reconnects in a moment.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from os import urandom

from rxhub.errors import RxHubError
from rxhub.server.key_hash import Hash
from rxhub.server.limits import Limits
from rxhub.server.rate_limit import TokenBuckets
from rxhub.server.users import User, Users

__all__ = ["Authentication", "Credentials", "NotAuthenticated", "TooManyAttempts"]

_CONCURRENT_CHECKS = 2
_MAX_CHARACTERS = 1_024
_ADDRESS_FACTOR = 10


class NotAuthenticated(RxHubError):
    """There is no such user, or this is not the user's key; which of both is not told to the client.

    Attributes:
        reason: which, for the log; without the key.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class TooManyAttempts(RxHubError):
    """An address, or a user, tries too often."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows. It is not a tuple, so that what logs local variables shows its repr, without the key."""

    user: str
    key: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, key='***')"


# Nobody's key: what an unknown user's is checked against, so that the time it takes does not tell.
_DUMMY_HASH = Hash(f"scrypt$16384$8$5${b64encode(urandom(16)).decode()}${b64encode(urandom(64)).decode()}")


class Authentication:
    """The check at the door of a server.

    Args:
        users: who may come in.
        limits: how often one may try.
    """

    def __init__(self, users: Users, limits: Limits) -> None:
        self._users = users
        self._failures_by_name = TokenBuckets(limits.failures, limits.failures_at_once)
        self._failures_by_address = TokenBuckets(
            limits.failures * _ADDRESS_FACTOR, limits.failures_at_once * _ADDRESS_FACTOR
        )
        self._checks = asyncio.Semaphore(_CONCURRENT_CHECKS)
        self._most_waiting = max(1, limits.pending // 2)
        self._waiting = 0

    async def user(self, shown: Credentials, address: str) -> User:
        """The user that these credentials are of.

        Args:
            shown: what the client shows.
            address: where it comes from.

        Raises:
            NotAuthenticated: if they are nobody's.
            TooManyAttempts: if too many were nobody's lately, under this name or from this address.
        """
        user = self._users.get(shown.user)
        if user is not None and user.is_verified(shown.key):
            return user
        if len(shown.key) > _MAX_CHARACTERS or len(shown.user) > _MAX_CHARACTERS:
            raise NotAuthenticated("The user or the key is wrong.", "The user or the key is too long.")
        if self._waiting >= self._most_waiting:
            raise TooManyAttempts("Too many keys wait to be checked.")
        self._waiting += 1
        try:
            async with self._checks:
                return await self._checked(shown, address)
        finally:
            self._waiting -= 1

    async def _checked(self, shown: Credentials, address: str) -> User:
        user = self._users.get(shown.user)
        if user is not None and user.is_verified(shown.key):  # by now: somebody was before us in the queue
            return user
        by_name, by_address = self._failures_by_name[address, shown.user], self._failures_by_address[address]
        if not (by_name.is_ready and by_address.is_ready):
            raise TooManyAttempts("Too many attempts with a wrong key; wait some seconds.")
        is_right = await asyncio.to_thread((user.hash if user is not None else _DUMMY_HASH).check, shown.key)
        if user is None or not is_right:
            by_name.take()
            by_address.take()
            reason = "There is no such user." if user is None else "It is not the key of this user."
            raise NotAuthenticated("The user or the key is wrong.", reason)
        user.mark_verified(shown.key)
        return user
