"""The order in which plugins are started: each after those that it requires, otherwise as given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

__all__ = ["cycle", "ordered"]


def ordered(requires: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Order names by what each requires.

    Args:
        requires: what each name requires, in the given order. Names that are not keys are ignored.

    Returns:
        The names in order, and those that cannot be ordered: they are on a cycle, or require one that is.
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
    """The cycle because of which `name` could not be ordered.

    Args:
        name: one that could not be ordered.
        requires: what each name that could not be ordered requires.

    Returns:
        Names of which each requires the next, and the last the first. `name` may not be among them.
    """
    way: dict[str, int] = {}
    while name not in way:
        way[name] = len(way)
        name = next(required for required in requires[name] if required in requires)
    return list(way)[way[name] :]
