"""How long to wait before connecting again."""

from __future__ import annotations

from collections.abc import Iterable
from random import SystemRandom
from typing import TypeVar

__all__ = ["Backoff", "shuffled"]

T = TypeVar("T")

# Not the shared generator: programs that were seeded alike must not come back all at once.
_random = SystemRandom()


class Backoff:
    """Delays that double, each shortened at random, so that a thousand clients do not come back together.

    Args:
        first: seconds of the first delay at most.
        longest: seconds of any delay at most.
    """

    def __init__(self, first: float = 0.5, longest: float = 30.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def delay(self) -> float:
        """The next delay: seconds between half and the whole of what is reached by doubling."""
        reached, self._next = self._next, min(self._longest, 2 * self._next)
        return reached * _random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin again with the first delay: the connection has held."""
        self._next = self._first


def shuffled(servers: Iterable[T]) -> list[T]:
    """In random order, so that the clients of several servers spread over them."""
    return _random.sample(found := list(servers), len(found))
