"""What an acknowledgement costs, by where it is stored: one server with fsync always, one without, three replicas.

Wall clock, by a hub, 1 KB events, all on this machine: three nodes share its processors and its disk, which they would
not elsewhere. One after the other is the time until the stream has it; many under way is the time for each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Semaphore
from time import perf_counter_ns

from rxhub import Event, EventHub
from rxhub.embedded import store
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import ensure_stream, stream_config
from tests.benchmarks.measure import Row
from tests.nats_server import nats_cluster

__all__ = ["run"]

_SINGLE = 500
_MANY = 3_000
_ROUNDS = 5
_LIMIT = 60.0
_DATA = {"text": "x" * 700, "entities": [{"entityType": "task", "keys": ["name", "status"]}]}


def run() -> list[Row]:
    """Each place to store in, one after the other."""
    rows: list[Row] = []
    with ExitStack() as stack:
        server = stack.enter_context(store(stack.enter_context(TemporaryDirectory())))
        rows += _measured("1 replica, fsync always", server.url, server.user, server.password, "always")
    with nats_cluster() as cluster:
        for replicas, what in ((1, "1 replica"), (3, "3 replicas")):
            stream = f"replicas-{replicas}"
            asyncio.run(_made(NatsOptions(cluster.url, cluster.user, cluster.password), stream, replicas))
            rows += _measured(what, cluster.url, cluster.user, cluster.password, stream)
    return rows


async def _made(address: NatsOptions, stream: str, replicas: int) -> None:
    link = ReconnectingClient(address)
    await link.start()
    try:
        await ensure_stream(link, stream_config(stream, replicas=replicas))
    finally:
        await link.close()


def _measured(what: str, url: str, user: str, password: str, stream: str) -> list[Row]:
    with _hub(url, user, password, stream) as desk, _hub(url, user, password, stream) as farm, farm.start():
        handled = Semaphore(0)
        farm.subscribe("topic=bench.heard", lambda event: handled.release() and None)
        _publish(desk, "bench.warm", _MANY)
        stored = [_publish(desk, "bench.single", 1) for _ in range(_SINGLE)]
        heard: list[float] = []
        for _ in range(_SINGLE):
            began = perf_counter_ns()
            desk.publish(Event("bench.heard", data=_DATA))
            assert handled.acquire(timeout=_LIMIT)
            heard.append(perf_counter_ns() - began)
        many = [_publish(desk, "bench.many", _MANY) / _MANY for _ in range(_ROUNDS)]
    return [
        Row(f"{what}: one after the other, median", median(stored)),
        Row(f"{what}: one after the other, 99th of 100", quantiles(stored, n=100)[98]),
        Row(f"{what}: from publishing to the handler of another hub", median(heard)),
        Row(f"{what}: each of many under way", median(many)),
    ]


@contextmanager
def _hub(url: str, user: str, password: str, stream: str) -> Iterator[EventHub]:
    with EventHub(url, user, password, stream=stream) as hub:
        hub.connect()
        yield hub


def _publish(hub: EventHub, topic: str, count: int) -> float:
    """Nanoseconds until all of them are stored."""
    events = [Event(topic, data=_DATA) for _ in range(count)]
    began = perf_counter_ns()
    futures = [hub.publish(event) for event in events]
    done, waiting = wait([future for future in futures if future is not None], _LIMIT)
    assert not waiting
    for future in done:
        future.result()
    return perf_counter_ns() - began


if __name__ == "__main__":
    from tests.benchmarks.measure import table

    print(table(run()))
