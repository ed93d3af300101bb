"""Events through a hub and through a group, with metrics enabled beside disabled, in the same process."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter_ns

from prometheus_client import CollectorRegistry

from rxhub import Event, EventHub
from rxhub.telemetry import metrics
from tests.benchmarks.bench_dispatch import callback, fields, subscription
from tests.benchmarks.bench_process import Processing
from tests.benchmarks.jetstream import jetstream
from tests.benchmarks.measure import Row, Sampler, at_most, compare, table

__all__ = ["run"]

_EVENTS = 10_000
_ROUNDS = 40
_GROUP_ROUNDS = 31


class _Dispatch:
    """Publishes events on a hub in memory, and handles them: 100 subscribers, one of which matches."""

    def __init__(self) -> None:
        self._hub = EventHub()
        for number in range(100):
            self._hub.subscribe(subscription(number), callback)

    def __call__(self) -> float:
        hub, events = self._hub, [Event(**fields(number % 100)) for number in range(_EVENTS)]
        began = perf_counter_ns()
        for event in events:
            hub.publish(event)
        hub.drain()
        return (perf_counter_ns() - began) / _EVENTS


def _enabled(sampler: Sampler) -> Callable[[], float]:
    def sample() -> float:
        metrics.enable(CollectorRegistry())
        try:
            return sampler()
        finally:
            metrics.disable()

    return sample


def run() -> list[Row]:
    """All are judged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dispatch = _Dispatch()
        rows = [
            compare(
                "publish and dispatch an event",
                _enabled(dispatch),
                dispatch,
                at_most(1.05),
                peer_name="metrics disabled",
                rounds=_ROUNDS,
            )
        ]
    with ExitStack() as stack:
        server = stack.enter_context(jetstream())
        hub = stack.enter_context(EventHub(server, stream="process"))
        hub.connect()
        processing = Processing(hub, "metrics")
        rows.append(
            compare(
                "process and acknowledge an event of 1 KB",
                _enabled(processing),
                processing,
                at_most(1.05),
                peer_name="metrics disabled",
                rounds=_GROUP_ROUNDS,
            )
        )
    return rows


if __name__ == "__main__":
    print(table(run()))
