"""Metrics of hubs, groups and bridges for Prometheus; install the extra `metrics`.

    from prometheus_client import start_http_server
    from rxhub.telemetry import metrics

    metrics.enable()
    start_http_server(9100)

`rxhub work --metrics PORT` and the server's `/metrics` do so themselves. Topics are counted by family: their first two
segments, for the first 100 families, and `other` for all further ones.

With `PROMETHEUS_MULTIPROC_DIR` in the environment, several processes share their metrics through files in that
directory, as prometheus-client does; `exposition(directory=…)` returns their sum.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Event as Flag
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, Literal

from rxhub.concurrency.fork import ForkSafeLock, run_after_fork
from rxhub.telemetry import counts
from rxhub.telemetry.counts import Durations, EventCounts, TopicCounts
from rxhub.text.extras import missing_dependency

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, values
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.multiprocess import (
        MultiProcessCollector,
        mark_process_dead,  # pyright: ignore[reportUnknownVariableType]
    )
    from prometheus_client.registry import Collector
    from prometheus_client.values import MultiProcessValue  # pyright: ignore[reportUnknownVariableType]
except ModuleNotFoundError as error:
    raise missing_dependency(error, "rxhub.telemetry.metrics", "metrics") from None

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["collect", "disable", "enable", "exposition", "process_ended", "share_as"]

_UPDATE_INTERVAL_S = 1.0
# Measuring each event would cost a tenth of its dispatch. At 20 events a second and fewer, each is measured.
_MEASURE_INTERVAL_S = 0.05
_MAX_READINGS = 20
_READING_DELAY_S = 0.01
_BY_TOPIC: Final = {
    "published": (
        "rxhub_events_published",
        "Events that an outbox, an inbox or a synchronous call has taken.",
    ),
    "received": ("rxhub_events_received", "Events that hubs have passed to their subscribers."),
    "replayed": ("rxhub_events_replayed", "Stored events that replays have passed to their observers."),
    "dropped": ("rxhub_events_dropped", "Events that a full inbox has dropped or rejected."),
    "refused": ("rxhub_events_refused", "Events that were not published because an outbox or inbox was full."),
    "failed": ("rxhub_callbacks_failed", "Callbacks of subscribers that have failed."),
}
_DURATIONS: Final = {
    "dispatching": (
        "rxhub_dispatch_seconds",
        "How long all callbacks of an event took; measured up to 20 times a second.",
    ),
    "inbox_wait": ("rxhub_inbox_wait_seconds", "How long an item waits in the inbox; measured once a second."),
    "publishing": (
        "rxhub_publish_seconds",
        "Time until a published event is accepted; measured up to 20 times a second.",
    ),
}
_RESULTS: Final = {
    "handled": "Events of a group whose handler has succeeded.",
    "failed": "Failed attempts to handle an event of a group.",
    "retried": "Failed attempts that are followed by another one.",
    "dead": "Events that became dead letters.",
    "skipped": "Events that do not match the subscription, or that were handled before (`once=True`).",
    "expired": "Events that the stream deleted before they were handled.",
}
_GROUP_DURATIONS: Final = {
    "running": ("rxhub_processing_seconds", "How long handlers of a group ran."),
    "waiting": ("rxhub_processing_wait_seconds", "From storing an event until its handler started."),
}
_BRIDGE: Final = {
    "read": "Events that a bridge has received.",
    "stored": "Events of a bridge that the target has stored.",
    "lost": "Events that a bridge could not forward; markers cover them.",
    "duplicates": "Events that a bridge received again.",
    "gaps": "Markers of gaps that a bridge has stored.",
}
# Those of the whole group are the same in each process, so several processes report the greatest.
_LEVELS: Final[Mapping[str, tuple[str, str, Literal["livesum", "livemax"]]]] = {
    "inbox_events": ("Events that wait in inboxes.", "", "livesum"),
    "outbox_events": ("Published events that the server has not accepted yet.", "", "livesum"),
    "hubs": ("Open hubs.", "", "livesum"),
    "hubs_reconnecting": ("Hubs that have lost their connection.", "", "livesum"),
    "processing_in_progress": (
        "Events that handlers of this process work on, or that wait for one.",
        "group",
        "livesum",
    ),
    "group_waiting": ("The lag: events that no process of the group has received yet.", "group", "livemax"),
    "group_pending": ("Events that processes of the group have received and not finished.", "group", "livemax"),
    "group_redelivered": ("Pending events that were delivered more than once.", "group", "livemax"),
    "bridge_waiting": ("Events that a bridge has forwarded and the target has not stored yet.", "bridge", "livesum"),
}


class _Durations(Histogram):
    """A histogram that takes many measurements at once."""

    def add(self, buckets: Iterable[int], total_s: float) -> None:
        values: Any = self
        for bucket, count in zip(values._buckets, buckets, strict=True):
            if count:
                bucket.inc(count)
        values._sum.inc(total_s)


class _Metrics(Collector):
    """Copies counts into prometheus-client's metrics: once a second, and before they are collected."""

    def __init__(self, counting: EventCounts) -> None:
        self.counting = counting
        self._lock = ForkSafeLock()
        self._seen: dict[Any, Any] = {}
        self._by_topic = {key: Counter(name, text, ["topic"], registry=None) for key, (name, text) in _BY_TOPIC.items()}
        self._durations = {key: _histogram(name, text) for key, (name, text) in _DURATIONS.items()}
        self._reconnections = Counter("rxhub_reconnections", "Reconnections of hubs.", registry=None)
        self._results = {
            key: Counter(f"rxhub_processing_{key}", text, ["group", "topic"], registry=None)
            for key, text in _RESULTS.items()
        }
        self._group_durations = {key: _histogram(*texts, ["group"]) for key, texts in _GROUP_DURATIONS.items()}
        self._bridge = {
            key: Counter(f"rxhub_bridge_{key}", text, ["bridge"], registry=None) for key, text in _BRIDGE.items()
        }
        self._levels = {
            key: Gauge(f"rxhub_{key}", text, [label] if label else [], registry=None, multiprocess_mode=mode)
            for key, (text, label, mode) in _LEVELS.items()
        }
        self._labels: set[tuple[str, str]] = {(key, "") for key, (_, label, _) in _LEVELS.items() if not label}

    @property
    def _all(self) -> Iterator[Counter | Gauge | Histogram]:
        for metrics in (self._by_topic, self._durations, self._results, self._group_durations, self._bridge):
            yield from metrics.values()
        yield self._reconnections
        yield from self._levels.values()

    def describe(self) -> Iterator[Metric]:
        for metric in self._all:
            yield from metric.describe()

    def collect(self) -> Iterator[Metric]:
        self.update()
        for metric in self._all:
            yield from metric.collect()

    def update(self) -> None:
        with self._lock:
            self._set_levels()
            counting = self.counting
            for key, metric in self._by_topic.items():
                self._add_topics(metric, getattr(counting, key))
            for key, histogram in self._durations.items():
                self._add_durations(histogram, getattr(counting, key))
            self._reconnections.inc(self._growth("reconnections", counting.reconnections))
            for name, group in counting.groups().items():
                for result, metric in self._results.items():
                    self._add_topics(metric, group.results[result], name)
                for key, histogram in self._group_durations.items():
                    self._add_durations(histogram.labels(name), getattr(group, key))
            for name, bridge in counting.bridges.copy().items():
                for key, metric in self._bridge.items():
                    metric.labels(name).inc(self._growth((key, name), getattr(bridge, key)))

    def _set_levels(self) -> None:
        # One that is gone becomes 0, since files of several processes cannot forget it.
        sums = dict.fromkeys(self._labels, 0.0)
        for source in list(counts.sources):
            for name, value, label in source.levels(self.counting):
                sums[name, label] = sums.get((name, label), 0.0) + value
        self._labels.update(sums)
        for (name, label), value in sums.items():
            gauge = self._levels[name]
            (gauge.labels(label) if label else gauge).set(value)

    def _add_topics(self, metric: Counter, numbers: TopicCounts, *labels: str) -> None:
        for topic, number in numbers.numbers.copy().items():
            if growth := self._growth((id(metric), *labels, topic), number):
                metric.labels(*labels, self.counting.families.of(topic)).inc(growth)

    def _add_durations(self, histogram: _Durations, durations: Durations) -> None:
        buckets, total_s = durations.buckets.copy(), durations.total_s
        before, before_s = self._seen.get(durations, ([0] * len(buckets), 0.0))
        self._seen[durations] = buckets, total_s
        histogram.add([now - then for now, then in zip(buckets, before, strict=True)], total_s - before_s)

    def _growth(self, key: object, number: int) -> int:
        before, self._seen[key] = self._seen.get(key, 0), number
        return number - before


