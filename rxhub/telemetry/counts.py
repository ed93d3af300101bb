"""EventCounts of the events of this process, in plain Python: nothing here waits, locks or imports prometheus-client.

`active` is None until `rxhub.telemetry.metrics.enable` sets it. Code that counts checks it once per event:

    if (counting := counts.active) is not None:
        counting.published.add(event.topic)

Numbers only grow, so a reader can copy them at any time. Each is changed by one instruction without a call in it, which
no other thread interrupts. Without a GIL, a rare race may lose a count.
"""

# The private fields of an event are read for each event, and a property would cost as much as the rest.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from concurrent.futures import Future
from time import perf_counter
from typing import NamedTuple, Protocol
from weakref import WeakSet

from rxhub.event import Event

__all__ = [
    "METRICS_VARIABLE",
    "OTHER",
    "PROCESSING_RESULTS",
    "PROCESS_VARIABLE",
    "BridgeCounts",
    "Durations",
    "EventCounts",
    "Families",
    "GroupCounts",
    "Level",
    "Source",
    "TopicCounts",
    "activate",
    "active",
    "sources",
]

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable of prometheus-client with the directory that processes share."""

PROCESS_VARIABLE = "RXHUB_METRICS_PROCESS"
"""The environment variable with the name of a process in that directory; see `rxhub.telemetry.metrics.share_as`."""

OTHER = "other"
"""The family of topics beyond the limits."""

PROCESSING_RESULTS = ("handled", "failed", "retried", "dead", "skipped", "expired")
"""What the processes of a group count; see `hub.process(…).counts`."""

# Each series counts so many topics by name, and further ones by their families.
_MAX_TOPICS = 4_096
_MAX_LENGTH = 100
_MAX_FAMILIES = 100
_FAMILY_SEGMENTS = 2
_BOUNDS_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)


class Families:
    """The family of a topic: its first two segments, for the first 100 families; `other` for all further ones."""

    def __init__(self) -> None:
        self._known: set[str] = {OTHER}

    def of(self, topic: str) -> str:
        family = ".".join(topic[:_MAX_LENGTH].split(".", _FAMILY_SEGMENTS)[:_FAMILY_SEGMENTS])
        if family in self._known:
            return family
        if len(self._known) > _MAX_FAMILIES:
            return OTHER
        # Topics of this process may contain surrogates, which the formats of Prometheus cannot express.
        family = family.encode(errors="replace").decode()
        self._known.add(family)
        return family


class TopicCounts:
    """Numbers by topic, or by family for topics that are long or beyond the first 4,096."""

    __slots__ = ("_families", "numbers")

    def __init__(self, families: Families) -> None:
        self._families = families
        self.numbers: dict[str, int] = {}

    def add(self, topic: object) -> None:
        try:
            self.numbers[topic] += 1  # pyright: ignore[reportArgumentType]
        except (KeyError, TypeError):
            key = OTHER  # events from other programs may have anything as their topic
            if isinstance(topic, str):
                is_named = len(self.numbers) < _MAX_TOPICS and len(topic) <= _MAX_LENGTH
                key = topic if is_named else self._families.of(topic)
            self.numbers[key] = self.numbers.get(key, 0) + 1


class Durations:
    """A histogram of durations in seconds."""

    __slots__ = ("buckets", "total_s")

    bounds_s = _BOUNDS_S

    def __init__(self) -> None:
        self.buckets = [0] * (len(_BOUNDS_S) + 1)  # the last one is beyond all bounds
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(_BOUNDS_S, seconds)] += 1
        self.total_s += seconds


class GroupCounts:
    """What this process counts for one group.

    Attributes:
        results: by the names in `PROCESSING_RESULTS`.
        running: how long handlers ran.
        waiting: the time from storing an event until its handler started, by the clocks of NATS and of this machine;
            of one event of each batch of results, and at low rates of each event.
    """

    def __init__(self, families: Families) -> None:
        self.results = {name: TopicCounts(families) for name in PROCESSING_RESULTS}
        self.running = Durations()
        self.waiting = Durations()


class BridgeCounts(NamedTuple):
    """What the bridges of one name have counted; see `rxhub.bridge.tracker.Counts`."""

    read: int = 0
    stored: int = 0
    lost: int = 0
    duplicates: int = 0
    gaps: int = 0


class Level(NamedTuple):
    """A number that rises and falls, such as the length of a queue. The levels of all sources are added up."""

    name: str
    value: float
    label: str = ""  # a group or a bridge, for the levels that have one


class Source(Protocol):
    """What has levels, such as a hub."""

    def levels(self, counting: EventCounts) -> Iterable[Level]:
        """The present levels. Called about once a second, in one thread at a time; must not block.

        A source may count here what it does not count at once.
        """
        ...


class EventCounts:
    """What was counted since metrics were enabled.

    Attributes:
        published: events that a transport has taken from a hub.
        received: events that hubs have passed to their subscribers.
        replayed: stored events that replays have passed to their observers.
        failed: callbacks that have failed.
        dropped: events that a full inbox has dropped or rejected.
        refused: publishing calls that raised Overflow.
        dispatching: how long all callbacks of an event took; measured when `measure_next` was called.
        publishing: how long the transport took to accept an event; likewise.
        inbox_wait: how long an item waited in the inbox; measured about once a second.
        reconnections: of hubs.
        bridges: by the name of the bridge.
        families: of all topics.
    """

    def __init__(self) -> None:
        self.families = families = Families()
        self.published = TopicCounts(families)
        self.received = TopicCounts(families)
        self.replayed = TopicCounts(families)
        self.failed = TopicCounts(families)
        self.dropped = TopicCounts(families)
        self.refused = TopicCounts(families)
        self.dispatching = Durations()
        self.inbox_wait = Durations()
        self.publishing = Durations()
        self.reconnections = 0
        self.bridges: dict[str, BridgeCounts] = {}
        self._groups: dict[str, GroupCounts] = {}
        self._measures_publish = self._measures_dispatch = True

    def publish(self, event: Event, accepted: Future[None]) -> None:
        """Count a published event, and measure it until it is accepted if that is due."""
        try:
            self.published.numbers[event._fields["topic"]] += 1
        except (KeyError, TypeError):
            self.published.add(event.get("topic"))
        if self._measures_publish:
            self._measures_publish = False
            started = perf_counter()

            def measure(done: Future[None]) -> None:
                if not done.cancelled() and done.exception() is None:
                    self.publishing.add(perf_counter() - started)

            accepted.add_done_callback(measure)

    def dispatch(self, event: Event) -> float:
        """Count an event that a hub passes to its subscribers; when this began if it is to be measured, otherwise 0."""
        try:
            self.received.numbers[event._fields["topic"]] += 1
        except (KeyError, TypeError):
            self.received.add(event.get("topic"))
        if self._measures_dispatch:
            self._measures_dispatch = False
            return perf_counter()
        return 0.0

    def measure_next(self) -> None:
        """Measure the next published event, and the next one that is dispatched."""
        self._measures_publish = self._measures_dispatch = True

    def group(self, name: str) -> GroupCounts:
        found = self._groups.get(name)
        return self._groups.setdefault(name, GroupCounts(self.families)) if found is None else found

    def groups(self) -> dict[str, GroupCounts]:
        return self._groups.copy()


active: EventCounts | None = None
"""Where events are counted; None while metrics are disabled."""

sources: WeakSet[Source] = WeakSet()
"""The hubs, processings and bridges of this process."""


def activate(counting: EventCounts | None) -> None:
    """Count there from now on, or (None) nowhere."""
    global active
    active = counting
