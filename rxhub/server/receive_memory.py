"""Limits the memory of messages that were received and are not handled yet.

A message uses memory from its first byte, and a client may never send the last one. So each connection counts the bytes
that it holds: incomplete frames, fragments, and messages that wait for their turn. If a user or all users together hold
too much, the server closes the connection that holds most, so that clients with ordinary messages are not affected.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from rxhub.server.counters import Counters
from rxhub.server.limits import Limits

__all__ = ["UNREAD", "UnreadBudget", "UnreadBytes"]

UNREAD = "rxhub.unread"
"""The name of the ASGI extension that contains the `UnreadBytes` of a connection."""

_logger = logging.getLogger("rxhub.server")


class UnreadBudget:
    """The unhandled bytes of all connections of a server, `total`, within the limits of one user and of all."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self.total = 0
        self._most = limits.unread
        self._most_per_user = limits.unread_per_user
        self._counters = counters
        self._of_user: Counter[str] = Counter()
        self._holding: dict[UnreadBytes, str] = {}

    def update(self, unread: UnreadBytes, user: str, change: int) -> None:
        """Add a change of the bytes of a connection."""
        self.total += change
        self._of_user[user] += change
        if unread.size:
            self._holding[unread] = user
        else:
            self._holding.pop(unread, None)
            if not self._of_user[user]:
                del self._of_user[user]
        if change > 0:
            if self._of_user[user] > self._most_per_user:
                self._close_largest(user)
            if self.total > self._most:
                self._close_largest(None)

    def _close_largest(self, user: str | None) -> None:
        """Close the connection with the most bytes, of one user or of all."""
        largest = max(
            (unread for unread, holder in self._holding.items() if user is None or holder == user),
            key=lambda unread: unread.size,
        )
        self._counters.unread_limit_reached += 1
        _logger.warning(
            "Closing a connection of %r: it holds %d bytes of incomplete and unhandled messages, and %s hold more than "
            "%d bytes.",
            self._holding[largest],
            largest.size,
            "all connections together" if user is None else "the connections of this user",
            self._most if user is None else self._most_per_user,
        )
        largest.abort()


class UnreadBytes:
    """The unhandled bytes of one connection, `size`. `abort` closes the connection and discards them."""

    __slots__ = ("_abort", "_budget", "_user", "size")

    def __init__(self, abort: Callable[[], object]) -> None:
        self.size = 0
        self._abort: Callable[[], object] | None = abort
        self._budget: UnreadBudget | None = None
        self._user = ""

    def attach(self, budget: UnreadBudget, user: str) -> None:
        """Count the bytes for a user."""
        if self._abort is not None:  # otherwise the connection is closed
            self._budget, self._user = budget, user
            if self.size:
                budget.update(self, user, self.size)

    def set(self, size: int) -> None:
        change = size - self.size
        if change:
            self.size = size
            if self._budget is not None:
                self._budget.update(self, self._user, change)

    def abort(self) -> None:
        abort = self._abort
        self.close()
        if abort is not None:
            abort()

    def close(self) -> None:
        """The connection is closed."""
        self.set(0)
        self._abort = self._budget = None
