"""uvicorn's protocols for HTTP and WebSocket, with the deadlines and bounds that they do not have.

The only module that uses attributes of uvicorn and websockets that are not documented. What it relies on is tested by
`tests/server/test_uvicorn_protocols.py`, so that a new version cannot change it unnoticed.

HTTP: a request must be complete within some seconds, counted from the moment in which the connection was accepted, or
from its first byte if the connection was kept alive. It may be small only: the server's requests have no body.

WebSocket: what never becomes a message is bounded, since neither a queue nor a rate limit of ours gets to see it.

- A ping is answered at once, also when the peer does not read: the answers of a flood would pile up in the transport.
  While it is full they are left out but for the last ones, which RFC 6455 (5.5.3) allows.
- A message in fragments may have any number of them: four million of one byte take a hundred times their length.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from rxhub.server.sockets import Slot

__all__ = ["Http", "WebSocket", "protocol_factory"]

_MOST_REQUEST: Final = 64 * 1024
_MOST_FRAGMENTS: Final = 4_096

# uvicorn warns of every malformed request. Anyone can send them, so they are counted instead.
_logger = logging.getLogger("rxhub.server.http")
_logger.setLevel(logging.ERROR)


def protocol_factory(server: uvicorn.Server, timeout: float) -> Callable[[Slot], asyncio.Protocol]:
    """What makes the protocol of an accepted connection.

    Args:
        server: it has started.
        timeout: seconds for a complete request.
    """

    def make(slot: Slot) -> Http:
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

    slot: Slot
    timeout: float
    _deadline: asyncio.TimerHandle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.logger = _logger
        self.slot.sockets.waits(self.slot, transport.abort)
        self._deadline = self.loop.call_at(self.slot.accepted + self.timeout, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self.slot.sockets.release(self.slot)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > _MOST_REQUEST:
            self.slot.sockets.counters.requests_refused += 1
            self.transport.abort()
            return
        if self._deadline is None and self._is_waiting():
            self._deadline = self.loop.call_later(self.timeout, self._expire)
        super().data_received(data)
        if self._deadline is not None and not self._is_waiting():
            self._stop_clock()
            self.slot.sockets.works(self.slot)

    def on_response_complete(self) -> None:
        self._received = 0
        super().on_response_complete()
        if self._is_waiting() and not self.transport.is_closing():
            # uvicorn closes it after some seconds without a byte.
            self.slot.sockets.waits(self.slot, self.transport.abort)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_clock()
        self.slot.sockets.works(self.slot)
        super().handle_websocket_upgrade(event)
        cast("WebSocket", self.transport.get_protocol()).slot = self.slot

    def send_400_response(self, msg: str) -> None:
        self._stop_clock()
        self.slot.sockets.counters.requests_refused += 1
        super().send_400_response(msg)

    def _is_waiting(self) -> bool:
        """Whether a request is not complete: it has not begun, or its body is missing."""
        return self.conn.their_state in {h11.IDLE, h11.SEND_BODY}

    def _stop_clock(self) -> None:
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
    """

    slot: Slot | None = None
    _pongs = b""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Whatever the level of logging: a request has a key in it, and frames have events.
        self.conn.debug = False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.slot is not None:
            self.slot.sockets.release(self.slot)
        super().connection_lost(exc)

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

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment, or end the connection."""
        if len(self.frames) < _MOST_FRAGMENTS:
            super().handle_cont(event)
        else:
            self.frames = []
            self.transport.abort()
