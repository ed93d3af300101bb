"""The statistics of a server for Prometheus, with those of its process and its hubs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rxhub.server.counters import COUNTERS, GAUGES
from rxhub.telemetry import metrics

__all__ = ["ServerMetrics"]

_PREFIX = "rxhub_server_"


class ServerMetrics(Collector):
    """What `/metrics` of one server returns. `stats` returns its statistics, see `rxhub.server.counters`."""

    def __init__(self, stats: Callable[[], Mapping[str, float]]) -> None:
        self._stats = stats
        # Not the default registry: a process may run several servers, and users may not see metrics of an application.
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that the registry does not collect to learn the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        for name, meaning in COUNTERS.items():
            if name in stats:  # some belong to a backplane
                yield CounterMetricFamily(f"{_PREFIX}{name}", meaning, value=stats[name])
        for name, meaning in GAUGES.items():
            if name in stats:
                yield GaugeMetricFamily(f"{_PREFIX}{name}", meaning, value=stats[name])
        yield from metrics.collect()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The body and the content type of a response, in the best format that the client accepts."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
