"""Who is registering: what is connected in somebody's name leaves with him.

Theory of operation. An `Scope` is made present by `with owner.registering():`. Whoever keeps registrations (a
dispatcher, a signal) asks `current_scope()` when something is registered, holds it strongly if somebody is there, notes
him as its owner, and tells him how it is undone::

    owner = current_scope()
    if owner is not None:
        owner.add(connection.leave)

What is undone earlier is forgotten, so that who connects and disconnects for years keeps nothing. Both may be called
from a finalizer and by any thread: there is no lock, only a dict whose single operations are atomic. `keep` puts in and
then looks whether the owner has left; `leave` marks it as left and then takes out. So nothing falls between the two.

Presence is a context variable: a coroutine or task that was started in it is in it too, a thread is not.
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

_current: ContextVar[Scope | None] = ContextVar("rxhub_owner", default=None)

current_scope: Callable[[], Scope | None] = _current.get
"""Who is registering here and now, or None. Bound to the variable itself: every connect pays for it."""


class Scope:
    """Somebody in whose name registrations are made, and with whom they leave.

    Args:
        name: for people.

    Attributes:
        name: as given.
        is_closed: whether it has left; nothing can be registered in its name any more.
    """

    __slots__ = ("__weakref__", "_kept", "is_closed", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_closed = False
        self._kept: dict[Leave, None] = {}

    @contextmanager
    def registering(self) -> Generator[Scope]:
        """Be present for the time of a `with` block; who was present before is so again after it."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def add(self, leave: Leave) -> None:
        """Note how a registration is undone.

        Args:
            leave: undoes it; called once at most, without arguments. It must be hashable, and equal to what `forget`
                will be given: a bound method is.

        Raises:
            ScopeClosed: if the owner has left. The registration has been undone then.
        """
        self._kept[leave] = None
        if self.is_closed and self._take(leave):
            leave()
            raise ScopeClosed(
                f"Nothing can be registered in the name of {self.name} any more, since it has left. "
                "Cancel its tasks and timers in its teardown."
            )

    def discard(self, leave: Leave) -> None:
        """The registration was undone already; nothing happens if it is not known."""
        self._kept.pop(leave, None)

    def close(self) -> None:
        """Undo every registration, the latest first. What raises is logged, and the others are undone."""
        self.is_closed = True
        while self._kept:
            try:
                leave, _ = self._kept.popitem()
            except KeyError:  # the last one was undone meanwhile
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
