"""No logger receives a key, for any request."""

from __future__ import annotations

import asyncio
import logging
import socket
from base64 import b64encode
from collections.abc import Iterator
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from rxhub.server import User, Users, application
from tests.server.wire import raw, request
from tests.threads import until

KEY = "Hf0mBq4OFw7Us6i0JmJcUeOmGZyfJzYQ1c8GmI3V3xo"


def host() -> Starlette:
    """An outer application with its own middleware."""

    async def page(_: Any) -> Any:
        return PlainTextResponse("hello")

    async def through(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    mounted = application(Users([User.with_key("me", KEY)]))
    return Starlette(
        routes=[Route("/page", page), Mount("/below", mounted), Mount("/", mounted)],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=through)],
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """uvicorn with its defaults, access log included."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = uvicorn.Server(uvicorn.Config(host(), log_config=None, timeout_graceful_shutdown=1))
        thread = Thread(target=served.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until(lambda: served.started)
        yield SimpleNamespace(url=f"http://127.0.0.1:{listener.getsockname()[1]}", api_user="me", api_key=KEY)
        served.should_exit = True
        thread.join(20)


def sent(server: Any, *lines: str) -> str:
    """The complete response to a request, given as lines."""
    with raw(server) as connection:
        connection.sendall("\r\n".join([*lines, "Host: x", "Connection: close", "", ""]).encode())
        answered = b""
        while piece := connection.recv(65_536):
            answered += piece
    return answered.decode()


QUERIES = [
    f"api_user=me&api_key={KEY}",
    f"EIO=4&transport=websocket&api_key={KEY}",
    f"api%5Fkey={KEY}",
    f"%61pi%5fkey={KEY}",
    f"api%255Fkey={KEY}",
    f"API_KEY={KEY}&Api_Key={KEY}",
    f"a=1;api_key={KEY}",
    f"api_user=me;api_key={KEY}",
    f"api_user=me%26api_key%3D{KEY}",
    f"api_key={KEY}&api_key={KEY}",
    f"api_key[]={KEY}&apiKey={KEY}&api-key={KEY}&token={KEY}",
    f"+api_key={KEY}",
    f"api_key%00={KEY}",
    f"auth=%7B%22api_key%22%3A%22{KEY}%22%7D",
    f"{KEY}",
    f"{KEY}=",
    f"?api_key={KEY}",
    f"#api_key={KEY}",
]
PATHS = [
    "/socket.io/1/",
    "/socket.io/1",
    "/socket.io/",
    "/socket.io/2/",
    "/socket.io/1/xhr-polling/1",
    "/socket.io/1/websocket/1",
    "/health",
    "/health/",
    "/stats/",
    "/metrics/",
    "/nothing",
    "/",
    "//",
    "/below/socket.io/",
    "/below/health/",
]


def asked(caplog: pytest.LogCaptureFixture, server: Any, method: str, target: str, *headers: str) -> str:
    """The response, after the access log contains the request."""
    caplog.clear()
    answered = sent(server, f"{method} {target} HTTP/1.1", *headers)
    until(lambda: any(record.name.startswith("uvicorn") for record in caplog.records))
    return answered


@pytest.mark.parametrize("query", QUERIES)
def test_a_key_in_a_query_is_in_no_log(server: Any, query: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for method, path in [
            ("GET", "/socket.io/1/"),
            ("POST", "/socket.io/1/"),
            ("GET", "/socket.io/"),
            ("PUT", "/x"),
        ]:
            answered = asked(caplog, server, method, f"{path}?{query}")
            assert KEY not in caplog.text
            assert KEY not in answered


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD", "DELETE"])
def test_whatever_becomes_of_the_request(server: Any, method: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        answered = asked(caplog, server, method, f"{path}?api_user=me&api_key={KEY}")
    assert KEY not in caplog.text
    assert KEY not in answered, "a redirection repeats it"


@pytest.mark.parametrize(
    "path",
    [
        f"/socket.io/1/{KEY}",
        f"/socket.io/1/websocket/{KEY}",
        f"/socket.io/1/api_key={KEY}",
        f"/socket.io/1/%3Fapi_key={KEY}",
        f"/socket.io/1/%253Fapi_key%253D{KEY}",
        f"/socket.io/1/;api_key={KEY}",
        f"/x/api_key/{KEY}",
        f"/x/API%5FKEY/{KEY}",
        f"/x&k={KEY}",
        f"/below/x;{KEY}",
    ],
)
def test_a_key_in_a_path_is_in_no_log(server: Any, path: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        asked(caplog, server, "GET", path)
    assert KEY not in caplog.text


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version: 13",
)


@pytest.mark.parametrize(
    "path", ["/socket.io/1/websocket/", "/socket.io/", "/nothing/", "/below/socket.io/1/websocket/"]
)
def test_nor_are_the_key_and_the_session_of_a_websocket(
    server: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        line = request(server, "/socket.io/1/", {"ftrack-user": "me", "ftrack-api-key": KEY})[1]
        sid = line.split(":")[0]
        caplog.clear()
        with raw(server) as connection:
            target = f"{path}{sid if path.endswith('websocket/') else ''}?api_user=me&api%5Fkey={KEY}"
            connection.sendall("\r\n".join([f"GET {target} HTTP/1.1", "Host: x", *UPGRADE, "", ""]).encode())
            assert connection.recv(4_096)
        until(lambda: any("WebSocket" in record.getMessage() for record in caplog.records))
    assert KEY not in caplog.text
    assert sid not in caplog.text


def test_the_scope_that_others_see_has_no_key() -> None:
    scopes: list[Any] = []
    mounted = application(Users([User.with_key("me", KEY)]))

    async def ask(scope: Any) -> None:
        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            scopes.append(dict(scope))

        await mounted(scope, receive, send)

    headers = {
        "ftrack-user": "me",
        "ftrack-api-key": KEY,
        "authorization": f"Basic {b64encode(f'me:{KEY}'.encode()).decode()}",
        "referer": f"http://studio.example/page?api_key={KEY}",
        "x-original-uri": f"/socket.io/1/?api%5Fkey={KEY}",
        "cookie": f"key={KEY}",
        "origin": "http://studio.example",
        "host": "studio.example",
    }
    raw_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
    bearer = [*raw_headers[:2], (b"authorization", f"Bearer me:{KEY}".encode()), *raw_headers[3:]]
    for path, query, given in [
        ("/socket.io/1/", "", raw_headers),
        ("/socket.io/1/", f"api_user=me&api_key={KEY}", raw_headers),
        ("/nothing", KEY, raw_headers),
        ("/api/user", f"api_key={KEY}", raw_headers),
        ("/api/user", f"token={KEY}", bearer),
        ("/api/events", f"subscription={KEY}&since=first", bearer),
    ]:
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": list(given),
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "http_version": "1.1",
        }
        asyncio.run(ask(scope))
    encoded = b64encode(f"me:{KEY}".encode()).decode()
    assert scopes
    assert KEY not in repr(scopes)
    assert encoded not in repr(scopes)
    assert "http://studio.example/page" in repr(scopes)


def test_credentials_are_still_read(server: Any) -> None:
    for path in ("/stats", "/stats/", "/metrics", "/below/stats", f"/stats?api_user=me&api_key={KEY}"):
        encoded = b64encode(f"me:{KEY}".encode()).decode()
        assert request(server, path, {} if "?" in path else {"authorization": f"Basic {encoded}"})[0] == 200
    assert request(server, f"/socket.io/1/?api_user=me&api%5Fkey={KEY}")[0] == 200
    for path in ("/api/user", "/below/api/user"):
        assert request(server, path, {"authorization": f"Bearer me:{KEY}"})[0] == 200
    assert request(server, "/page")[:2] == (200, "hello")
