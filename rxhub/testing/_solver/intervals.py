"""A number that meets demands: an integer or a double, as JSON carries them, compared exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from math import ceil, floor, inf, nextafter
from operator import eq, ge, gt, le, lt
from typing import NamedTuple

from rxhub.testing._solver.choices import Choices

__all__ = ["NumberTest", "find_number"]

_HOLDS = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_SPREAD = 1_000


class NumberTest(NamedTuple):
    """One demand: an operator (`=`, `<`, `<=`, `>`, `>=`), with what, and whether it is to hold or not."""

    operator: str
    number: int | float
    wanted: bool = True

    def met(self, value: float) -> bool:
        """Whether a number meets it."""
        return _HOLDS[self.operator](value, self.number) is self.wanted


def find_number(tests: Sequence[NumberTest], choices: Choices) -> int | float | None:
    """A number that meets all tests, or None if there is none.

    The tests describe an interval with holes. Among one more value than there are holes, one is no hole; so looking
    at the values from one end on settles it.
    """
    for test in tests:
        if test.operator == "=" and test.wanted:
            return test.number if _all_met(tests, test.number) else None
    lows = [t.number for t in tests if t.operator != "=" and _effective(t) in {">", ">="}]
    highs = [t.number for t in tests if t.operator != "=" and _effective(t) in {"<", "<="}]
    enough = len(tests) + 2
    for values in (_near(lows, highs, choices), _ascending(max(lows, default=0)) if lows and highs else iter(())):
        for value in islice(values, enough):
            if _all_met(tests, value):
                return value
    return None


def _effective(test: NumberTest) -> str:
    return test.operator if test.wanted else _OPPOSITE[test.operator]


def _near(lows: list[int | float], highs: list[int | float], choices: Choices) -> Iterator[int]:
    """Integers of the interval, from anywhere in it on."""
    if not lows and highs:
        yield from _counting(floor(min(highs)) - choices.number(0, _SPREAD), -1)
        return
    low = ceil(max(lows, default=0))
    reach = min(_SPREAD, floor(min(highs)) - low) if highs else _SPREAD
    yield from _counting(low + choices.number(0, max(0, reach)), 1)


def _counting(number: int, step: int) -> Iterator[int]:
    while True:
        yield number
        number += step


def _ascending(number: float) -> Iterator[int | float]:
    """`number`, and every integer and double above it, in order."""
    while True:
        yield number
        following: int | float = floor(number) + 1
        try:
            double = float(number)
        except OverflowError:
            double = inf
        if double <= number:
            double = nextafter(double, inf)
        if number < double < following:
            following = double
        number = following


def _all_met(tests: Sequence[NumberTest], value: float) -> bool:
    return all(test.met(value) for test in tests)
