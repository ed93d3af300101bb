"""How often a failing event is tried again, and after how long."""

from __future__ import annotations

from typing import NamedTuple

from rxhub.concurrency.backoff import exponential_delay

__all__ = ["MAX_DELAY_S", "RetryPolicy"]

MAX_DELAY_S = 300.0
"""Seconds between two attempts at most, unless the first pause is longer already."""


class RetryPolicy(NamedTuple):
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
        return exponential_delay(self.backoff, max(MAX_DELAY_S, self.backoff), attempt)
