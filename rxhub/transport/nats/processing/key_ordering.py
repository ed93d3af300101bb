"""Order by key: events that share a value of the key run one after the other, others at the same time.

Each value has a queue. An event enters the queues of all its values at once, and may run when it is first in all of
them; so events cannot wait for each other. The number of queues in which it is not first is stored, so adding and
removing an event costs only as much as its own queues.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Generic, TypeVar

from rxhub.expression.evaluate import split_key, values_at
from rxhub.transport.json_payload import write_json

__all__ = ["KeyOrdering", "key_values"]

T = TypeVar("T", bound=Hashable)


class KeyOrdering(Generic[T]):
    """Items in the queues of their keys. Its length is the number of items that wait."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, deque[T]] = {}
        self._keys: dict[T, tuple[Hashable, ...]] = {}
        # Of waiting items: the number of queues in which others are ahead, and their place in the order of arrival.
        self._ahead: dict[T, int] = {}
        self._places: dict[T, int] = {}
        self._next_place = 0

    def __len__(self) -> int:
        return len(self._ahead)

    def __contains__(self, item: T) -> bool:
        return item in self._keys

    def add(self, item: T, keys: Iterable[Hashable]) -> bool:
        """Add an item; whether it may run at once. An item without keys always may, and is not kept."""
        own = tuple(keys)
        if not own:
            return True
        if len(own) > 1:
            own = tuple(dict.fromkeys(own))
        queues, ahead = self._queues, 0
        for key in own:
            queue = queues.get(key)
            if queue is None:
                queues[key] = deque((item,))
            else:
                queue.append(item)
                ahead += 1
        self._keys[item] = own
        if ahead:
            self._ahead[item] = ahead
            self._places[item] = self._next_place
            self._next_place += 1
        return not ahead

    def is_first(self, item: T) -> bool:
        """Whether an item is the first in all of its queues."""
        return item not in self._ahead

    def following(self, item: T, most: int) -> Iterator[T]:
        """Up to `most` items of each queue behind an item that is the first."""
        for key in self._keys.get(item, ()):
            yield from islice(self._queues[key], 1, most + 1)

    def remove(self, item: T) -> list[T]:
        """Remove an item, whether it ran or not; the items that may run now, in the order of arrival."""
        freed: list[T] = []
        for key in self._keys.pop(item, ()):
            queue = self._queues[key]
            if queue[0] != item:
                queue.remove(item)
                continue
            queue.popleft()
            if not queue:
                del self._queues[key]
                continue
            first = queue[0]
            self._ahead[first] -= 1
            if not self._ahead[first]:
                del self._ahead[first]
                freed.append(first)
        self._ahead.pop(item, None)
        self._places.pop(item, None)
        if len(freed) > 1:
            # The queues are visited in the order of the item's keys.
            freed.sort(key=self._places.__getitem__)
        return freed


def key_values(path: str) -> Callable[[Mapping[str, Any]], list[Hashable]]:
    """A function that returns the values at a dotted path, as subscriptions read them; mappings as JSON."""
    steps = split_key(path)

    def values(event: Mapping[str, Any]) -> list[Hashable]:
        return [
            value if isinstance(value, Hashable) else write_json(value)
            for value in values_at(event, steps)
            if value is not None
        ]

    return values
