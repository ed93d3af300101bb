"""Locks that are free in a forked child, and state that is reset there.

A forked child has one thread, the one that called `os.fork`. A lock that another thread of the parent held would stay
locked in the child forever, and what that thread had begun would never end. In the child, `ForkSafeLock` and
`ForkSafeCondition` are free, and `after_fork` of the object that they protect is called.
"""

from __future__ import annotations

import os
from _thread import RLock
from collections.abc import Callable
from threading import Condition
from typing import Any, Protocol, Self, cast
from weakref import WeakSet, ref

__all__ = ["ForkSafeCondition", "ForkSafeLock", "LazyForkSafeLock", "run_after_fork"]


class Resettable(Protocol):
    """An object whose state depends on threads. `after_fork` is called in a forked child, when every lock is free."""

    def after_fork(self) -> None: ...


class ForkSafeLock(RLock):  # pyright: ignore[reportGeneralTypeIssues]  # final in typeshed only
    """A reentrant lock that is free in a forked child, unless the forking thread itself holds it.

    The `after_fork` of its owner, which is held weakly, is called in the child.
    """

    __slots__ = ("owner",)

    def __init__(self, owner: Resettable | None = None) -> None:
        self.owner = None if owner is None else ref(owner)
        _locks.add(self)

    def __new__(cls, owner: Resettable | None = None) -> Self:  # noqa: ARG004  # RLock takes none
        return super().__new__(cls)


class ForkSafeCondition(Condition):
    """A condition on a `ForkSafeLock`; a forked child has no waiters."""

    def __init__(self, owner: Resettable | None = None) -> None:
        self.lock = ForkSafeLock(owner)
        super().__init__(self.lock)
        _conditions.add(self)


class LazyForkSafeLock:
    """A class attribute that gives each object a `ForkSafeLock` on first access: making one takes a microsecond."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        # Not by vars(): in CPython, a materialised __dict__ makes all attributes of the object slower.
        with _making:
            lock = getattr(instance, "_lazy_lock", None)
            if lock is None:
                lock = ForkSafeLock(instance if hasattr(instance, "after_fork") else None)
                instance._lazy_lock = instance.lock = lock
        return lock


def run_after_fork(reset: Callable[[], object]) -> None:
    """Call `reset` in each forked child, after the `after_fork` methods and what was given here before."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)


_locks: WeakSet[ForkSafeLock] = WeakSet()
_conditions: WeakSet[ForkSafeCondition] = WeakSet()
_making = ForkSafeLock()


def _free_locks() -> None:
    locks = list(_locks)
    for lock in locks:
        of_python = cast("Any", lock)
        if not of_python._is_owned():
            of_python._at_fork_reinit()
    for condition in list(_conditions):
        Condition.__init__(condition, condition.lock)  # forgets the threads that waited
    for lock in locks:
        if lock.owner is not None and (owner := lock.owner()) is not None:
            owner.after_fork()


run_after_fork(_free_locks)
