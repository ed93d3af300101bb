"""Keys that expire after a fixed time, with one timer for all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from rxhub.operators._serial_output import SerialOutput

__all__ = ["ExpiringKeys"]

K = TypeVar("K")


class ExpiringKeys(Generic[K]):
    """Keys in the order in which they expire. Its methods are called under the lock of `output`.

    Args:
        output: provides the clock, the timer and the lock.
        seconds: the time from `start` until a key expires.
        expired: called with each key that expires.
    """

    def __init__(self, output: SerialOutput[Any], seconds: float, expired: Callable[[K], object]) -> None:
        self._output = output
        self._lifetime = timedelta(seconds=seconds)
        self._expired = expired
        # Not a dict, which takes longer and longer to find its first entry while others before it are removed.
        self._ends: OrderedDict[K, datetime] = OrderedDict()
        self._is_waiting = False

    def __len__(self) -> int:
        return len(self._ends)

    def start(self, key: K) -> None:
        """Start or restart the time of a key."""
        self._ends[key] = self._output.scheduler.now + self._lifetime
        self._ends.move_to_end(key)
        if not self._is_waiting:
            self._wait()

    def remove(self, key: K) -> None:
        del self._ends[key]

    def remove_first(self) -> K:
        """Remove the key that expires next, and return it."""
        return self._ends.popitem(last=False)[0]

    def expire_first(self) -> None:
        """Let the key that expires next expire now."""
        self._expired(self.remove_first())

    def expire_due(self, now: datetime | None = None) -> None:
        """Let keys expire whose time has passed, also if the timer is late."""
        now = now or self._output.scheduler.now
        while self._ends and next(iter(self._ends.values())) <= now:
            self.expire_first()

    def _wait(self) -> None:
        due = next(iter(self._ends.values()))

        def on_timer() -> None:
            with self._output:
                self._is_waiting = False
                # The clock may be slightly behind the timer.
                self.expire_due(max(due, self._output.scheduler.now))
                if self._ends:
                    self._wait()

        self._is_waiting = True
        self._output.call_at(due, on_timer)
