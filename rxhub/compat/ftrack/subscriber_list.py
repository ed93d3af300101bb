"""The subscribers of a hub as the list that ftrack's programs look into, and change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex, cast

from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.dispatching.subscriber import Subscriber

__all__ = ["Roll"]


class Roll(list[Any]):
    """In order of subscribing, but the hub's own subscriber to replies first.

    The dispatcher decides who is subscribed: it tells the list (`enter`, `strike`), and what a program changes in the
    list is done to the dispatcher.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def enter(self, member: Subscriber, first: bool) -> None:
        """The dispatcher has a new subscriber."""
        super().insert(0 if first else len(self), member)

    def strike(self, member: Subscriber) -> None:
        """The dispatcher has one less."""
        for place, other in enumerate(self):
            if other is member:
                super().__delitem__(place)
                return

    def replace(self, members: Iterable[Any]) -> None:
        """Have these subscribers and no others."""
        members = list(members)
        self._leave(member for member in list(self) if not any(member is other for other in members))
        for member in members:
            if not any(member is other for other in self):
                self.append(member)

    def append(self, member: Any) -> None:
        self._dispatcher.add(member)

    def insert(self, index: SupportsIndex, member: Any) -> None:
        # Who is called when is decided by priority and order of subscribing, not by the place in the list.
        self.append(member)

    def extend(self, members: Iterable[Any]) -> None:
        for member in list(members):
            self.append(member)

    def remove(self, member: Any) -> None:
        self.pop(self.index(member))

    def pop(self, index: SupportsIndex = -1) -> Any:
        member = self[index]
        self._leave([member])
        return member

    def clear(self) -> None:
        self._leave(list(self))

    def __delitem__(self, key: SupportsIndex | slice) -> None:
        found = self[key]
        self._leave(list(cast("list[Any]", found)) if isinstance(key, slice) else [found])

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def _leave(self, members: Iterable[Any]) -> None:
        for member in members:
            self._dispatcher.unsubscribe(member.id)
