"""Checks the keys of users, with limits against guessing and overload.

A check takes some tenths of a second of processor time and 16 MiB, for correct and wrong keys of known and unknown
users. At most two run at once, in threads. A key that has been checked before takes no time (`User.is_verified`), so
many clients can reconnect at once.
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
    """The user does not exist, or the key is wrong. The client does not learn which.

    Attributes:
        reason: which of both, for the log. Does not contain the key.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class TooManyAttempts(RxHubError):
    """Too many failed attempts of an address or a user."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a key. Not a tuple, so that tools that log local variables use its repr, which hides the key."""

    user: str
    key: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, key='***')"


# Keys of unknown users are checked against this hash, so that the time does not reveal whether a user exists.
_DUMMY_HASH = Hash(f"scrypt$16384$8$5${b64encode(urandom(16)).decode()}${b64encode(urandom(64)).decode()}")


class Authentication:
    """Checks the credentials of users."""

    def __init__(self, users: Users, limits: Limits) -> None:
        self._users = users
        self._failures_by_name = TokenBuckets(limits.failures, limits.failures_at_once)
        self._failures_by_address = TokenBuckets(
            limits.failures * _ADDRESS_FACTOR, limits.failures_at_once * _ADDRESS_FACTOR
        )
        self._checks = asyncio.Semaphore(_CONCURRENT_CHECKS)
        self._most_waiting = max(1, limits.pending // 2)
        self._waiting = 0

    async def user(self, credentials: Credentials, address: str) -> User:
        """The user with these credentials.

        Raises:
            NotAuthenticated: if they are wrong.
            TooManyAttempts: if too many recent attempts with this name or from this address failed.
        """
        user = self._users.get(credentials.user)
        if user is not None and user.is_verified(credentials.key):
            return user
        if len(credentials.key) > _MAX_CHARACTERS or len(credentials.user) > _MAX_CHARACTERS:
            raise NotAuthenticated("The user or the key is wrong.", "The user or the key is too long.")
        if self._waiting >= self._most_waiting:
            raise TooManyAttempts("Too many keys are waiting to be checked. Try again later.")
        self._waiting += 1
        try:
            async with self._checks:
                return await self._checked(credentials, address)
        finally:
            self._waiting -= 1

    async def _checked(self, credentials: Credentials, address: str) -> User:
        user = self._users.get(credentials.user)
        if user is not None and user.is_verified(credentials.key):  # checked while this request waited
            return user
        by_name, by_address = self._failures_by_name[address, credentials.user], self._failures_by_address[address]
        if not (by_name.is_ready and by_address.is_ready):
            raise TooManyAttempts("Too many attempts with a wrong key. Wait some seconds.")
        is_right = await asyncio.to_thread((user.hash if user is not None else _DUMMY_HASH).check, credentials.key)
        if user is None or not is_right:
            by_name.take()
            by_address.take()
            reason = "The user does not exist." if user is None else "The key is wrong."
            raise NotAuthenticated("The user or the key is wrong.", reason)
        user.mark_verified(credentials.key)
        return user
