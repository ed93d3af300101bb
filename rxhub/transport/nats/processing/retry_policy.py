"""How often a failing event is tried again, and after how long."""

from __future__ import annotations

from random import SystemRandom
from typing import NamedTuple

__all__ = ["LONGEST", "Retrying"]

LONGEST = 300.0
"""Seconds between two attempts at most, unless the first pause is longer already."""

# Not the shared generator: programs that were seeded alike must not try again all at once.
_random = SystemRandom()


class Retrying(NamedTuple):
    """The policy of one process.

    Attributes:
        retries: how many attempts follow the first one.
        backoff: seconds before the second attempt at most; doubled before each further one.
    """

    retries: int
    backoff: float

    def is_last(self, attempt: int) -> bool:
        """Whether no attempt follows this one; the first is 1."""
        return attempt > self.retries

    def delay(self, attempt: int) -> float:
        """Seconds to wait after an attempt that failed, shortened at random by up to a half."""
        # An exponent of more than a thousand has no float.
        reached = min(max(LONGEST, self.backoff), self.backoff * 2.0 ** min(attempt - 1, 1000))
        return reached * _random.uniform(0.5, 1.0)
