"""What a plan for many machines reckons with: memory a client, processor time an event, bytes an event, by themselves.

Nothing here is compared: each figure is what one thing more costs, a client, a subscriber, an event, an id. Processor
time and memory are those of the server's process, as the kernel tells them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep
from uuid import uuid4

from nats.aio.msg import Msg

from rxhub.embedded import store
from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.ordered_consumer import OrderedConsumer
from rxhub.transport.nats.publishing import MESSAGE_ID
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import ensure_stream, stream_config
from tests.benchmarks.clients import (
    ID,
    Process,
    event,
    masked,
    processor_ns,
    receive,
    resident,
    subscribe,
    unmasked,
)
from tests.benchmarks.measure import Row
from tests.nats_server import Cluster, nats_cluster

__all__ = ["run"]

_CLIENTS = 1_000
_FURTHER = 10
_REACHED = 200
_ROUNDS = 30
_BURST = 256
_SETTLE = 0.5

_EVENTS = 40_000
_SYNCED = 10_000
_IDS = 400_000
_IN_FLIGHT = 256
_LIMIT = 60.0
_SMALL, _KB = 100, 1_000


def run() -> list[Row]:
    """The event server, then NATS."""
    rows = [*_event_server(), asyncio.run(_fsync_always())]
    with nats_cluster() as cluster:
        rows += _joined(cluster.nodes[0].url, cluster.user, cluster.password)
        return [*rows, *asyncio.run(_by_default(cluster))]


def _event_server() -> list[Row]:
    with Process("event_server") as server:
        for _ in range(50):
            server.client()
        empty = _settled(server.pid)
        clients = [server.client() for _ in range(_CLIENTS)]
        for number, client in enumerate(clients):
            subscribe(client, f"{number}-0", f"topic=scale.{number}.0")
        one = _settled(server.pid)
        for number, client in enumerate(clients):
            for each in range(1, 1 + _FURTHER):
                subscribe(client, f"{number}-{each}", f"topic=scale.{number}.{each}")
        eleven = _settled(server.pid)
        for number, client in enumerate(clients[:_REACHED]):
            subscribe(client, f"{number}-all", "topic=scale.all")
        publisher = server.client()

        def cost(topic: str, count: int) -> float:
            packet = event(topic)
            acknowledged = len(unmasked('6:::1+[{"success":true}]'))

            def once() -> float:
                before = server.processor_ns()
                publisher.sendall(masked(f"5:1+::{packet}"))
                receive(publisher, acknowledged)
                for client in clients[:count]:
                    receive(client, len(unmasked(f"5:::{packet}")))
                return server.processor_ns() - before

            return median([once() for _ in range(_ROUNDS)])

        further = (cost("scale.all", _REACHED) - cost("scale.0.0", 1)) / (_REACHED - 1)
    return [
        Row("server: a client that is connected and has one subscription", (one - empty) / _CLIENTS, unit="B"),
        Row("server: each further subscription", (eleven - one) / _CLIENTS / _FURTHER, unit="B"),
        Row("server: each further client that an event of 1 KB goes to", further),
    ]


async def _fsync_always() -> Row:
    with ExitStack() as stack:
        server = stack.enter_context(store(stack.enter_context(TemporaryDirectory())))
        pid = server.pid
        assert pid is not None
        async with _linked(server.url, server.user, server.password) as link:
            await _create(link, "always", 1)
            (stored,) = await _cost([pid], _SYNCED, lambda: _publish(link, "always", _SYNCED, _KB, ids=True))
        return Row("NATS, one replica, fsync always: an event stored", stored)


def _joined(url: str, user: str, password: str) -> list[Row]:
    """Two servers on one stream: what an event costs that which it was published at, and those that read it."""
    plane = (url, user, password, "joined")
    with Process("event_server", *plane) as one, Process("event_server", *plane) as other:
        publisher, reader, refusing = one.client(), other.client(), other.client()
        subscribe(reader, "reader", "topic=scale.read")
        subscribe(refusing, "refusing", "topic=scale.passed and data.name=nobody")
        subscribe(refusing, "last", "topic=scale.last")
        last = event("scale.last")

        def cost(topic: str, process: Process, is_read: bool) -> float:
            packet = event(topic)
            # Each event has an id of its own, or the stream would store one of them.
            packets = [each.replace(ID, uuid4().hex) for each in [packet] * _BURST + [last]]
            frames = b"".join(masked(f"5:{number}+::{each}") for number, each in enumerate(packets, 1))
            answers = sum(len(unmasked(f'6:::{number}+[{{"success":true}}]')) for number in range(1, len(packets) + 1))
            before = process.processor_ns()
            publisher.sendall(frames)
            receive(publisher, answers)
            if is_read:
                receive(reader, _BURST * len(unmasked(f"5:::{packet}")))
            receive(refusing, len(unmasked(f"5:::{last}")))
            return (process.processor_ns() - before) / _BURST

        def usual(topic: str, process: Process, is_read: bool = False) -> float:
            return median([cost(topic, process, is_read) for _ in range(_ROUNDS)])

        return [
            Row("server on a stream: an event published there, stored, acknowledged", usual("scale.unread", one)),
            Row("server on a stream: an event read, for one client", usual("scale.read", other, is_read=True)),
            Row("server on a stream: an event read, for nobody by its data", usual("scale.passed", other)),
        ]


async def _by_default(cluster: Cluster) -> list[Row]:
    pids = [node.process.pid for node in cluster.nodes if node.process is not None]
    async with _linked(cluster.nodes[0].url, cluster.user, cluster.password) as link:
        grown: list[float] = []
        for name, ids in (("warm", True), ("plain", False), ("known", True)):
            await _create(link, name, 1)
            keeper = pids[cluster.leader(name)]
            await _publish(link, name, _EVENTS, _SMALL, ids=ids)
            before = _settled(keeper)
            await _publish(link, name, _IDS, _SMALL, ids=ids)
            grown.append((_settled(keeper) - before) / _IDS)

        async def both(name: str, replicas: int) -> tuple[list[float], list[float], int]:
            await _create(link, name, replicas)
            leader = cluster.leader(name)
            await _publish(link, name, _EVENTS, _KB, ids=True)
            stored = await _cost(pids, _EVENTS, lambda: _publish(link, name, _EVENTS, _KB, ids=True))
            return stored, await _cost(pids, _EVENTS, lambda: _read(link, name, _EVENTS)), leader

        one, _, keeper = await both("one", 1)
        three, read, leader = await both("three", 3)
        written = sum(file.stat().st_size for file in cluster.nodes[leader].folder.rglob("three/**/*.blk"))
        followers = [cost for n, cost in enumerate(three) if n != leader]
    return [
        Row("NATS: memory for an id, as long as it is known", grown[2] - grown[1], unit="B"),
        Row("NATS: disk for an event of 1,000 bytes, a replica", written / _EVENTS / 2, unit="B"),
        Row("NATS, one replica: an event stored", one[keeper]),
        Row("NATS, three replicas: an event stored, at the leader", three[leader]),
        Row("the same, at each follower", sum(followers) / len(followers)),
        Row("the same, each time that it is read, all nodes together", sum(read)),
    ]


@asynccontextmanager
async def _linked(url: str, user: str, password: str) -> AsyncGenerator[ReconnectingClient]:
    link = ReconnectingClient(NatsOptions(url, user, password))
    await link.start()
    try:
        yield link
    finally:
        await link.close()


def _settled(pid: int) -> int:
    sleep(_SETTLE)
    return resident(pid)


async def _cost(pids: list[int], count: int, work: Callable[[], Awaitable[None]]) -> list[float]:
    """Processor time of each process for one of so many things."""
    before = [processor_ns(pid) for pid in pids]
    await work()
    return [(processor_ns(pid) - was) / count for pid, was in zip(pids, before, strict=True)]


async def _create(link: ReconnectingClient, name: str, replicas: int) -> None:
    while True:
        # A cluster that has just begun has no leader for moments.
        with suppress(HubConnectionError, StreamError):
            await ensure_stream(link, stream_config(name, replicas=replicas))
            return


async def _publish(link: ReconnectingClient, name: str, count: int, size: int, *, ids: bool) -> None:
    """Store so many events, some hundreds of them under way."""
    line = await link.ready()
    under_way = asyncio.Semaphore(_IN_FLIGHT)

    async def stored(message: Msg) -> None:
        assert b'"error"' not in message.data, message.data
        under_way.release()

    inbox = line.inbox()
    end = await line.subscribe(inbox, stored)
    payload = b"x" * size
    for number in range(count):
        await under_way.acquire()
        headers = {MESSAGE_ID: uuid4().hex} if ids else None
        await line.client.publish(f"{name}.event.scale.{number % 100}", payload, inbox, headers)
    for _ in range(_IN_FLIGHT):
        await under_way.acquire()
    await end()


async def _read(link: ReconnectingClient, name: str, count: int) -> None:
    """Read so many events from the beginning."""
    all_read = asyncio.Event()
    left = count

    def take(message: Message) -> None:
        nonlocal left
        left -= 1
        reading.done()
        if not left:
            all_read.set()

    reading = OrderedConsumer(name, take, lambda: [f"{name}.event.>"], start=0)
    link.attach(reading)
    async with asyncio.timeout(_LIMIT):
        await all_read.wait()
    await link.detach(reading)


if __name__ == "__main__":
    from tests.benchmarks.measure import table

    print(table(run()))
