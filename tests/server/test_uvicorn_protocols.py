"""Contract test: the undocumented attributes of uvicorn and websockets that rxhub.server.uvicorn_protocols uses."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

from rxhub.server.uvicorn_protocols import Http, WebSocket


async def app(scope: Any, receive: Any, send: Any) -> None:
    pass


def made(kind: Any) -> Any:
    """A protocol as uvicorn creates it."""
    config = uvicorn.Config(app, http=Http, ws=WebSocket, log_config=None)

    async def make() -> Any:
        config.load()
        server = uvicorn.Server(config)
        return kind(config=config, server_state=server.server_state, app_state={})

    return asyncio.run(make())


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        (
            H11Protocol,
            ["connection_made", "connection_lost", "data_received", "on_response_complete", "handle_websocket_upgrade"],
        ),
        (H11Protocol, ["send_400_response", "handle_events"]),
        (WebSocketsSansIOProtocol, ["connection_lost", "data_received", "handle_ping", "handle_cont", "handle_text"]),
        (WebSocketsSansIOProtocol, ["handle_bytes", "handle_connect", "resume_writing", "send_receive_event_to_app"]),
        (WebSocketsSansIOProtocol, ["receive", "on_task_complete"]),
    ],
)
def test_the_methods_that_are_overridden_are_there(kind: Any, methods: list[str]) -> None:
    for method in methods:
        assert callable(getattr(kind, method, None)), method


def test_an_http_protocol_reads_by_h11() -> None:
    protocol = made(H11Protocol)
    assert isinstance(protocol.conn, h11.Connection)
    assert protocol.conn.their_state is h11.IDLE
    assert hasattr(protocol, "logger") and hasattr(protocol, "loop") and hasattr(protocol, "transport")


def test_a_websocket_reads_by_websockets() -> None:
    protocol = made(WebSocketsSansIOProtocol)
    assert isinstance(protocol.conn.reader.buffer, bytearray)
    assert protocol.conn.parser.gi_frame is not None
    assert protocol.conn.parser_exc is None
    assert protocol.conn.debug is False
    assert protocol.frames == []
    assert protocol.queue.empty() and not protocol.read_paused and not protocol.close_sent
    assert protocol.writable.is_set()
    frame = Frame(Opcode.TEXT, b"text")
    frame.data = b""  # it is not frozen


def test_a_server_without_sockets_starts_and_ends() -> None:
    async def run() -> None:
        server = uvicorn.Server(uvicorn.Config(app, http=Http, ws=WebSocket, log_config=None, lifespan="off"))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup([])
        assert server.started and server.servers == []
        assert server.lifespan.state == {}
        await server.shutdown([])

    asyncio.run(run())