def _histogram(name: str, text: str, labels: Sequence[str] = ()) -> _Durations:
    return _Durations(name, text, labels, buckets=Durations.bounds_s, registry=None)


class _Sampler:
    """Updates metrics once a second, in a thread."""

    def __init__(self, metrics: _Metrics, registry: CollectorRegistry) -> None:
        self.metrics = metrics
        self.registry = registry
        self._stopped = Flag()
        self._thread = Thread(target=self._run, name="rxhub-metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self.registry.unregister(self.metrics)
        self.metrics.update()

    def _run(self) -> None:
        due = monotonic() + _UPDATE_INTERVAL_S
        while not self._stopped.wait(_MEASURE_INTERVAL_S):
            self.metrics.counting.measure_next()
            if (now := monotonic()) >= due:
                due = now + _UPDATE_INTERVAL_S
                self.metrics.update()


_lock = ForkSafeLock()
_sampler: _Sampler | None = None
# In a forked child, the sampler of the parent.
_parents: _Sampler | None = None


def enable(registry: CollectorRegistry = REGISTRY) -> None:
    """Count what the hubs, processings and bridges of this process do from now on.

    Call it before creating them: a processing measures the lag of its group only if metrics were enabled before. A
    second call does nothing.

    Args:
        registry: of prometheus-client. Default: its default registry, which also contains the metrics of your program.
    """
    global _sampler, _parents
    with _lock:
        if _sampler is None:
            if _parents is not None:
                _parents.registry.unregister(_parents.metrics)
                _parents = None
            counting = EventCounts()
            metrics = _Metrics(counting)
            registry.register(metrics)
            counts.activate(counting)
            _sampler = _Sampler(metrics, registry)


def disable() -> None:
    """Count no longer, and remove the metrics from their registry."""
    global _sampler
    with _lock:
        if _sampler is not None:
            counts.activate(None)
            _sampler.stop()
            _sampler = None


def collect() -> Iterator[Metric]:
    """The metrics of this process, for a collector of your own; none while metrics are disabled."""
    if (sampler := _sampler) is not None:
        yield from sampler.metrics.collect()


def exposition(accept: str = "", directory: str | None = None) -> tuple[bytes, str]:
    """The body and the content type of a response to Prometheus.

    Args:
        accept: the request's header `Accept`, which selects the format.
        directory: the `PROMETHEUS_MULTIPROC_DIR` of other processes, whose metrics are returned. Default: the registry
            given to `enable`.
    """
    if directory is not None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, directory)
    else:
        registry = REGISTRY if _sampler is None else _sampler.registry
    encode, content_type = choose_encoder(accept)
    for _ in range(_MAX_READINGS - 1):
        with suppress(struct.error):
            return encode(registry), content_type
        # A process that starts has created a file, and not written its head yet.
        sleep(_READING_DELAY_S)
    return encode(registry), content_type


def share_as(name: str) -> None:
    """Share metrics under a name instead of the process id, before `enable`.

    The successor of a crashed process continues its counters and files under the same name, so restarts add no files.
    Processes that this one forks use their process ids.
    """
    process_id = os.getpid()

    def identifier() -> int | str:
        current = os.getpid()
        return name if current == process_id else current

    # prometheus-client creates all values of this process with this class.
    values.ValueClass = MultiProcessValue(identifier)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]


def process_ended(name: int | str, directory: str) -> None:
    """Forget the queues of a process that has ended, given its id or its name; what it has counted remains."""
    mark_process_dead(name, directory)


def _forked() -> None:
    # The thread is not in the child. The registry may be locked there, so it is left alone until `enable`.
    global _sampler, _parents
    if _sampler is not None:
        _parents, _sampler = _sampler, None
        counts.activate(None)


run_after_fork(_forked)
