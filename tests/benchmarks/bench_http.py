"""Events over HTTP: processor time of the server's process, beside bare Starlette endpoints.

Requests are built before, and responses are only counted. Servers run in processes of their own, whose processor time
the kernel tells in nanoseconds.
"""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack

from tests.benchmarks.clients import Process, event, receive
from tests.benchmarks.measure import Row, at_most, compare

__all__ = ["run"]

_BATCH = 100
_BATCHES = 5
_READERS = 100
_EVENTS = 20
_ROUNDS = 40


def run() -> list[Row]:
    """Batches of 100 events, and streams to 100 readers."""
    with ExitStack() as stack:
        bare, bare_streams = (stack.enter_context(Process("bare_http")) for _ in range(2))
        ours, streams = (stack.enter_context(Process("event_server")) for _ in range(2))
        return [
            compare(
                "POST of 100 events of 1 KB, per event",
                _Publishing(ours, "/api/events"),
                _Publishing(bare, "/publish"),
                at_most(1.5),
                peer_name="bare Starlette",
                rounds=_ROUNDS,
            ),
            compare(
                "Server-Sent Events to 100 readers, per event and reader",
                _Streaming(streams, "/api/events", "/api/events?subscription=topic%3Dbench"),
                _Streaming(bare_streams, "/forward", "/stream"),
                at_most(1.5),
                peer_name="bare Starlette",
                rounds=_ROUNDS,
            ),
        ]


def _connected(process: Process) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", process.port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _head(process: Process, request: str, *lines: str) -> bytes:
    credentials = [f"Authorization: Bearer {':'.join(process.credentials)}"] if process.credentials else []
    return "\r\n".join([f"{request} HTTP/1.1", "Host: 127.0.0.1", *credentials, *lines, "", ""]).encode()


def _post(process: Process, path: str, count: int) -> bytes:
    one = json.loads(event("bench"))["args"][0]
    body = json.dumps([one] * count).encode()
    return _head(process, f"POST {path}", "Content-Type: application/json", f"Content-Length: {len(body)}") + body


def _response(connection: socket.socket) -> int:
    """Read a response, and return its length."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65_536)
    head, _, body = text.partition(b"\r\n\r\n")
    assert b" 202 " in head, text
    length = re.search(rb"(?i)content-length: (\d+)", head)
    rest = (int(length[1]) if length is not None else 0) - len(body)
    receive(connection, rest)
    return len(text) + rest


class _Publishing:
    """Batches, one after the other; a sampler of processor time."""

    def __init__(self, process: Process, path: str) -> None:
        self._process = process
        self._request = _post(process, path, _BATCH)
        self._connection = _connected(process)
        self._connection.sendall(self._request)
        self._length = _response(self._connection)

    def __call__(self) -> float:
        before = self._process.processor_ns()
        for _ in range(_BATCHES):
            self._connection.sendall(self._request)
            receive(self._connection, self._length)
        return (self._process.processor_ns() - before) / _BATCH / _BATCHES


class _Streaming:
    """Events to many readers; a sampler of processor time."""

    def __init__(self, process: Process, publish: str, stream: str) -> None:
        self._process = process
        self._request = _post(process, publish, 1)
        self._publisher = _connected(process)
        self._readers = [_connected(process) for _ in range(_READERS)]
        for reader in self._readers:
            reader.sendall(_head(process, f"GET {stream}"))
            text = b""
            # Ours begins with a heartbeat.
            while b"\r\n\r\n" not in text or (process.credentials and b":\n\n" not in text):
                text += reader.recv(65_536)
        self._frame = 0
        self._publisher.sendall(self._request)
        self._length = _response(self._publisher)
        self._frame = self._first_frame()

    def _first_frame(self) -> int:
        """The length of a frame with its chunk."""
        lengths: set[int] = set()
        for reader in self._readers:
            text = b""
            while not text.endswith(b"\n\n\r\n"):
                text += reader.recv(65_536)
            lengths.add(len(text))
        (length,) = lengths
        return length

    def __call__(self) -> float:
        before = self._process.processor_ns()
        for _ in range(_EVENTS):
            self._publisher.sendall(self._request)
            receive(self._publisher, self._length)
            for reader in self._readers:
                receive(reader, self._frame)
        return (self._process.processor_ns() - before) / _EVENTS / _READERS


if __name__ == "__main__":
    from tests.benchmarks.measure import table

    print(table(run()))
