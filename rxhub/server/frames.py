"""The WebSocket's frames, as uvicorn reads them, with two bounds that it does not have.

Both are about what never becomes a message, so that neither a queue nor a rate limit of ours gets to see it.

- A ping is answered at once, also when the peer does not read: the answers of a flood would pile up in the transport.
  While it is full they are left out but for the last ones, which RFC 6455 (5.5.3) allows.
- A message in fragments may have any number of them: four million of one byte take a hundred times their length.
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

__all__ = ["Frames"]

_MOST_FRAGMENTS: Final = 4_096


class Frames(WebSocketsSansIOProtocol):
    """One WebSocket of uvicorn's."""

    _pongs = b""

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
