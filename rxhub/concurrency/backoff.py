"""Exponential backoff with jitter."""

from __future__ import annotations

from collections.abc import Iterable
from random import SystemRandom
from typing import TypeVar

__all__ = ["Backoff", "exponential_delay", "shuffled"]

T = TypeVar("T")

# Not the shared generator: programs with the same seed must not retry at the same moment.
_random = SystemRandom()


def exponential_delay(first: float, longest: float, attempt: int) -> float:
    """Seconds to wait after a failed attempt (numbered from 1): a random number between half of a bound and the bound.

    The bound is `first` after the first attempt, doubled for each further one, up to `longest`. It is random so that a
    thousand clients do not retry together.
    """
    # Larger exponents have no float.
    bound = min(longest, first * 2.0 ** min(attempt - 1, 1000))
    return bound * _random.uniform(0.5, 1.0)


class Backoff:
    """The delays between consecutive attempts, in seconds."""

    def __init__(self, first: float = 0.5, longest: float = 30.0) -> None:
        self._first = first
        self._longest = longest
        self._attempts = 0

    def delay(self) -> float:
        """Count a failed attempt; return the seconds until the next one."""
        self._attempts += 1
        return exponential_delay(self._first, self._longest, self._attempts)

    def reset(self) -> None:
        """Start again with the first delay, after a success."""
        self._attempts = 0


def shuffled(items: Iterable[T]) -> list[T]:
    """The items in random order, so that the clients of several servers spread over them."""
    return _random.sample(found := list(items), len(found))
