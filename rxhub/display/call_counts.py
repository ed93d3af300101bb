"""Count the calls, stops, errors and latencies of subscribers.

A hub does not count by itself, since every event would pay for it. `rxhub.jupyter.watch` adds the deliveries of a hub
to a `CallCounts`, and the hub's page shows the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from rxhub.dispatching.delivery import Delivery, Outcome
    from rxhub.dispatching.subscriber import Subscriber

__all__ = ["CallCount", "CallCounts", "call_counts"]


@dataclass(slots=True)
class CallCount:
    """The counts of one subscriber.

    Attributes:
        calls: the number of calls.
        stops: the number of events that it stopped.
        errors: the number of calls that failed.
        latency: the duration of the last call in seconds.
    """

    calls: int = 0
    stops: int = 0
    errors: int = 0
    latency: float | None = None


class CallCounts:
    """The counts of the subscribers of a hub.

    Attributes:
        events: the number of deliveries.
        counts: by subscriber; those that have unsubscribed are dropped.
    """

    def __init__(self) -> None:
        self.events = 0
        self.counts: dict[Subscriber, CallCount] = {}
        self._next_cleanup = 1000

    def add(self, delivery: Delivery) -> None:
        """Count a delivery; outcomes that follow are passed to `add_outcome`."""
        self.events += 1
        for outcome in delivery.outcomes:
            self.add_outcome(outcome)
        if delivery.stopped_by is not None:
            self._of(delivery.stopped_by).stops += 1
        if len(self.counts) > self._next_cleanup:
            self.counts = {subscriber: count for subscriber, count in self.counts.items() if subscriber.alive}
            self._next_cleanup = max(1000, 2 * len(self.counts))

    def add_outcome(self, outcome: Outcome) -> None:
        """Count one call."""
        count = self._of(outcome.subscriber)
        count.calls += 1
        count.errors += outcome.error is not None
        count.latency = outcome.latency if outcome.latency is not None else count.latency

    def _of(self, subscriber: Subscriber) -> CallCount:
        count = self.counts.get(subscriber)
        if count is None:
            count = self.counts[subscriber] = CallCount()
        return count


call_counts: WeakKeyDictionary[Any, CallCounts] = WeakKeyDictionary()
"""The counts by hub, while it is watched."""
