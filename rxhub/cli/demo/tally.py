"""Count the results of the demo.

One thread handles the hub and another shows the counts. The handling thread puts deliveries and values into a queue,
and `take` counts them in the thread that shows them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic

from reactivex import Observable

from rxhub import Delivery, EventHub, Subscriber

__all__ = ["News", "Row", "Run", "Step", "Tally"]

_KEPT = 200
"""Number of deliveries, and of values of each pipeline, that are kept."""
_RATE_OVER = 2.0
"""Seconds over which the rate is measured."""


@dataclass
class Row:
    """One subscriber and its counts.

    Attributes:
        pipeline: whether it is an Rx pipeline instead of a callback.
        seconds: the total time of its calls.
        last_error: empty without an error.
    """

    name: str
    priority: float
    subscription: str
    pipeline: bool
    calls: int = 0
    stops: int = 0
    replies: int = 0
    errors: int = 0
    seconds: float = 0.0
    last_error: str = ""


@dataclass(frozen=True)
class Step:
    """One call in a delivery. `error` is empty if the call succeeded."""

    name: str
    priority: float
    pipeline: bool
    replied: bool
    error: str


@dataclass(frozen=True)
class Run:
    """One delivery: the topic, the calls in order, and the callback that stopped the event, if any."""

    number: int
    topic: str
    steps: tuple[Step, ...]
    stopped_by: str


@dataclass(frozen=True)
class News:
    """A value of a pipeline."""

    pipeline: str
    text: str


class Tally:
    """Counts, and the latest deliveries and values of pipelines.

    Args:
        total: the number of events to play.

    Attributes:
        rows: the subscribers by id, in priority order.
        latest: the latest deliveries and values, in order.
        news: the latest values of each pipeline.
        emitted: the number of values of each pipeline.
        played: the number of published events.
        deliveries: the number of deliveries, including events of callbacks.
        over: whether the hub is closed.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.rows: dict[str, Row] = {}
        self.latest: deque[Run | News] = deque(maxlen=_KEPT)
        self.news: dict[str, deque[str]] = {}
        self.emitted: Counter[str] = Counter()
        self.played = self.deliveries = 0
        self.over = False
        self._seen: SimpleQueue[Delivery | News | int | None] = SimpleQueue()
        self._times: deque[float] = deque()

    def watch(self, hub: EventHub, pipelines: Mapping[str, Observable[str]]) -> None:
        """Subscribe to the hub's deliveries and to the pipelines; the callbacks are subscribed already."""
        names = {subscriber.id: _name_of(subscriber) for subscriber in hub.describe()}
        callbacks = set(names)
        for name, pipeline in pipelines.items():
            self.news[name] = deque(maxlen=_KEPT)
            pipeline.subscribe(lambda text, name=name: self._seen.put(News(name, text)))
            # A pipeline has no name, but it is the subscriber that was just added.
            names = {subscriber.id: names.get(subscriber.id, name) for subscriber in hub.describe()}
        for subscriber in hub.describe():
            self.rows[subscriber.id] = Row(
                names[subscriber.id], subscriber.priority, subscriber.subscription, subscriber.id not in callbacks
            )
        hub.deliveries.subscribe(self._seen.put, on_completed=lambda: self._seen.put(None))

    def published(self) -> None:
        """Count one published event. Thread-safe."""
        self._seen.put(1)

    def take(self, timeout: float = 0.0) -> list[Run | News]:
        """Count and return the deliveries and values since the last call.

        Args:
            timeout: seconds to wait if there are none.
        """
        taken: list[Run | News] = []
        # Limited, so that the view is refreshed even if the hub is fast.
        while not self.over and len(taken) < _KEPT:
            try:
                seen = self._seen.get(timeout > 0 and not taken, timeout or None)
            except Empty:
                break
            if seen is None:
                self.over = True
            elif isinstance(seen, Delivery):
                taken.append(self._run(seen))
            elif isinstance(seen, int):
                self.played += seen
            else:
                self.news[seen.pipeline].append(seen.text)
                self.emitted[seen.pipeline] += 1
                taken.append(seen)
        self.latest.extend(taken)
        return taken

    @property
    def rate(self) -> float:
        """Deliveries per second, over the last two seconds."""
        while self._times and self._times[0] < monotonic() - _RATE_OVER:
            self._times.popleft()
        return len(self._times) / _RATE_OVER

    def _run(self, delivery: Delivery) -> Run:
        self.deliveries += 1
        self._times.append(monotonic())
        steps: list[Step] = []
        for outcome in delivery:
            row = self.rows[outcome.subscriber.id]
            error = "" if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}"
            replied = outcome.result is not None
            row.calls += 1
            row.replies += replied
            row.errors += bool(error)
            row.seconds += outcome.latency or 0.0
            row.last_error = error or row.last_error
            steps.append(Step(row.name, row.priority, row.pipeline, replied, error))
        stopped_by = ""
        if delivery.stopped_by is not None:
            row = self.rows[delivery.stopped_by.id]
            row.stops += 1
            stopped_by = row.name
        return Run(self.deliveries, delivery.event.topic, tuple(steps), stopped_by)


def _name_of(subscriber: Subscriber) -> str:
    return getattr(subscriber.callback, "__name__", subscriber.id)
