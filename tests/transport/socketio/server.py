"""A small event server for the client's tests: real sockets, and nothing that is not needed.

In the test's own process it runs in a thread (`with Server() as server`); as a program of its own, which can be
killed and stopped, by `python -m tests.transport.socketio.server PORT JOURNAL`. The journal has the ids of
all events that it has taken, one a line, each written before it is acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Any, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from rxhub.errors import ProtocolError
from rxhub.expression import compile
from rxhub.transport.socketio.packet import HEARTBEAT, Code, Packet, encode, event
from rxhub.transport.socketio.protocol import PATH, Handshake, ServerSession, SessionState

__all__ = ["Client", "Server"]

_silent = logging.getLogger("tests.server")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Client:
    """One connection: who it is, what it has subscribed to."""

    def __init__(self, socket: ServerConnection, server: Server) -> None:
        self.socket = socket
        self.session = ServerSession()
        self.subscribers: dict[str, tuple[Callable[..., bool], dict[str, Any], str]] = {}
        self.heartbeats = 0
        self._server = server

    async def serve(self) -> None:
        await self.socket.send(self.session.open())
        beating = asyncio.create_task(self._beat())
        try:
            async for text in self.socket:
                await self._take(self.session.receive(text))
        except (ConnectionClosed, ProtocolError):
            pass
        finally:
            self.session.lost()
            beating.cancel()

    async def send(self, text: str) -> None:
        if self.session.state is SessionState.OPEN:
            try:
                await self.socket.send(text)
            except ConnectionClosed:
                pass

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._server.interval)
            if self._server.beats:
                await self.send(self.session.send(HEARTBEAT))

    async def _take(self, packet: Packet) -> None:
        server = self._server
        if packet.code is Code.HEARTBEAT:
            self.heartbeats += 1
        if packet.code is not Code.EVENT:
            return
        payload = json.loads(packet.data)["args"][0]
        if payload["topic"] in server.deadly:
            self.socket.transport.abort()
            return
        refusal = server.take(self, payload)
        if packet.id is not None and server.answers and payload["topic"] not in server.unanswered:
            await self.send(self.session.refuse(packet.id, refusal) if refusal else self.session.accept(packet.id))
        if not payload["topic"].startswith("ftrack.meta.") or payload["topic"] == "ftrack.meta.reply":
            text = encode(event(json.dumps(payload)))
            for client in list(server.clients):
                if client.wants(payload):
                    await client.send(text)

    def wants(self, payload: dict[str, Any]) -> bool:
        target = compile(payload.get("target") or "")
        return any(matches(payload) and target(metadata) for matches, metadata, _ in self.subscribers.values())


class Server:
    """The server.

    Attributes:
        port: where it listens; kept when it is started again.
        taken: the events, in the order in which they came.
        requests: the headers of all handshakes.
    """

    def __init__(self, port: int = 0, journal: Path | None = None, **options: Any) -> None:
        self.port = port
        self.journal = journal
        self.heartbeat: int | None = 60
        self.interval = 25.0
        self.beats = True
        self.answers = True
        self.unanswered: set[str] = set()
        self.refused: set[str] = set()
        self.deadly: set[str] = set()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.line = ""
        self.first = ""
        self.tls: ssl.SSLContext | None = None
        self.max_size = 2**23
        self.clients: list[Client] = []
        self.taken: list[dict[str, Any]] = []
        self.requests: list[Any] = []
        self.upgrades: list[Any] = []
        for name, value in options.items():
            assert hasattr(self, name)
            setattr(self, name, value)
        self._sids = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, client: Client, payload: dict[str, Any]) -> str:
        data = payload["data"]
        if self.journal is not None:
            with self.journal.open("a") as file:
                file.write(f"{payload['id']}\n")
        if payload["topic"] in self.refused:
            return "not here"
        self.taken.append(payload)
        if payload["topic"] == "ftrack.meta.subscribe":
            metadata = data["subscriber"]
            client.subscribers[metadata["id"]] = (compile(data["subscription"]), metadata, data["subscription"])
        elif payload["topic"] == "ftrack.meta.unsubscribe":
            client.subscribers.pop(data["subscriber"]["id"], None)
        return ""

    def topics(self, *, meta: bool = False) -> list[str]:
        return [event["topic"] for event in self.taken if meta or not event["topic"].startswith("ftrack.meta.")]

    async def run(self, ready: Callable[[], None], stopped: asyncio.Event) -> None:
        async with serve(
            self._connected, "127.0.0.1", self.port, process_request=self._requested, logger=_silent,
            ssl=self.tls,
            max_size=self.max_size, close_timeout=0.2, ping_interval=None,
        ) as listening:  # fmt: skip
            self.port = listening.sockets[0].getsockname()[1]
            ready()
            await stopped.wait()

    def _requested(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path.startswith(f"{PATH}websocket/"):
            self.upgrades.append(request.headers)
            return None
        self.requests.append(request.headers)
        self._sids += 1
        line = self.line or Handshake(str(self._sids), self.heartbeat).format()
        response = connection.respond(HTTPStatus(self.status), line)
        for name, value in self.headers.items():
            response.headers[name] = value
        return response

    async def _connected(self, socket: ServerConnection) -> None:
        if self.first:
            await socket.send(self.first)
        client = Client(socket, self)
        self.clients.append(client)
        try:
            await client.serve()
        finally:
            self.clients.remove(client)

    # In a thread of the test's process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        from threading import Event

        ready = Event()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self.run(ready.set, self._stopped))
            # A connection that was accepted while the server closed.
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 5))
            self._loop.close()

        self._thread = Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(10)
        assert not self._thread.is_alive()

    def call(self, function: Callable[[], Any]) -> None:
        """Run a function on the server's loop."""
        self._loop.call_soon_threadsafe(function)

    def say(self, text: str | bytes) -> None:
        """Send a frame to every client."""
        for client in list(self.clients):
            asyncio.run_coroutine_threadsafe(client.socket.send(text), self._loop).result(10)

    def drop(self, *, stop: bool = False) -> None:
        """Break every connection without a word; if `stop`, accept no more, so that no client comes back."""

        def drop_all() -> None:
            if stop:
                self._stopped.set()
            for client in list(self.clients):
                client.socket.transport.abort()

        self.call(drop_all)


if __name__ == "__main__":
    asyncio.run(
        Server(int(sys.argv[1]), Path(sys.argv[2]), heartbeat=2, interval=0.5).run(
            lambda: print("ready", flush=True), asyncio.Event()
        )
    )
