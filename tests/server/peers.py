"""Real clients, with the same methods: ftrack's in Python and JavaScript, and Socket.IO
0.9's."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Queue
from typing import Any, Protocol
from uuid import uuid4

import ftrack_api.event.base
import ftrack_api.event.hub

from rxhub.server import Running
from tests.threads import LIMIT, until

__all__ = ["PEERS", "NodeClient", "Peer", "PythonClient"]


class Peer(Protocol):
    """A client."""

    received: list[Mapping[str, Any]]

    def connect(self) -> None: ...
    def connected(self) -> bool: ...
    def subscribe(self, subscription: str, reply: Any = None) -> str: ...
    def unsubscribe(self, identifier: str) -> None: ...
    def publish(self, topic: str, data: Any) -> None: ...
    def ask(self, topic: str, data: Any) -> Any: ...
    def disconnect(self) -> None: ...
    def close(self) -> None: ...


class PythonClient:
    """`ftrack_api.event.hub.EventHub`, whose events a thread handles."""

    def __init__(self, server: Running, folder: Path | None = None, *, key: str | None = None) -> None:
        self.hub: Any = ftrack_api.event.hub.EventHub(server.url, server.api_user, key or server.api_key)
        self.hub._auto_reconnect_delay = 0.1
        self.received: list[Mapping[str, Any]] = []
        self._done = threading.Event()
        self._handler = threading.Thread(target=self._handle, daemon=True)

    def _handle(self) -> None:
        while not self._done.is_set():
            self.hub.wait(0.05)

    def connect(self) -> None:
        self.hub.connect()
        if not self._handler.is_alive():
            self._handler = threading.Thread(target=self._handle, daemon=True)
            self._handler.start()

    def connected(self) -> bool:
        # Its thread may have ended while it still says so.
        return bool(self.hub.connected and self.hub._processor_thread.is_alive())

    def subscribe(self, subscription: str, reply: Any = None) -> str:
        def callback(event: Mapping[str, Any]) -> Any:
            self.received.append(event)
            return reply

        return self.hub.subscribe(subscription, callback)

    def unsubscribe(self, identifier: str) -> None:
        self.hub.unsubscribe(identifier)

    def publish(self, topic: str, data: Any) -> None:
        self.hub.publish(ftrack_api.event.base.Event(topic, data=data))

    def ask(self, topic: str, data: Any) -> Any:
        replies: Queue[Mapping[str, Any]] = Queue()
        self.hub.publish(ftrack_api.event.base.Event(topic, data=data), on_reply=replies.put)
        return replies.get(timeout=LIMIT)["data"]

    def disconnect(self) -> None:
        self._done.set()
        if self._handler.is_alive():
            self._handler.join(LIMIT)
        self._done.clear()
        if self.hub.connected:
            self.hub.disconnect()

    def close(self) -> None:
        self.disconnect()


class NodeClient:
    """A JavaScript client in a separate process, controlled by one line per command."""

    script = ""

    def __init__(self, server: Running, folder: Path, *, key: str | None = None) -> None:
        self.received: list[Mapping[str, Any]] = []
        self._answers: Queue[Mapping[str, Any]] = Queue()
        self._process = subprocess.Popen(
            ["node", "--no-deprecation", self.script, server.url, server.api_user, key or server.api_key],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "event" in told:
                self.received.append(told["event"])
            else:
                self._answers.put(told)

    def _do(self, command: str, **options: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **options}) + "\n")
        self._process.stdin.flush()
        answer = self._answers.get(timeout=LIMIT)
        assert answer["done"] == command
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def connect(self) -> None:
        self._do("connect")
        until(self.connected)

    def connected(self) -> bool:
        return self._do("connected")

    def subscribe(self, subscription: str, reply: Any = None) -> str:
        return self._do("subscribe", subscription=subscription, id=uuid4().hex, reply=reply)

    def unsubscribe(self, identifier: str) -> None:
        self._do("unsubscribe", id=identifier)

    def publish(self, topic: str, data: Any) -> None:
        self._do("publish", topic=topic, data=data)

    def ask(self, topic: str, data: Any) -> Any:
        return self._do("ask", topic=topic, data=data)

    def disconnect(self) -> None:
        self._do("disconnect")

    def kill(self) -> None:
        """Drop the connection without closing it."""
        self._process.kill()

    def close(self) -> None:
        with self._process:
            self._process.kill()
        self._reader.join(LIMIT)


class FtrackJavaScriptClient(NodeClient):
    """npm `@ftrack/api` with `ws`."""

    script = "ftrack.js"


class SocketIoClient(NodeClient):
    """npm `socket.io-client` 0.9."""

    script = "socketio.js"


PEERS: dict[str, Callable[..., Any]] = {
    "ftrack-python-api": PythonClient,
    "@ftrack/api": FtrackJavaScriptClient,
    "socket.io-client 0.9": SocketIoClient,
}
