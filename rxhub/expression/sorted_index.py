"""Things that hang on bounds, kept ascending, so that a range of them is two bisections and a slice.

Readers never lock. All of it is one tuple of immutable runs, and a writer puts a new tuple in its place with
a single store: a reader works on the tuple that it took. A run is short, so that adding among a hundred
thousand bounds copies a few hundred pointers rather than all of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any, Generic, TypeVar

__all__ = ["SortedIndex"]

T = TypeVar("T")

_LONGEST_RUN = 512


class SortedIndex(Generic[T]):
    """Items by bound. All bounds are texts, or all are finite numbers; several items may share a bound.

    Only one thread at a time may add or remove; any number may read meanwhile.
    """

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        # The last bound of each run, and beside it each run: its bounds and their items.
        self._runs: tuple[tuple[Any, ...], tuple[tuple[tuple[Any, ...], tuple[T, ...]], ...]] = ((), ())

    def __bool__(self) -> bool:
        return bool(self._runs[0])

    def add(self, bound: Any, item: T) -> None:
        """Hang an item on a bound."""
        lasts, runs = self._runs
        if not runs:
            self._runs = (bound,), (((bound,), (item,)),)
            return
        number = min(bisect_left(lasts, bound), len(runs) - 1)
        bounds, items = runs[number]
        at = bisect_right(bounds, bound)
        bounds = (*bounds[:at], bound, *bounds[at:])
        items = (*items[:at], item, *items[at:])
        self._replace(number, bounds, items)

    def remove(self, bound: Any, item: T) -> None:
        """Take an item, which is there, off its bound."""
        lasts, runs = self._runs
        # Items of one bound may stand in several runs.
        for number in range(bisect_left(lasts, bound), len(runs)):
            bounds, items = runs[number]
            for at in range(bisect_left(bounds, bound), bisect_right(bounds, bound)):
                if items[at] is item:
                    self._replace(number, (*bounds[:at], *bounds[at + 1 :]), (*items[:at], *items[at + 1 :]))
                    return

    def until(self, value: Any, inclusive: bool) -> list[T]:
        """The items whose bounds are below the value, or equal to it if `inclusive`."""
        lasts, runs = self._runs
        bisect = bisect_right if inclusive else bisect_left
        number = bisect(lasts, value)
        found = [item for _, items in runs[:number] for item in items]
        if number < len(runs):
            bounds, items = runs[number]
            found += items[: bisect(bounds, value)]
        return found

    def since(self, value: Any, inclusive: bool) -> list[T]:
        """The items whose bounds are above the value, or equal to it if `inclusive`."""
        lasts, runs = self._runs
        bisect = bisect_left if inclusive else bisect_right
        number = bisect(lasts, value)
        if number == len(runs):
            return []
        bounds, items = runs[number]
        found = list(items[bisect(bounds, value) :])
        for _, items in runs[number + 1 :]:
            found += items
        return found

    def _replace(self, number: int, bounds: tuple[Any, ...], items: tuple[T, ...]) -> None:
        lasts, runs = self._runs
        half = len(bounds) // 2
        parts = (
            ((bounds[:half], items[:half]), (bounds[half:], items[half:]))
            if len(bounds) > _LONGEST_RUN
            else ((bounds, items),)
            if bounds
            else ()
        )
        self._runs = (
            (*lasts[:number], *(part[0][-1] for part in parts), *lasts[number + 1 :]),
            (*runs[:number], *parts, *runs[number + 1 :]),
        )
