"""In which order plugins are started: each after those that it requires, otherwise as they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

__all__ = ["cycle", "ordered"]


def ordered(requires: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Order names by what each requires.

    Args:
        requires: by name, in the order in which they came. What it requires beyond these names is not looked at.

    Returns:
        The names in order, and those that cannot be ordered: they stand on a cycle, or behind one.
    """
    names = list(requires)
    place = {name: number for number, name in enumerate(names)}
    lacking = [sum(required in place for required in requires[name]) for name in names]
    behind: dict[str, list[int]] = {name: [] for name in names}
    for number, name in enumerate(names):
        for required in requires[name]:
            if required in place:
                behind[required].append(number)
    ready = [number for number, count in enumerate(lacking) if not count]
    heapify(ready)
    order: list[str] = []
    while ready:
        name = names[heappop(ready)]
        order.append(name)
        for number in behind[name]:
            lacking[number] -= 1
            if not lacking[number]:
                heappush(ready, number)
    return order, [name for name, count in zip(names, lacking, strict=True) if count]


def cycle(name: str, requires: Mapping[str, Sequence[str]]) -> list[str]:
    """The cycle that keeps `name`, which could not be ordered, from being ordered.

    Args:
        name: one of those that could not be.
        requires: by name, what each of those that could not be ordered requires.

    Returns:
        Names of which each requires the next and the last the first. It need not hold `name`.
    """
    way: dict[str, int] = {}
    while name not in way:
        way[name] = len(way)
        name = next(required for required in requires[name] if required in requires)
    return list(way)[way[name] :]
