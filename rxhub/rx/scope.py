"""Scopes: what is registered in one is removed with it.

`with scope.registering():` makes a `Scope` current. Code that keeps registrations reads `current_scope()` when
something is registered, and adds to it the function that undoes the registration. What is undone earlier is discarded.

Finalizers and any thread may do both: instead of a lock there is a dictionary whose single operations are atomic. `add`
inserts, then checks whether the scope is closed; `close` marks it as closed, then takes out. So nothing is lost.

The current scope is a context variable: coroutines and tasks that are started in it inherit it, threads do not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from rxhub.errors import ScopeClosed
from rxhub.text.printable import printable

__all__ = ["Scope", "current_scope"]

logger = logging.getLogger("rxhub")

Leave = Callable[[], object]

_current: ContextVar[Scope | None] = ContextVar("rxhub_scope", default=None)

current_scope: Callable[[], Scope | None] = _current.get
"""The current scope, or None. Bound to the variable's method, since every connect calls it."""


class Scope:
    """Owns registrations, such as those of a plugin, and undoes them when it is closed."""

    __slots__ = ("__weakref__", "_kept", "is_closed", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_closed = False
        self._kept: dict[Leave, None] = {}

    @contextmanager
    def registering(self) -> Generator[Scope]:
        """Make this scope the current one during a `with` block."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def add(self, leave: Leave) -> None:
        """Note how a registration is undone: `leave` is hashable, and called once at most.

        Raises ScopeClosed if the scope is closed. The registration has been undone then.
        """
        self._kept[leave] = None
        if self.is_closed and self._take(leave):
            leave()
            raise ScopeClosed(
                f"Nothing can be registered in the name of {self.name} any more, since it has left. "
                "Cancel its tasks and timers in its teardown."
            )

    def discard(self, leave: Leave) -> None:
        """Forget a registration that was undone already."""
        self._kept.pop(leave, None)

    def close(self) -> None:
        """Undo all registrations, the latest first. Errors are logged."""
        self.is_closed = True
        while self._kept:
            try:
                leave, _ = self._kept.popitem()
            except KeyError:  # another thread was faster
                break
            try:
                leave()
            except Exception as error:
                logger.error("A registration of %s could not be undone: %s", self.name, error, exc_info=error)

    def _take(self, leave: Leave) -> bool:
        try:
            del self._kept[leave]
        except KeyError:
            return False
        return True

    def __len__(self) -> int:
        return len(self._kept)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return printable(f"<Scope {self.name}: {'closed' if self.is_closed else f'{len(self)} registrations'}>")
