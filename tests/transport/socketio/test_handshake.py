"""What people are told when a server cannot be reached, or does not let them in."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError
from rxhub.transport.connection_state import Phase
from rxhub.transport.registry import TransportConfig
from rxhub.transport.socketio import connection as line
from rxhub.transport.socketio import handshake
from rxhub.transport.socketio.endpoint import Endpoint
from rxhub.transport.socketio.handshake import explained
from tests.threads import LIMIT
from tests.transport.socketio.server import Server

TLS = Path(__file__).parents[2] / "data" / "tls"


def refusal(url: str, **options: Any) -> str:
    """Why a hub cannot connect."""
    hub = EventHub(url, "me", "secret-key", **options)
    with pytest.raises(HubConnectionError) as raised:
        hub.connect()
    assert not hub.connected and hub._link.state.phase is Phase.DISCONNECTED
    assert hub._link.state.reason == str(raised.value) and hub._link.state.attempts == 1
    assert "secret-key" not in str(raised.value)
    hub.close()
    return str(raised.value)


@contextmanager
def answering(answer: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port where whoever comes gets `answer`."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    try:
                        wrapped = context.wrap_socket(connection, server_side=True) if context else connection
                        wrapped.recv(65536)
                        wrapped.sendall(answer)
                        wrapped.close()
                    except OSError:
                        pass

        Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("status", "what"),
    [
        (401, "Check api_user and api_key"),
        (403, "Check api_user and api_key"),
        (404, "no Socket.IO 0.9 endpoint"),
        (407, "https_proxy"),
        (429, "Too many requests"),
        (500, "server's log"),
        (503, "server's log"),
        (204, "server's log"),
    ],
)
def test_a_status_is_told_with_what_to_do(status: int, what: str) -> None:
    with Server(status=status) as server:
        told = refusal(server.url)
    # A 204 has no body; of the others, the client shows what the server says.
    said = "" if status == 204 else " (1:60:60:websocket)"
    assert told.startswith(f"The event server at {server.url} answered with HTTP status {status}{said}.")
    assert what in told


def test_a_redirection_is_not_followed_with_the_key() -> None:
    with Server() as elsewhere, Server(status=302, headers={"Location": f"{elsewhere.url}/socket.io/1/"}) as server:
        assert f"It redirects to {elsewhere.url}/socket.io/1/" in refusal(server.url)
        assert elsewhere.requests == []


def test_nobody_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    assert refusal(f"http://127.0.0.1:{port}").endswith(
        "refused the connection. Check that the server is running, and the port."
    )


def test_a_name_that_nobody_knows() -> None:
    assert "could not be found" in refusal("http://name.invalid") and "name in the url" in refusal("http://x.invalid")


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n<html>", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000],
)
def test_what_is_no_event_server(answer: bytes) -> None:
    with answering(answer) as port:
        told = refusal(f"http://127.0.0.1:{port}")
    assert told.startswith("The event server at") or "is not an event server" in told
    assert len(told) < 400


def test_a_server_without_websockets() -> None:
    with Server(line="1:60:60:xhr-polling,jsonp-polling") as server:
        assert "offers xhr-polling, jsonp-polling, but not websocket" in refusal(server.url)


@pytest.mark.parametrize(
    ("first", "what"),
    [
        ("7:::1+0", "refused the session: 1+0"),
        ("0::", "refused the session"),
        ("5:::{}", "did not accept the connection"),
    ],
)
def test_a_server_that_does_not_say_welcome(first: str, what: str) -> None:
    with Server(first=first) as server:
        assert what in refusal(server.url)


def test_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "CONNECT_TIMEOUT_S", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        told = refusal(f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert "did not answer within 0.3 s" in told


def test_headers_and_cookies_arrive() -> None:
    with Server() as server:
        hub = EventHub(server.url, "me", "key", headers={"x-studio": "7"}, cookies={"a": "b"})
        hub.connect()
        hub.close()
        [asked], [opened] = server.requests, server.upgrades
    assert (asked["ftrack-user"], asked["ftrack-api-key"]) == ("me", "key")
    assert asked["x-studio"] == opened["x-studio"] == "7" and asked["cookie"] == opened["cookie"] == "a=b"
    assert "ftrack-api-key" not in opened and asked["user-agent"] == opened["user-agent"] == "rxhub"


def test_a_server_may_be_mounted_below_a_path() -> None:
    with Server() as server:
        told = refusal(f"{server.url}/events/")
    assert (
        "answered with HTTP status" in told or "did not accept the connection" in told or "not an event server" in told
    )


# TLS. The certificate of tests/data/tls is for localhost, signed by itself, and valid for a hundred years.


def test_a_certificate_that_nobody_vouches_for() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "localhost.pem")
    with answering(b"", context) as port:
        told = refusal(f"https://localhost:{port}")
    assert "has a certificate that is not trusted: self" in told and "SSL_CERT_FILE" in told


def test_https_to_a_server_that_speaks_http() -> None:
    with Server() as server:
        assert "TLS" in refusal(server.url.replace("http:", "https:"))


def test_a_trusted_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "localhost.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "localhost.pem")
    with Server(tls=context) as server:
        hub = EventHub(server.url.replace("http://127.0.0.1", "https://localhost"), "me", "key")
        hub.connect()
        assert hub.connected and hub.secure
        hub.close()


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as port:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert "HTTP status 407" in refusal("http://studio.example")
        assert "407" in refusal("https://studio.example")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (OSError("no route"), "could not be reached: no route"),
        (ConnectionResetError(), "could not be reached: ConnectionResetError"),
        (RuntimeError("odd"), "could not be reached: RuntimeError: odd"),
        (ssl.SSLError("alert"), "negotiate TLS"),
    ],
)
def test_other_failures_are_told_as_they_are(error: Exception, what: str) -> None:
    assert what in str(explained(error, Endpoint(TransportConfig(url="http://studio")), 20))


def test_how_long_a_server_wants_to_be_left_alone() -> None:
    for header, seconds in (("7", 7.0), ("99999", 300.0), ("soon", 0.0), ("-1", 0.0)):
        assert handshake._refused(503, {"Retry-After": header}, "http://x").retry_after == seconds


@contextmanager
def forwarding() -> Iterator[tuple[int, list[str]]]:
    """An HTTP proxy: its port, and the first lines of what it was asked."""
    asked: list[str] = []

    def pipe(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        asked.append(head.split(b"\r\n")[0].decode())
        method, target, _ = asked[-1].split()
        host, _, path = target.removeprefix("http://").partition("/")
        name, _, port = host.partition(":")
        with client, socket.create_connection((name, int(port))) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server.sendall(head.replace(target.encode(), f"/{path}".encode(), 1))
            back = Thread(target=pipe, args=(server, client), daemon=True)
            back.start()
            pipe(client, server)
            back.join()

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def accept() -> None:
            while True:
                try:
                    Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
                except OSError:
                    return

        Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1], asked
        listening.shutdown(socket.SHUT_RDWR)


def test_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "localhost.pem"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "localhost.pem")
    with Server() as plain, Server(tls=context) as secure, forwarding() as (port, asked):
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        for url in (plain.url, f"https://localhost:{secure.port}"):
            with EventHub(url, "me", "key") as hub:
                hub.connect()
                assert hub.publish(Event("a")).result(LIMIT) is None  # type: ignore[union-attr]
        assert [line.split()[0] for line in asked] == ["GET", "CONNECT", "CONNECT", "CONNECT"]
        assert plain.topics() == secure.topics() == ["a"]
