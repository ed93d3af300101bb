"""Token buckets: so many at once, so many a second over time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic
from typing import Final

from rxhub.concurrency.bounded_dict import BoundedDict

__all__ = ["STEPS_PER_EVENT", "TokenBucket", "TokenBuckets"]

STEPS_PER_EVENT: Final = 5_000
"""Steps of work for which a user's rate of events pays with one event, see `rxhub.server.limits.Limits.work`."""

_MAX_BUCKETS = 10_000


class TokenBucket:
    """One bucket. It fills by `rate` tokens a second up to `size`, and starts full.

    Args:
        rate: tokens a second.
        size: tokens at most.
        clock: seconds that never go back.
    """

    __slots__ = ("_clock", "_filled", "_rate", "_size", "_tokens")

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._size = size
        self._clock = clock
        self._tokens = float(size)
        self._filled = clock()

    def take(self) -> bool:
        """Take a token; False if there is none."""
        if not self.is_ready:
            return False
        self._tokens -= 1.0
        return True

    def reserve(self, tokens: float = 1.0) -> float:
        """Take tokens even if they are not there yet.

        Args:
            tokens: how many.

        Returns:
            The seconds to wait until they are there. Who does not wait for them takes from those that come later.
        """
        self._fill()
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._rate)

    @property
    def is_ready(self) -> bool:
        """Whether there is a token."""
        self._fill()
        return self._tokens >= 1.0

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._filled) * self._rate)
        self._filled = now


class TokenBuckets:
    """A bucket for each key, such as a user or an address.

    A stranger can think of any number of keys. So there are 10,000 buckets at most, and the one that was asked for
    longest ago makes room: by then it is full again, unless there are more strangers than a bucket each could hold
    off.
    """

    __slots__ = ("_buckets", "_clock", "_rate", "_size")

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
