"""The calls, stops, errors and latencies of the subscribers of a hub, while `rxhub.jupyter.watch` counts them.

A hub does not count by itself, since every event would pay for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.dispatching.subscriber import Subscriber

__all__ = ["CallCount", "CallCounts", "call_counts"]


@dataclass(slots=True)
class CallCount:
    """The counts of one subscriber, and the duration of its last call in seconds."""

    calls: int = 0
    stops: int = 0
    errors: int = 0
    latency: float | None = None


class CallCounts:
    """The number of deliveries of a hub, and the counts of its subscribers while they exist."""

    def __init__(self) -> None:
        self.events = 0
        self.counts: WeakKeyDictionary[Subscriber, CallCount] = WeakKeyDictionary()

    def add(self, delivery: Delivery) -> None:
        """Count a delivery; outcomes that follow are passed to `add_outcome`."""
        self.events += 1
        for outcome in delivery.outcomes:
            self.add_outcome(outcome)
        if delivery.stopped_by is not None:
            self._of(delivery.stopped_by).stops += 1

    def add_outcome(self, outcome: Outcome) -> None:
        """Count one call."""
        count = self._of(outcome.subscriber)
        count.calls += 1
        count.errors += outcome.error is not None
        count.latency = outcome.latency if outcome.latency is not None else count.latency

    def _of(self, subscriber: Subscriber) -> CallCount:
        return self.counts.setdefault(subscriber, CallCount())


call_counts: WeakKeyDictionary[Any, CallCounts] = WeakKeyDictionary()
"""The counts by hub, while it is watched."""
