"""Which events wait for which: those of one key run one after the other, all others at once.

Theory of operation. A lane is the queue of one value of the key. An event stands in the lane of each value that it has,
and may run while it is the first in all of them. It enters all its lanes at once, so of two events that share lanes one
is ahead of the other in every lane that they share: they cannot wait for each other, whatever else they stand in. It
is known of each event in how many lanes it is not the first, so entering and leaving cost what its own lanes cost,
however many events wait.
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
    """Who may run, of those who have entered and not left."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, deque[T]] = {}
        self._keys: dict[T, tuple[Hashable, ...]] = {}
        self._places: dict[T, int] = {}
        self._next_place = 0
        self._behind: dict[T, int] = {}

    def __len__(self) -> int:
        """How many wait for others."""
        return len(self._behind)

    def enter(self, item: T, keys: Iterable[Hashable]) -> bool:
        """Stand behind all who have one of these keys; whether there is nobody, so that the item may run.

        Without any key it may run at once, and nobody waits for it.
        """
        own = tuple(keys)
        if not own:
            return True
        if len(own) > 1:
            own = tuple(dict.fromkeys(own))
        lanes, behind = self._lanes, 0
        for key in own:
            lane = lanes.get(key)
            if lane is None:
                lanes[key] = deque((item,))
            else:
                lane.append(item)
                behind += 1
        self._keys[item] = own
        if behind:
            self._behind[item] = behind
            self._places[item] = self._next_place
            self._next_place += 1
        return not behind

    def __contains__(self, item: T) -> bool:
        """Whether an item has entered and not left."""
        return item in self._keys

    def may_run(self, item: T) -> bool:
        """Whether an item is the first in all of its lanes."""
        return item not in self._behind

    def following(self, item: T, most: int) -> Iterator[T]:
        """Who is next to run behind an item that may run: so many of each of its lanes."""
        for key in self._keys.get(item, ()):
            yield from islice(self._lanes[key], 1, most + 1)

    def leave(self, item: T) -> list[T]:
        """Leave all lanes, whether it ran or not; those who may run from now on, in order of entering."""
        freed: list[T] = []
        for key in self._keys.pop(item, ()):
            lane = self._lanes[key]
            if lane[0] != item:
                lane.remove(item)
                continue
            lane.popleft()
            if not lane:
                del self._lanes[key]
                continue
            first = lane[0]
            self._behind[first] -= 1
            if not self._behind[first]:
                del self._behind[first]
                freed.append(first)
        self._behind.pop(item, None)
        self._places.pop(item, None)
        if len(freed) > 1:
            # Lanes are left in the order of the item's keys, which is not the one in which others have entered.
            freed.sort(key=self._places.__getitem__)
        return freed


def key_values(path: str) -> Callable[[Mapping[str, Any]], list[Hashable]]:
    """A function that gives the values of an event at a dotted path, through lists, as subscriptions see them.

    Null is no value: events without one wait for nobody.
    """
    steps = split_key(path)

    def values(event: Mapping[str, Any]) -> list[Hashable]:
        # A mapping at the end of the path is told from others by what it holds.
        return [
            value if isinstance(value, Hashable) else write_json(value)
            for value in values_at(event, steps)
            if value is not None
        ]

    return values
