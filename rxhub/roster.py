"""Who is registered, and in which order.

A registration keeps its place by (priority, order of joining). Leaving is O(1): the roster only
drops it from a dict and marks it dead, and whoever holds an older snapshot skips the dead. The
snapshot is a sorted tuple, rebuilt when it is next asked for after a change, so that a burst of
changes costs one sort.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from operator import attrgetter
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["Registration", "Roster"]


class Registration:
    """One place in a roster.

    Attributes:
        priority: lower comes first.
        order: the order of joining, which decides between equal priorities.
        alive: False once it has left; checked before every call.
    """

    __slots__ = ("__weakref__", "alive", "order", "priority")

    def __init__(self, priority: float) -> None:
        self.priority = priority
        self.order = -1
        self.alive = False


R = TypeVar("R", bound=Registration)


class Roster(Generic[R]):
    """The registrations of one dispatcher or signal."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._members: dict[int, R] = {}
        self._snapshot: tuple[R, ...] | None = ()
        self._orders = count()

    def join(self, member: R) -> None:
        """Give `member` its place."""
        with self._lock:
            member.order = next(self._orders)
            member.alive = True
            self._members[member.order] = member
            self._snapshot = None

    def leave(self, member: R) -> bool:
        """Take `member` out; False if it was not (or no longer) in."""
        with self._lock:
            if self._members.pop(member.order, None) is None:
                return False
            member.alive = False
            self._snapshot = None
            return True

    def snapshot(self) -> tuple[R, ...]:
        """The members in (priority, order of joining); the tuple never changes."""
        snapshot = self._snapshot
        if snapshot is None:
            with self._lock:
                snapshot = tuple(sorted(self._members.values(), key=attrgetter("priority", "order")))
                self._snapshot = snapshot
        return snapshot

    def __iter__(self) -> Iterator[R]:
        return iter(self.snapshot())

    def __len__(self) -> int:
        return len(self._members)

    def renew_lock(self) -> None:
        """Replace the lock; for a child process, where a thread that held it is gone."""
        self._lock = Lock()
