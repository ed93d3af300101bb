"""The event server: processor time of its process an event, beside a bare uvicorn application.

Frames are built before, and sent in bursts of 32; what comes back is counted in bytes and not looked at. Servers run in
processes of their own, whose processor time the kernel tells in nanoseconds.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

from tests.benchmarks.clients import Process, event, masked, receive, subscribe, unmasked
from tests.benchmarks.measure import Row, at_most, compare

__all__ = ["run"]

_BURST = 32
_ROUND = 16 * _BURST
_ROUNDS = 40


def run() -> list[Row]:
    """One event to one subscriber; the same with a thousand clients; window 1 for information."""
    with ExitStack() as stack:
        bare = stack.enter_context(Process("bare_server"))
        ours, few, many, deep = (stack.enter_context(Process("event_server")) for _ in range(4))
        peer = _Load(bare, bare.connect("/"), [bare.connect("/sink")])
        one = _subscribed(ours, clients=1, subscriptions=1)
        ten = _subscribed(few, clients=10, subscriptions=10)
        thousand = _subscribed(many, clients=1_000, subscriptions=10)
        reading = _subscribed(deep, clients=1, subscriptions=1, condition=" and data.name=bench")
        return [
            compare(
                "1 event of 1 KB, acknowledged, forwarded to 1 subscriber",
                one,
                peer,
                at_most(2),
                peer_name="bare uvicorn",
                rounds=_ROUNDS,
            ),
            compare(
                "the same, one after the other",
                _Load(ours, one.publisher, one.clients, burst=1),
                _Load(bare, peer.publisher, peer.clients, burst=1),
                peer_name="bare uvicorn",
                rounds=_ROUNDS,
            ),
            compare(
                "the same, where the subscription looks into data",
                reading,
                peer,
                peer_name="bare uvicorn",
                rounds=_ROUNDS,
            ),
            compare(
                "1,000 clients of 10 subscriptions, 1 match an event",
                thousand,
                ten,
                at_most(1.5),
                peer_name="10 clients",
                rounds=_ROUNDS,
            ),
        ]


class _Load:
    """Events from a publisher, each to one of the clients; a sampler of processor time."""

    def __init__(
        self,
        process: Process,
        publisher: socket.socket,
        clients: Sequence[socket.socket],
        topics: Sequence[str] = ("bench.0.0",),
        burst: int = _BURST,
    ) -> None:
        self.publisher = publisher
        self.clients = clients
        self._process = process
        self._turn = 0
        per_client = max(1, len(topics) // len(clients))
        self._bursts: list[tuple[bytes, int, list[tuple[socket.socket, int]]]] = []
        for start in range(0, max(len(topics), burst), burst):
            frames, acknowledged, expected = b"", 0, list[tuple[socket.socket, int]]()
            for number in range(burst):
                place = (start + number) % len(topics)
                payload = event(topics[place])
                # Our server forwards without the id, the bare one what it got.
                back = f"5:::{payload}" if process.credentials else f"5:{number + 1}+::{payload}"
                frames += masked(f"5:{number + 1}+::{payload}")
                size = f'6:::{number + 1 if process.credentials else 1}+[{{"success":true}}]'
                acknowledged += len(unmasked(size))
                expected.append((clients[place // per_client % len(clients)], len(unmasked(back))))
            self._bursts.append((frames, acknowledged, expected))
        self._repeats = max(1, _ROUND // burst)

    def __call__(self) -> float:
        before = self._process.processor_ns()
        events = 0
        for _ in range(self._repeats):
            frames, acknowledged, expected = self._bursts[self._turn % len(self._bursts)]
            self._turn += 1
            self.publisher.sendall(frames)
            receive(self.publisher, acknowledged)
            for client, size in expected:
                receive(client, size)
            events += len(expected)
        return (self._process.processor_ns() - before) / events


def _subscribed(process: Process, clients: int, subscriptions: int, condition: str = "") -> _Load:
    sockets: list[socket.socket] = []
    topics: list[str] = []
    for number in range(clients):
        connection = process.client()
        for each in range(subscriptions):
            topic = f"bench.{number}.{each}"
            topics.append(topic)
            subscribe(connection, f"{number}-{each}", f"topic={topic}{condition}")
        sockets.append(connection)
    return _Load(process, process.client(), sockets, topics)


if __name__ == "__main__":
    from tests.benchmarks.measure import table

    print(table(run()))
