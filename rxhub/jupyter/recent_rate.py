"""The rate of a stream over the last seconds, from one counter per second."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["WINDOW_S", "RecentRate"]

WINDOW_S: Final = 10


class RecentRate:
    """Counts items per second of the clock; keeps the counts of the last `WINDOW_S` complete seconds."""

    def __init__(self) -> None:
        self._counts: deque[tuple[int, int]] = deque(maxlen=WINDOW_S + 1)  # (second, items), in order

    def add(self, now: float) -> None:
        """Count an item. A clock that was set back counts it in the latest second."""
        second = int(now)
        if self._counts and self._counts[-1][0] >= second:
            latest, count = self._counts[-1]
            self._counts[-1] = (latest, count + 1)
        else:
            self._counts.append((second, 1))

    def per_second(self, now: float) -> float:
        """The mean rate of the last complete seconds: at most `WINDOW_S`, and none before the first item."""
        if not self._counts:
            return 0.0
        end = int(now)
        begin = max(end - WINDOW_S, self._counts[0][0])
        items = sum(count for second, count in self._counts if begin <= second < end)
        return items / (end - begin) if end > begin else 0.0
