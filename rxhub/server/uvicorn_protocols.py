"""uvicorn's protocols for HTTP and WebSocket, with additional deadlines and limits.

This is the only module that uses undocumented attributes of uvicorn and websockets. The contract test
`tests/server/test_uvicorn_protocols.py` checks the ones that it uses.

HTTP: a request must be complete within some seconds after the connection was accepted, or after its first byte on a
connection that was kept alive. Its size is limited. An endpoint that has authenticated the user of a request allows it
a larger body and more time (`Http.allow_body`).

WebSocket: limits for data that never becomes a message, which the server's queues and rate limits do not see.

- uvicorn answers pings immediately, even if the peer does not read, so the answers to a flood of pings would use
  memory. While the transport is full, only the last ones are kept, as RFC 6455 (5.5.3) allows.
- A message may have any number of fragments. Four million fragments of one byte need a hundred times their length.
- The bytes of incomplete messages, and of messages that the application has not handled yet, are counted
  (`UnreadBytes`), and freed when the connection is closed.
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

from rxhub.server.acceptor import SocketSlot
from rxhub.server.receive_memory import UNREAD, UnreadBytes

__all__ = ["ABORT", "ALLOW_BODY", "Http", "WebSocket", "protocol_factory"]

ABORT: Final = "rxhub.abort"
"""The name of the ASGI extension that closes the connection and discards what the client has not read."""

ALLOW_BODY: Final = "rxhub.allow_body"
"""The name of the ASGI extension that contains `Http.allow_body`."""

_MAX_REQUEST_BYTES: Final = 64 * 1024
# Parsing a chunk takes some microseconds, however short it is. Programs send chunks of kilobytes.
_MIN_BYTES_PER_LINE: Final = 12
_UNCHECKED_BYTES: Final = 4 * 1024
_MAX_FRAGMENTS: Final = 4_096
_UNCOUNTED_BYTES: Final = 16 * 1024
"""Bytes of a connection that are not counted, as many as the head of a request may have."""

_FRAGMENT_OVERHEAD_BYTES: Final = 64
"""Bytes of memory of a fragment in addition to its content."""

# uvicorn logs a warning for every malformed request. Anyone can send them, so they are only counted.
_logger = logging.getLogger("rxhub.server.http")
_logger.setLevel(logging.ERROR)


def protocol_factory(server: uvicorn.Server, timeout: float) -> Callable[[SocketSlot], asyncio.Protocol]:
    """Returns a function that creates the protocol of a connection that a started server has accepted.

    A request must be complete within `timeout` seconds.
    """

    def make(slot: SocketSlot) -> Http:
        protocol = Http(config=server.config, server_state=server.server_state, app_state=server.lifespan.state)
        protocol.slot = slot
        protocol.timeout = timeout
        # Not by `uvicorn.Config(access_log=False)`, which silences all uvicorn servers of the process.
        protocol.access_log = False
        return protocol

    return make


class Http(H11Protocol):
    """One HTTP connection.

    Attributes:
        slot: of its socket.
        timeout: seconds for a complete request.
    """

    slot: SocketSlot
    timeout: float
    _deadline: asyncio.TimerHandle | None = None
    _received = 0
    _most = _MAX_REQUEST_BYTES

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.logger = _logger
        self.slot.sockets.mark_waiting(self.slot, transport.abort)
        self._deadline = self.loop.call_at(self.slot.accepted + self.timeout, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        self.slot.sockets.release(self.slot)
        super().connection_lost(exc)
        if self.cycle:
            # It refers to this object.
            cast("dict[str, Any]", self.cycle.scope).pop("extensions", None)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        is_too_large = self._received > self._most and not self._may_allow_body(len(data))
        if is_too_large or self._has_tiny_chunks(data):
            self.slot.sockets.counters.requests_refused += 1
            self.transport.abort()
            return
        if self._deadline is None and self._is_waiting():
            self._deadline = self.loop.call_later(self.timeout, self._expire)
        super().data_received(data)
        if self._deadline is not None and not self._is_waiting():
            self._cancel_deadline()
            self.slot.sockets.mark_active(self.slot)

    def handle_events(self) -> None:
        super().handle_events()
        scope = cast("dict[str, Any]", self.scope)
        if self.cycle and self.cycle.scope is scope and "extensions" not in scope:
            scope["extensions"] = {ALLOW_BODY: self.allow_body, ABORT: self.transport.abort}

    def _has_tiny_chunks(self, data: bytes) -> bool:
        """Whether data would block the event loop, because it consists of chunks of a few bytes."""
        if len(data) <= _UNCHECKED_BYTES or data.count(b"\r\n") * _MIN_BYTES_PER_LINE < len(data):
            return False
        # The head may be in the data.
        return not self.headers or any(name == b"transfer-encoding" for name, _ in self.headers)

    def _may_allow_body(self, size: int) -> bool:
        """Whether the endpoint of the present request may still allow a larger body.

        Until it does, uvicorn buffers 64 KiB and then stops reading. The first segment can contain a whole body.
        """
        if self._received == size:
            return True
        return self._most == _MAX_REQUEST_BYTES and bool(self.cycle) and not self.cycle.response_complete

    def allow_body(self, most: int, seconds: float, is_known: bool) -> None:
        """Allow the present request a body of `most` bytes, which must be complete in `seconds`.

        The connection of a client that is not known can still be closed to make room for others.
        """
        self._most = most + _MAX_REQUEST_BYTES
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = self.loop.call_later(seconds, self._expire)
            if is_known:
                self.slot.sockets.mark_active(self.slot)

    def on_response_complete(self) -> None:
        self._received = 0
        self._most = _MAX_REQUEST_BYTES
        super().on_response_complete()
        if self._is_waiting() and not self.transport.is_closing():
            # uvicorn closes idle connections after some seconds.
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
        """Whether no request has started, or its body is incomplete."""
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
        slot: of its socket; None in a server that rxhub does not run.
        unread: the bytes of incomplete and unhandled messages. The application finds it in the extensions of the scope.
    """

    slot: SocketSlot | None = None
    _pongs = b""
    _fragments = 0  # bytes
    _waiting = 0  # bytes
    _processing = 0  # bytes of the message that the application handles
    _is_running = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # At any log level: requests contain keys, and frames contain events.
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
        """Answer, or keep the answer until the transport has room."""
        if self.writable.is_set():
            super().handle_ping()
        elif pongs := b"".join(self.conn.data_to_send()):
            self._pongs = pongs

    def resume_writing(self) -> None:
        """Send the answers that were kept."""
        super().resume_writing()
        pongs, self._pongs = self._pongs, b""
        if pongs and not self.transport.is_closing():
            self.transport.write(pongs)

    def handle_text(self, event: Frame) -> None:
        super().handle_text(event)
        if event.fin:
            event.data = b""  # see `_release_frame`
        else:
            self._release_frame(event)

    def handle_bytes(self, event: Frame) -> None:
        super().handle_bytes(event)
        self._release_frame(event)

    def handle_cont(self, event: Frame) -> None:
        """Accept a fragment, or close the connection."""
        if len(self.frames) < _MAX_FRAGMENTS:
            super().handle_cont(event)
            self._release_frame(event)
        else:
            self._abort()

    def send_receive_event_to_app(self) -> None:
        frames = self.frames
        size = len(frames[0]) if len(frames) == 1 else sum(map(len, frames))
        super().send_receive_event_to_app()
        if not self.close_sent:  # otherwise it was discarded
            self._sizes.append(size)
            self._waiting += size

    def _release_frame(self, event: Frame) -> None:
        self._fragments = 0 if event.fin else self._fragments + len(event.data) + _FRAGMENT_OVERHEAD_BYTES
        # The parser refers to the last frame until the next one arrives.
        event.data = b""

    def _count(self) -> None:
        held = len(self.conn.reader.buffer) + self._fragments + self._waiting
        # Common path: a small complete message costs one comparison.
        if held > _UNCOUNTED_BYTES:
            self.unread.set(held)
        elif self.unread.size:
            self.unread.set(0)

    def _abort(self) -> None:
        """Close the connection immediately, and discard its messages."""
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
