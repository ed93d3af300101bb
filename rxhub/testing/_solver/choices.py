"""Who decides where several answers are right: nobody, or Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

__all__ = ["WORDS", "Choices", "Drawn", "First"]

T = TypeVar("T")

WORDS = ("", "a", "wip", "shot010", "v001", "maya_2025", "comp", ".local", "é", "0", "zz", " ", "_")


class Choices(Protocol):
    """Decides; the first option and the smallest number are the simplest."""

    def among(self, options: Sequence[T]) -> T:
        """One of the options."""
        ...

    def number(self, low: int, high: int) -> int:
        """An integer of a range, its ends included."""
        ...

    def filler(self) -> str:
        """Text that may stand where anything may."""
        ...


class First:
    """Always the simplest: what is found once is found again."""

    def among(self, options: Sequence[T]) -> T:
        return options[0]

    def number(self, low: int, high: int) -> int:
        return low

    def filler(self) -> str:
        return ""


_numbers = {(0, 1): st.integers(0, 1), (0, 2): st.integers(0, 2), (0, 3): st.integers(0, 3)}
_fillers = st.sampled_from(WORDS) | st.text("abc019._- é", max_size=4)


class Drawn:
    """Drawn by Hypothesis, which shrinks towards the simplest."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def among(self, options: Sequence[T]) -> T:
        return options[self.number(0, len(options) - 1)]

    def number(self, low: int, high: int) -> int:
        if low == high:
            return low
        known = _numbers.get((low, high))
        return self._draw(st.integers(low, high) if known is None else known)

    def filler(self) -> str:
        return self._draw(_fillers)
