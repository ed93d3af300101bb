"""nginx and HAProxy, with the configurations of deploy/, in front of two real servers on one NATS cluster."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final

import pytest
import websocket

from rxhub.embedded.server import command_bound_to_parent
from tests.compat.ftrack.judged import THEIRS
from tests.deploy.services import DEPLOY, TLS, Services, program, services, trusting
from tests.threads import LIMIT, until

_SERVERS: Final = ("rxhub-1", "rxhub-2")
_ADDRESSES: Final = [f"127.0.1.{n}" for n in range(1, 13)]
"""Each is a client of its own for the proxies: all of 127.0.0.0/8 is this machine."""


@pytest.fixture(scope="module")
def stack() -> Generator[Services]:
    with services(fast=True) as made:
        made.start("nats-1", "nats-2", "nats-3")
        made.start(*_SERVERS)
        yield made


class Proxy:
    """A running proxy.

    Attributes:
        port: where it listens.
        log: its access log.
    """

    def __init__(self, port: int, log: Path, stack: Services) -> None:
        self.port = port
        self.log = log
        self.url = f"https://localhost:{port}"
        self._stack = stack

    @property
    def headers(self) -> dict[str, str]:
        user, key = self._stack.user, self._stack.key
        return {"ftrack-user": user, "ftrack-api-key": key, "authorization": f"Bearer {user}:{key}"}

    @contextmanager
    def connection(self, address: str = "127.0.0.1") -> Iterator[HTTPSConnection]:
        made = HTTPSConnection("localhost", self.port, context=trusting(), timeout=LIMIT, source_address=(address, 0))
        try:
            yield made
        finally:
            made.close()

    def request(
        self, path: str, *, address: str = "127.0.0.1", method: str = "GET", body: Any = None, **headers: str
    ) -> tuple[int, str]:
        with self.connection(address) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {**self.headers, **named})
            response = connection.getresponse()
            return response.status, response.read().decode()

    @contextmanager
    def client(self, address: str = "127.0.0.1") -> Iterator[websocket.WebSocket]:
        """A Socket.IO client: a handshake, and a WebSocket on a connection of its own."""
        status, line = self.request("/socket.io/1/", address=address)
        assert status == 200, line
        sid = line.split(":")[0]
        with trusting().wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), LIMIT, (address, 0)), server_hostname="localhost"
        ) as secured:
            # ftrack's library. A client with a thread that reads can hang: Python 3.11 has no lock for TLS connections.
            url = f"wss://localhost:{self.port}/socket.io/1/websocket/{sid}"
            opened = websocket.create_connection(url, LIMIT, socket=secured)
            try:
                assert opened.recv() == "1::"
                yield opened
            finally:
                opened.close(timeout=1)


@contextmanager
def _nginx(stack: Services, folder: Path) -> Iterator[Proxy]:
    proxy = stack["proxy"]
    proxy.start()
    try:
        yield Proxy(proxy.port, proxy.folder / "access.log", stack)
    finally:
        proxy.stop()


@contextmanager
def _haproxy(stack: Services, folder: Path) -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        "RXHUB_BIND": f"127.0.0.1:{port}",
        "RXHUB_CERTIFICATE": str(TLS),
        "RXHUB_1": stack.address("rxhub-1", 8765),
        "RXHUB_2": stack.address("rxhub-2", 8765),
    }
    log = folder / "haproxy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command_bound_to_parent([program("haproxy"), "-db", "-f", str(DEPLOY / "haproxy.cfg")]),
            env={**os.environ, **variables},
            stdout=output,
            stderr=output,
        )
        try:
            yield Proxy(port, log, stack)
        finally:
            process.terminate()
            process.wait(LIMIT)


@pytest.fixture(scope="module", params=[_nginx, _haproxy], ids=["nginx", "haproxy"])
def proxy(request: pytest.FixtureRequest, stack: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    name = request.param.__name__.removeprefix("_")
    with request.param(stack, tmp_path_factory.mktemp(name)) as running:

        def answers() -> bool:
            try:
                return running.request("/api/user")[0] == 200
            except OSError:
                return False

        until(answers)
        yield running


def test_both_requests_of_a_client_reach_the_same_server_and_clients_are_spread(proxy: Proxy, stack: Services) -> None:
    with ExitStack() as clients:
        for address in _ADDRESSES:
            for _ in range(2):
                clients.enter_context(proxy.client(address))
        until(lambda: sum(map(stack.clients, _SERVERS)) == 2 * len(_ADDRESSES))
        assert all(stack.clients(server) > 0 for server in _SERVERS)
    until(lambda: not any(map(stack.clients, _SERVERS)))


@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS is deprecated:DeprecationWarning")  # its websocket-client
def test_a_client_of_ftrack_connects_with_tls_and_receives_events(
    proxy: Proxy, stack: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"):
        monkeypatch.setenv(name, str(TLS))
    hub = THEIRS.EventHub(proxy.url, stack.user, stack.key)
    hub.connect()
    received: list[Any] = []
    hub.subscribe("topic=studio.proxied", received.append)
    hub.publish(THEIRS.Event("studio.proxied"))
    try:
        until(lambda: hub.wait(0.05) or received)
    finally:
        hub.disconnect()


def test_a_server_sees_the_address_of_the_client_and_not_what_the_client_claims(proxy: Proxy, stack: Services) -> None:
    with proxy.client(_ADDRESSES[0]):
        asked = (
            proxy.request("/api/subscribers", address=address, X_Forwarded_For="203.0.113.7") for address in _ADDRESSES
        )
        # A server lists its own clients.
        listed = [each["address"] for _, body in asked for each in json.loads(body)["subscribers"]]
        assert set(listed) == {_ADDRESSES[0]}


def test_a_plain_text_port_does_not_exist(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), LIMIT) as plain:
        plain.sendall(b"GET /api/user HTTP/1.1\r\nHost: localhost\r\n\r\n")
        plain.settimeout(LIMIT)
        assert b" 200 " not in plain.recv(4_096)


@contextmanager
def _stream(proxy: Proxy, path: str) -> Iterator[HTTPResponse]:
    with proxy.connection() as connection:
        connection.request("GET", path, headers={**proxy.headers, "accept": "text/event-stream"})
        response = connection.getresponse()
        assert response.status == 200
        yield response


def test_server_sent_events_arrive_one_by_one_without_buffering(proxy: Proxy) -> None:
    with _stream(proxy, "/api/events?subscription=topic=studio.sse") as stream:
        for number in range(3):
            event = json.dumps({"topic": "studio.sse", "data": number})
            assert proxy.request("/api/events", method="POST", body=event, Content_Type="application/json")[0] == 202
            # The stream stays open, and the next event is only published when this one has arrived.
            data = next(line for line in iter(stream.readline, b"") if line.startswith(b"data:"))
            assert json.loads(data[5:])["data"] == number


def test_a_large_event_passes_and_a_larger_body_does_not(proxy: Proxy) -> None:
    def publish(characters: int) -> int:
        event = json.dumps({"topic": "studio.large", "data": "x" * characters})
        try:
            return proxy.request("/api/events", method="POST", body=event, Content_Type="application/json")[0]
        except OSError:
            return 413  # the proxy answers and closes before the body is complete

    assert publish(1_000_000) == 202
    assert publish(5 * 1024 * 1024) == 413


def test_operators_paths_are_not_public(proxy: Proxy) -> None:
    for path in ("/readyz", "/healthz", "/health", "/metrics", "/stats", "/stats/"):
        assert proxy.request(path)[0] == 404, path


def test_the_access_log_has_no_keys(proxy: Proxy, stack: Services) -> None:
    path = f"/socket.io/1/?api_user={stack.user}&api_key={stack.key}"
    assert proxy.request(path)[0] == 200
    until(lambda: "/socket.io/1/" in proxy.log.read_text())
    assert stack.key not in proxy.log.read_text()


def test_a_stopped_server_gets_no_clients_and_returns(proxy: Proxy, stack: Services) -> None:
    stopped, other = _SERVERS
    stack[stopped].stop()
    try:
        for address in _ADDRESSES:
            until(lambda address=address: _connects(proxy, address))
    finally:
        stack[stopped].start()
        stack[stopped].wait_until_ready()
    until(lambda: _spread(proxy, stack, stopped), 3 * LIMIT)
    assert stack[other].is_ready()


def _connects(proxy: Proxy, address: str) -> bool:
    try:
        with proxy.client(address):
            return True
    except (AssertionError, OSError, websocket.WebSocketException):
        return False


def _spread(proxy: Proxy, stack: Services, server: str) -> bool:
    """Whether a server gets some of the clients."""
    try:
        with ExitStack() as clients:
            for address in _ADDRESSES:
                clients.enter_context(proxy.client(address))
            return stack.clients(server) > 0
    except (AssertionError, OSError, websocket.WebSocketException):
        return False  # between its two requests, the proxy has noticed that the server is back


def test_one_address_cannot_flood_the_handshake_and_others_are_served(proxy: Proxy) -> None:
    def flood(_: int) -> list[int]:
        with proxy.connection("127.0.2.1") as connection:
            statuses: list[int] = []
            # Without credentials, the server answers at once.
            while 429 not in statuses and len(statuses) < 5_000:
                connection.request("GET", "/socket.io/1/")
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
            return statuses

    with ThreadPoolExecutor(4) as pool:
        statuses = [status for each in pool.map(flood, range(4)) for status in each]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) >= 500
    with proxy.client("127.0.2.2"):
        pass
