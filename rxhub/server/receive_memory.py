"""How much memory the messages take that were received and are not handled yet.

A message is held in memory from its first byte on, and a client may never send the last one. So every connection counts
what it holds: an incomplete frame, fragments, and messages that wait for their turn. If a user holds too much, or all
together do, the connection that holds most of it is closed, so that clients with ordinary messages are not affected.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from rxhub.server.counters import Counters
from rxhub.server.limits import Limits

__all__ = ["UNREAD", "UnreadBudget", "UnreadBytes"]

UNREAD = "rxhub.unread"
"""The ASGI extension by which a connection shows what it holds."""

_logger = logging.getLogger("rxhub.server")


class UnreadBudget:
    """What all connections of a server may hold.

    Args:
        limits: how much.
        counters: what is counted.

    Attributes:
        total: bytes that are held.
    """

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self.total = 0
        self._most = limits.unread
        self._most_per_user = limits.unread_per_user
        self._counters = counters
        self._of_user: Counter[str] = Counter()
        self._holding: dict[UnreadBytes, str] = {}

    def update(self, unread: UnreadBytes, user: str, change: int) -> None:
        """A connection of a user holds so many bytes more or fewer."""
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
        """Close the connection that holds most, of one user or of all."""
        largest = max(
            (unread for unread, holder in self._holding.items() if user is None or holder == user),
            key=lambda unread: unread.size,
        )
        self._counters.unread_limit_reached += 1
        _logger.warning(
            "A connection of %r is closed: it holds %d bytes of messages that are incomplete or wait for their turn, "
            "and %s hold more than %d.",
            self._holding[largest],
            largest.size,
            "all connections together" if user is None else "the connections of this user",
            self._most if user is None else self._most_per_user,
        )
        largest.abort()


class UnreadBytes:
    """What one connection holds.

    Args:
        abort: closes the connection and gives up what it holds.

    Attributes:
        size: bytes that are held.
    """

    __slots__ = ("_abort", "_budget", "_user", "size")

    def __init__(self, abort: Callable[[], object]) -> None:
        self.size = 0
        self._abort: Callable[[], object] | None = abort
        self._budget: UnreadBudget | None = None
        self._user = ""

    def attach(self, budget: UnreadBudget, user: str) -> None:
        """Count it for a user from now on."""
        if self._abort is not None:  # else the connection has ended already
            self._budget, self._user = budget, user
            if self.size:
                budget.update(self, user, self.size)

    def set(self, size: int) -> None:
        """It holds so many bytes now."""
        change = size - self.size
        if change:
            self.size = size
            if self._budget is not None:
                self._budget.update(self, self._user, change)

    def abort(self) -> None:
        """Close the connection."""
        abort = self._abort
        self.close()
        if abort is not None:
            abort()

    def close(self) -> None:
        """The connection has ended, and holds nothing."""
        self.set(0)
        self._abort = self._budget = None
