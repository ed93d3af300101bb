"""uvicorn's protocols for HTTP and WebSocket, with the deadlines and bounds that they do not have.

The only module that uses attributes of uvicorn and websockets that are not documented. What it relies on is tested by
`tests/server/test_uvicorn_protocols.py`, so that a new version cannot change it unnoticed.

HTTP: a request must be complete within some seconds, counted from the moment in which the connection was accepted, or
from its first byte if the connection was kept alive. It may be small only: the server's requests have no body.

WebSocket: what never becomes a message is bounded, since neither a queue nor a rate limit of ours gets to see it.

- A ping is answered at once, also when the peer does not read: the answers of a flood would pile up in the transport.
  While it is full they are left out but for the last ones, which RFC 6455 (5.5.3) allows.
- A message in fragments may have any number of them: four million of one byte take a hundred times their length.
- What is held of incomplete messages, and of messages that the application has not taken yet, is counted
  (`UnreadBytes`), and freed when the connection ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from rxhub.server.receive_memory import UNREAD, UnreadBytes
from rxhub.server.sockets import SocketSlot

__all__ = ["Http", "WebSocket", "protocol_factory"]

_MAX_REQUEST_BYTES: Final = 64 * 1024
_MAX_FRAGMENTS: Final = 4_096
_UNCOUNTED_BYTES: Final = 16 * 1024
"""Bytes that a connection may hold without being counted: as much as the head of a request."""

_FRAGMENT_OVERHEAD_BYTES: Final = 64
"""Bytes of memory that a fragment takes beside its content."""

# uvicorn warns of every malformed request. Anyone can send them, so they are counted instead.
_logger = logging.getLogger("rxhub.server.http")
_logger.setLevel(logging.ERROR)


def protocol_factory(server: uvicorn.Server, timeout: float) -> Callable[[SocketSlot], asyncio.Protocol]:
    """What makes the protocol of an accepted connection.

    Args:
        server: it has started.
        timeout: seconds for a complete request.
    """

    def make(slot: SocketSlot) -> Http:
        protocol = Http(config=server.config, server_state=server.server_state, app_state=server.lifespan.state)
        protocol.slot = slot
        protocol.timeout = timeout
        return protocol

    return make


class Http(H11Protocol):
    """One HTTP connection.

    Attributes:
        slot: the place of its socket.
        timeout: seconds for a complete request.
    """

    slot: SocketSlot
    timeout: float
    _deadline: asyncio.TimerHandle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.logger = _logger
        self.slot.sockets.mark_waiting(self.slot, transport.abort)
        self._deadline = self.loop.call_at(self.slot.accepted + self.timeout, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        self.slot.sockets.release(self.slot)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > _MAX_REQUEST_BYTES:
            self.slot.sockets.counters.requests_refused += 1
            self.transport.abort()
            return
        if self._deadline is None and self._is_waiting():
            self._deadline = self.loop.call_later(self.timeout, self._expire)
        super().data_received(data)
        if self._deadline is not None and not self._is_waiting():
            self._cancel_deadline()
            self.slot.sockets.mark_active(self.slot)

    def on_response_complete(self) -> None:
        self._received = 0
        super().on_response_complete()
        if self._is_waiting() and not self.transport.is_closing():
            # uvicorn closes it after some seconds without a byte.
            self.slot.sockets.mark_waiting(self.slot, self.transport.abort)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._cancel_deadline()
        self.slot.sockets.mark_active(self.slot)
        super().handle_websocket_upgrade(event)
        cast("WebSocket", self.transport.get_protocol()).slot = self.slot

    def send_400_response(self, msg: str) -> None:
        self._cancel_deadline()
        self.slot.sockets.counters.requests_refused += 1
        super().send_400_response(msg)

    def _is_waiting(self) -> bool:
        """Whether a request is not complete: it has not begun, or its body is missing."""
        return self.conn.their_state in {h11.IDLE, h11.SEND_BODY}

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        self.slot.sockets.counters.requests_timed_out += 1
        self.transport.abort()


class WebSocket(WebSocketsSansIOProtocol):
    """One WebSocket.

    Attributes:
        slot: the place of its socket; None in another server than ours.
        unread: what it holds of messages that are incomplete or wait for their turn. The application finds it among the
            extensions of the scope.
    """

    slot: SocketSlot | None = None
    _pongs = b""
    _fragments = 0  # bytes
    _waiting = 0  # bytes
    _processing = 0  # bytes of the message that the application works on
    _is_running = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Whatever the level of logging: a request has a key in it, and frames have events.
        self.conn.debug = False
        self.unread = UnreadBytes(self._abort)
        self._sizes: deque[int] = deque()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._is_running = True
            cast("dict[str, Any]", self.scope)["extensions"][UNREAD] = self.unread

    def data_received(self, data: bytes) -> None:
        if not self.disconnected:
            super().data_received(data)
            self._count()

    async def receive(self) -> Any:
        if self._processing:
            self._waiting -= self._processing
            self._processing = 0
            if self.unread.size:
                self._count()
        message = await super().receive()
        if message["type"] == "websocket.receive" and self._sizes:
            self._processing = self._sizes.popleft()
        return message

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.slot is not None:
            self.slot.sockets.release(self.slot)
        # The parser and the connection refer to each other: without this, an incomplete message would stay in memory
        # until the garbage collector looks at all objects.
        self._drop_incomplete()
        self.conn.parser.close()
        for error in (self.conn.parser_exc, self.conn.handshake_exc):
            if error is not None:
                error.__traceback__ = None
        if not self._is_running:
            self._drop_waiting()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self._is_running = False
        self._drop_waiting()

    def handle_ping(self) -> None:
        """Answer, or note the answer for when the peer has read what it was sent before."""
        if self.writable.is_set():
            super().handle_ping()
        elif pongs := b"".join(self.conn.data_to_send()):
            self._pongs = pongs

    def resume_writing(self) -> None:
        """Send what was noted."""
        super().resume_writing()
        pongs, self._pongs = self._pongs, b""
        if pongs and not self.transport.is_closing():
            self.transport.write(pongs)

    def handle_text(self, event: Frame) -> None:
        super().handle_text(event)
        if event.fin:
            event.data = b""  # as in `_release_frame`
        else:
            self._release_frame(event)

    def handle_bytes(self, event: Frame) -> None:
        super().handle_bytes(event)
        self._release_frame(event)

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment, or end the connection."""
        if len(self.frames) < _MAX_FRAGMENTS:
            super().handle_cont(event)
            self._release_frame(event)
        else:
            self._abort()

    def send_receive_event_to_app(self) -> None:
        frames = self.frames
        size = len(frames[0]) if len(frames) == 1 else sum(map(len, frames))
        super().send_receive_event_to_app()
        if not self.close_sent:  # else it was discarded
            self._sizes.append(size)
            self._waiting += size

    def _release_frame(self, event: Frame) -> None:
        self._fragments = 0 if event.fin else self._fragments + len(event.data) + _FRAGMENT_OVERHEAD_BYTES
        # The parser refers to the last frame until the next one comes.
        event.data = b""

    def _count(self) -> None:
        held = len(self.conn.reader.buffer) + self._fragments + self._waiting
        # The common path: a small message that came in one piece costs a comparison.
        if held > _UNCOUNTED_BYTES:
            self.unread.set(held)
        elif self.unread.size:
            self.unread.set(0)

    def _abort(self) -> None:
        """Close the connection at once, and forget what it holds."""
        self.transport.abort()
        self._drop_incomplete()
        self._drop_waiting()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def _drop_incomplete(self) -> None:
        self.conn.reader.buffer.clear()
        self.frames = []
        self._fragments = 0
        self._count()

    def _drop_waiting(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()
        self._sizes.clear()
        self._waiting = self._processing = 0
        self.unread.close()
