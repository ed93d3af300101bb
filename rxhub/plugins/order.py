"""The order in which plugins are started: each after those that it requires, otherwise as given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush

__all__ = ["cycle", "ordered"]


def ordered(requires: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """The names in order, and those that are on a cycle or require one that is.

    `requires` has what each name requires; those that are not keys are ignored.
    """
    place = {name: number for number, name in enumerate(requires)}
    sorter = TopologicalSorter({name: [each for each in requires[name] if each in place] for name in place})
    with suppress(CycleError):  # the sorter still returns what does not depend on the cycle
        sorter.prepare()
    ready: list[tuple[int, str]] = []
    order: list[str] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heappush(ready, (place[name], name))
        _, name = heappop(ready)
        order.append(name)
        sorter.done(name)
        del place[name]
    return order, list(place)


def cycle(name: str, requires: Mapping[str, Sequence[str]]) -> list[str]:
    """The cycle because of which `name` could not be ordered: each requires the next, and the last the first.

    `requires` has what each name that could not be ordered requires. `name` itself may not be on the cycle.
    """
    way: dict[str, int] = {}
    while name not in way:
        way[name] = len(way)
        name = next(required for required in requires[name] if required in requires)
    return list(way)[way[name] :]
