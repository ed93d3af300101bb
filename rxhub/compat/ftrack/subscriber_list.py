"""The subscribers of a hub as a list that programs can read and change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex, cast

from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.dispatching.subscriber import Subscriber

__all__ = ["SubscriberList"]


class SubscriberList(list[Any]):
    """In order of subscribing, with the hub's own reply subscriber first.

    The dispatcher owns the subscribers and reports its changes; changes to the list are applied to the dispatcher.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def on_added(self, member: Subscriber, first: bool) -> None:
        super().insert(0 if first else len(self), member)

    def on_removed(self, member: Subscriber) -> None:
        for place, other in enumerate(self):
            if other is member:
                super().__delitem__(place)
                return

    def replace(self, members: Iterable[Any]) -> None:
        """Subscribe exactly these."""
        members = list(members)
        self._unsubscribe(member for member in list(self) if not any(member is other for other in members))
        for member in members:
            if not any(member is other for other in self):
                self.append(member)

    def append(self, member: Any) -> None:
        self._dispatcher.add(member)

    def insert(self, index: SupportsIndex, member: Any) -> None:
        # Priority and order of subscribing determine the call order, not the index.
        self.append(member)

    def extend(self, members: Iterable[Any]) -> None:
        for member in list(members):
            self.append(member)

    def remove(self, member: Any) -> None:
        self.pop(self.index(member))

    def pop(self, index: SupportsIndex = -1) -> Any:
        member = self[index]
        self._unsubscribe([member])
        return member

    def clear(self) -> None:
        self._unsubscribe(list(self))

    def __delitem__(self, key: SupportsIndex | slice) -> None:
        found = self[key]
        self._unsubscribe(list(cast("list[Any]", found)) if isinstance(key, slice) else [found])

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def _unsubscribe(self, members: Iterable[Any]) -> None:
        for member in members:
            self._dispatcher.unsubscribe(member.id)
