"""A minimal client with HTTP and a WebSocket, controlled by the test."""

from __future__ import annotations

import json
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from websockets.sync.client import ClientConnection, connect

from rxhub.server import Running

__all__ = ["Wire", "answer", "frame", "opened", "packet", "request", "wire"]


def request(server: Running, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str, Mapping[str, str]]:
    """Status, body and headers of a GET."""
    asked = urllib.request.Request(server.url + path, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def credentials(server: Running) -> dict[str, str]:
    return {"ftrack-user": server.api_user, "ftrack-api-key": server.api_key}


def packet(topic: str, data: Any = None, number: int | None = 1, **fields: Any) -> str:
    """An event packet."""
    event = {"topic": topic, "data": data, **fields}
    id = "" if number is None else f"{number}+"
    return f"5:{id}::{json.dumps({'name': 'ftrack.event', 'args': [event]})}"


def answer(text: str) -> tuple[int, dict[str, Any]]:
    """The id and the object of an acknowledgement."""
    assert text.startswith("6:::"), text
    number, _, data = text[4:].partition("+")
    (only,) = json.loads(data)
    return int(number), only


class Wire:
    """An accepted WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        assert self.receive() == "1::"

    def send(self, text: str | bytes) -> None:
        self.connection.send(text)

    def receive(self, timeout: float = 20) -> str:
        """The next packet except heartbeats."""
        end = monotonic() + timeout
        while True:
            # Heartbeats come all the time.
            text = self.connection.recv(end - monotonic())
            assert isinstance(text, str)
            if text != "2::":
                return text
            self.connection.send("2::")

    def event(self) -> dict[str, Any]:
        """The next packet, which is an event."""
        text = self.receive()
        assert text.startswith("5:::{"), text
        payload = json.loads(text[4:])
        assert payload["name"] == "ftrack.event"
        (event,) = payload["args"]
        return event

    def do(self, topic: str, data: Any = None, **fields: Any) -> dict[str, Any]:
        """Publish, and wait for the acknowledgement, which must be the next packet."""
        self.send(packet(topic, data, **fields))
        return answer(self.receive())[1]

    def subscribe(self, subscription: str, id: str = "me", **metadata: Any) -> dict[str, Any]:
        return self.do("ftrack.meta.subscribe", {"subscriber": {"id": id, **metadata}, "subscription": subscription})


@contextmanager
def wire(server: Running, headers: Mapping[str, str] | None = None) -> Iterator[Wire]:
    """Shake hands and connect."""
    status, line, _ = request(server, "/socket.io/1/", headers or credentials(server))
    assert status == 200, line
    sid = line.split(":")[0]
    with connect(socket_url(server, sid), compression=None, close_timeout=1, max_size=None, proxy=None) as connection:
        yield Wire(connection)


def socket_url(server: Running, sid: str, query: str = "") -> str:
    return f"ws{server.url[4:]}/socket.io/1/websocket/{sid}{query}"


def raw(server: Running, window: int | None = None) -> socket.socket:
    """A TCP connection; its window is set before it connects, since a kernel loses acknowledgements when it shrinks."""
    host, _, port = server.url.rpartition("/")[2].rpartition(":")
    connection = socket.socket()
    if window is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.settimeout(20)
    connection.connect((host, int(port)))
    return connection


def opened(server: Running, window: int | None = None) -> socket.socket:
    """An accepted WebSocket, frame by frame. The responses to its opening are not read yet."""
    sid = request(server, "/socket.io/1/", credentials(server))[1].split(":")[0]
    connection = raw(server, window)
    connection.sendall(
        f"GET /socket.io/1/websocket/{sid} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    while b"1::" not in connection.recv(4_096, socket.MSG_PEEK):
        pass
    return connection


def frame(text: str) -> bytes:
    """A text of less than 64 KiB as a client's frame."""
    payload = text.encode()
    return struct.pack("!BBH", 0x81, 0x80 | 126, len(payload)) + bytes(4) + payload
