"""Who is registered, and in which order.

A registration keeps its place by priority, then by order of joining. Leaving is O(1): the registry
only drops it from a dict and marks it dead, and whoever holds an older snapshot skips the dead. The
snapshot is a sorted tuple, rebuilt when it is next asked for after a change, so that a burst of
changes costs one sort.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from operator import attrgetter
from typing import Generic, TypeVar

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import NotFoundError, NotUniqueError

__all__ = ["Registration", "Registry"]


class Registration:
    """One place in a registry.

    Attributes:
        priority: lower comes first.
        alive: False once it has left; checked before every call.
    """

    __slots__ = ("__weakref__", "alive", "priority")

    def __init__(self, priority: float) -> None:
        self.priority = priority
        self.alive = True


K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Registration)


class Registry(Generic[K, R]):
    """The registrations of one dispatcher or signal, each under a key of its own."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        # A dict keeps the order of joining, and sorting by priority is stable.
        self._members: dict[K, R] = {}
        self._snapshot: tuple[R, ...] | None = ()

    def join(self, key: K, member: R) -> None:
        """Give `member` its place.

        Raises:
            NotUniqueError: if somebody has this key.
        """
        with self._lock:
            if key in self._members:
                raise NotUniqueError(
                    f"Subscriber with identifier {key} already exists. "
                    "Unsubscribe it first, or leave the id out to have one made."
                )
            self._members[key] = member
            self._snapshot = None

    def leave(self, key: K) -> R:
        """Take out and give back who has this key.

        Raises:
            NotFoundError: if nobody has it.
        """
        with self._lock:
            member = self._members.pop(key, None)
            if member is None:
                raise NotFoundError(
                    f"Cannot unsubscribe missing subscriber with identifier {key}. "
                    f"There are {len(self._members)} others."
                )
            member.alive = False
            self._snapshot = None
            return member

    def get(self, key: K) -> R | None:
        """Who has this key, or None."""
        return self._members.get(key)

    def snapshot(self) -> tuple[R, ...]:
        """The members in order; the tuple never changes."""
        snapshot = self._snapshot
        if snapshot is None:
            with self._lock:
                # A finalizer may leave in the middle of it, in this same thread.
                while snapshot is None or len(snapshot) != len(self._members):
                    snapshot = tuple(sorted(self._members.values(), key=attrgetter("priority")))
                self._snapshot = snapshot
        return snapshot

    def __iter__(self) -> Iterator[R]:
        return iter(self.snapshot())

    def __len__(self) -> int:
        return len(self._members)
