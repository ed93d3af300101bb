"""The event server: processor time of its process an event, beside a bare uvicorn application.

Frames are built before, and sent in bursts of 32; what comes back is counted in bytes and not looked at. Servers run in
processes of their own, whose processor time the kernel tells in nanoseconds.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.measure import Row, at_most, compare

__all__ = ["run"]

_BURST = 32
_ROUND = 16 * _BURST
_ROUNDS = 40
_ROOT = Path(__file__).parents[2]


def run() -> list[Row]:
    """One event to one subscriber; the same with a thousand clients; window 1 for information."""
    with ExitStack() as stack:
        bare = stack.enter_context(_Process("bare_server"))
        ours, few, many, deep = (stack.enter_context(_Process("event_server")) for _ in range(4))
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


class _Process:
    """A server in a process of its own."""

    def __init__(self, module: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}"], stdout=subprocess.PIPE, text=True, env=environment
        )
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> _Process:
        assert self._process.stdout is not None
        port, *self.credentials = self._process.stdout.readline().split()
        self.port = int(port)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def processor_ns(self) -> int:
        """Nanoseconds for which its threads have run."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())

    def connect(self, path: str) -> socket.socket:
        """A WebSocket, its handshake done."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self._sockets.append(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert b" 101 " in head, head
        return connection

    def client(self) -> socket.socket:
        """A WebSocket to our server, which has said `1::`."""
        user, key = self.credentials
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as shake:
            shake.sendall(
                f"GET /socket.io/1/ HTTP/1.1\r\nHost: 127.0.0.1\r\nftrack-user: {user}\r\nftrack-api-key: {key}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            answer = b""
            while chunk := shake.recv(4096):
                answer += chunk
        sid = answer.partition(b"\r\n\r\n")[2].split(b":")[0].decode()
        connection = self.connect(f"/socket.io/1/websocket/{sid}")
        _receive(connection, len(_unmasked("1::")))
        return connection


class _Load:
    """Events from a publisher, each to one of the clients; a sampler of processor time."""

    def __init__(
        self,
        process: _Process,
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
                payload = _event(topics[place])
                # Our server forwards without the id, the bare one what it got.
                back = f"5:::{payload}" if process.credentials else f"5:{number + 1}+::{payload}"
                frames += _masked(f"5:{number + 1}+::{payload}")
                size = f'6:::{number + 1 if process.credentials else 1}+[{{"success":true}}]'
                acknowledged += len(_unmasked(size))
                expected.append((clients[place // per_client % len(clients)], len(_unmasked(back))))
            self._bursts.append((frames, acknowledged, expected))
        self._repeats = max(1, _ROUND // burst)

    def __call__(self) -> float:
        before = self._process.processor_ns()
        events = 0
        for _ in range(self._repeats):
            frames, acknowledged, expected = self._bursts[self._turn % len(self._bursts)]
            self._turn += 1
            self.publisher.sendall(frames)
            _receive(self.publisher, acknowledged)
            for client, size in expected:
                _receive(client, size)
            events += len(expected)
        return (self._process.processor_ns() - before) / events


def _subscribed(process: _Process, clients: int, subscriptions: int, condition: str = "") -> _Load:
    sockets: list[socket.socket] = []
    topics: list[str] = []
    for number in range(clients):
        connection = process.client()
        for each in range(subscriptions):
            topic = f"bench.{number}.{each}"
            topics.append(topic)
            data = {"subscriber": {"id": f"{number}-{each}"}, "subscription": f"topic={topic}{condition}"}
            event = {"topic": "ftrack.meta.subscribe", "data": data}
            connection.sendall(_masked(f"5:1+::{json.dumps({'name': 'ftrack.event', 'args': [event]})}"))
            _receive(connection, len(_unmasked('6:::1+[{"success":true}]')))
        sockets.append(connection)
    return _Load(process, process.client(), sockets, topics)


def _event(topic: str) -> str:
    event = {
        "topic": topic,
        "id": "5640749868a24d43ac75801e8f529a89",
        "data": {"name": "bench", "text": "x" * 700},
        "source": {"id": "0908e80e71bb43f5937c63d9e688d33f", "user": {"username": "rxhub"}, "host": "ws-042.local"},
        "target": "",
        "sent": None,
        "inReplyToEvent": None,
    }
    return json.dumps({"name": "ftrack.event", "args": [event]})


def _masked(text: str) -> bytes:
    """A frame of a client; with a mask of zeros, the payload stays as it is."""
    payload = text.encode()
    return _head(len(payload), 0x80) + bytes(4) + payload


def _unmasked(text: str) -> bytes:
    payload = text.encode()
    return _head(len(payload), 0) + payload


def _head(size: int, mask: int) -> bytes:
    return bytes((0x81, mask | size)) if size < 126 else struct.pack("!BBH", 0x81, mask | 126, size)


def _receive(connection: socket.socket, size: int) -> None:
    while size:
        size -= len(connection.recv(min(size, 65_536)))


if __name__ == "__main__":
    from tests.benchmarks.measure import table

    print(table(run()))
