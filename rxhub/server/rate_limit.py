"""Token buckets: limited bursts, and a limited rate over time; also of warnings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Final

from rxhub.concurrency.bounded_dict import BoundedDict

__all__ = ["STEPS_PER_EVENT", "LimitedLog", "TokenBucket", "TokenBuckets"]

STEPS_PER_EVENT: Final = 5_000
"""Steps of work that count as one event of a user's rate, see `rxhub.server.limits.Limits.work`."""

_MAX_BUCKETS = 10_000
_WARNINGS_PER_S = 1.0
_WARNINGS_AT_ONCE = 100


class TokenBucket:
    """One bucket. It starts full, and is refilled by `rate` tokens per second up to `size`."""

    __slots__ = ("_clock", "_filled", "_rate", "_size", "_tokens")

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._size = size
        self._clock = clock
        self._tokens = float(size)
        self._filled = clock()

    def take(self) -> bool:
        """Take a token. False if there is none."""
        if not self.is_ready:
            return False
        self._tokens -= 1.0
        return True

    def reserve(self, tokens: float = 1.0) -> float:
        """Take tokens, even if that makes their number negative. Returns the seconds until it is not.

        A caller that does not wait delays later callers.
        """
        self._fill()
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._rate)

    @property
    def is_ready(self) -> bool:
        self._fill()
        return self._tokens >= 1.0

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._filled) * self._rate)
        self._filled = now


class TokenBuckets:
    """A bucket for each key, such as a user or an address.

    Clients can use any number of keys, so there are at most 10,000 buckets. The least recently used one is dropped. By
    then it is full again, unless there are more attackers than buckets can limit.
    """

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._size = size
        self._clock = clock
        self._buckets = BoundedDict[Hashable, TokenBucket](_MAX_BUCKETS)

    def __len__(self) -> int:
        return len(self._buckets)

    def __getitem__(self, key: Hashable) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, self._size, self._clock)
        else:
            self._buckets.move_to_end(key)
        return bucket


class LimitedLog:
    """Warnings about requests, at a limited rate, so that unauthenticated clients cannot fill the log."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._bucket = TokenBucket(_WARNINGS_PER_S, _WARNINGS_AT_ONCE)
        self._suppressed = 0

    def warning(self, message: str, *arguments: object) -> None:
        """Log a warning, or suppress it. Before the next one, the number of suppressed warnings is logged."""
        if not self._bucket.take():
            self._suppressed += 1
            return
        if self._suppressed:
            self._logger.warning("Suppressed %d warnings about requests.", self._suppressed)
            self._suppressed = 0
        self._logger.warning(message, *arguments)
