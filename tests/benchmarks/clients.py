"""Processes that are measured, and raw clients of the event server, which cost the one who measures next to nothing.

Frames are built before; what comes back is counted in bytes and not looked at. The kernel tells the processor time of a
process in nanoseconds.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
import subprocess
import sys
from pathlib import Path

__all__ = ["ID", "Process", "event", "masked", "processor_ns", "receive", "resident", "subscribe", "unmasked"]

ID = "5640749868a24d43ac75801e8f529a89"
"""The id of `event`."""

_ROOT = Path(__file__).parents[2]


class Process:
    """A server in a process of its own: a module of this folder, and the arguments of its command line."""

    def __init__(self, module: str, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Process:
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

    @property
    def pid(self) -> int:
        return self._process.pid

    def processor_ns(self) -> int:
        """Nanoseconds for which its threads have run."""
        return processor_ns(self.pid)

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
        receive(connection, len(unmasked("1::")))
        return connection


def processor_ns(pid: int) -> int:
    """Nanoseconds for which the threads of a process have run."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def subscribe(connection: socket.socket, identifier: str, subscription: str) -> None:
    """Subscribe a client, and wait until the server says that it is."""
    told = {"topic": "ftrack.meta.subscribe", "data": {"subscriber": {"id": identifier}, "subscription": subscription}}
    connection.sendall(masked(f"5:1+::{json.dumps({'name': 'ftrack.event', 'args': [told]})}"))
    receive(connection, len(unmasked('6:::1+[{"success":true}]')))


def event(topic: str) -> str:
    """An event of 1 KB as a Socket.IO packet has it, without its number."""
    sent = {
        "topic": topic,
        "id": ID,
        "data": {"name": "bench", "text": "x" * 700},
        "source": {"id": "0908e80e71bb43f5937c63d9e688d33f", "user": {"username": "rxhub"}, "host": "ws-042.local"},
        "target": "",
        "sent": None,
        "inReplyToEvent": None,
    }
    # As a server writes it that has read the event from a stream.
    return f'{{"name":"ftrack.event","args":[{json.dumps(sent)}]}}'


def masked(text: str) -> bytes:
    """A frame of a client; with a mask of zeros, the payload stays as it is."""
    payload = text.encode()
    return _head(len(payload), 0x80) + bytes(4) + payload


def unmasked(text: str) -> bytes:
    """A frame of a server."""
    payload = text.encode()
    return _head(len(payload), 0) + payload


def _head(size: int, mask: int) -> bytes:
    return bytes((0x81, mask | size)) if size < 126 else struct.pack("!BBH", 0x81, mask | 126, size)


def receive(connection: socket.socket, size: int) -> None:
    """Read so many bytes."""
    while size:
        size -= len(connection.recv(min(size, 65_536)))
