"""Items in the order of their bounds: finding those on one side of a value takes two bisections and a slice.

Readers do not lock: the state is one tuple of immutable runs, which a writer replaces with a single store. Runs are
short, so that adding to a hundred thousand bounds copies a few hundred pointers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

__all__ = ["SortedIndex"]

T = TypeVar("T")
_Bisect: TypeAlias = Callable[[tuple[Any, ...], Any], int]

_LONGEST_RUN = 512


class SortedIndex(Generic[T]):
    """Items by bound. The bounds are all strings or all finite numbers; several items may have the same bound."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        # The last bound of each run; and the runs, each with its bounds and their items.
        self._runs: tuple[tuple[Any, ...], tuple[tuple[tuple[Any, ...], tuple[T, ...]], ...]] = ((), ())

    def __bool__(self) -> bool:
        return bool(self._runs[0])

    def add(self, bound: Any, item: T) -> None:
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
        """Remove an item, which must be present."""
        lasts, runs = self._runs
        # The items of one bound may be in several runs.
        for number in range(bisect_left(lasts, bound), len(runs)):
            bounds, items = runs[number]
            for at in range(bisect_left(bounds, bound), bisect_right(bounds, bound)):
                if items[at] is item:
                    self._replace(number, (*bounds[:at], *bounds[at + 1 :]), (*items[:at], *items[at + 1 :]))
                    return

    def at_most(self, value: Any) -> list[T]:
        return self._lower(value, bisect_right)

    def below(self, value: Any) -> list[T]:
        return self._lower(value, bisect_left)

    def at_least(self, value: Any) -> list[T]:
        return self._upper(value, bisect_left)

    def above(self, value: Any) -> list[T]:
        return self._upper(value, bisect_right)

    def _lower(self, value: Any, bisect: _Bisect) -> list[T]:
        lasts, runs = self._runs
        number = bisect(lasts, value)
        found = [item for _, items in runs[:number] for item in items]
        if number < len(runs):
            bounds, items = runs[number]
            found += items[: bisect(bounds, value)]
        return found

    def _upper(self, value: Any, bisect: _Bisect) -> list[T]:
        lasts, runs = self._runs
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
