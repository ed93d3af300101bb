"""An event on its way to the clients that receive it."""

from __future__ import annotations

from collections.abc import Callable

from rxhub.server.envelope import Envelope, argument
from rxhub.transport.socketio.packet import Code, Packet, encode

__all__ = ["OutgoingEvent"]


class OutgoingEvent:
    """An event that was routed. Each form is encoded once, for all clients that receive it.

    Args:
        envelope: of the event.
        text: the payload of its packet.
        sequence: of the event in the stream, if it comes from one; otherwise 0.
    """

    __slots__ = ("_encoded", "_packet", "envelope", "sequence", "text")

    def __init__(self, envelope: Envelope, text: str, sequence: int = 0) -> None:
        self.envelope = envelope
        self.text = text
        self.sequence = sequence
        self._packet: str | None = None
        self._encoded: dict[Callable[[OutgoingEvent], bytes], bytes] = {}

    @property
    def packet(self) -> str:
        """The packet for WebSockets."""
        if self._packet is None:
            self._packet = encode(Packet(Code.EVENT, data=self.text))
        return self._packet

    @property
    def argument(self) -> str:
        """The event as JSON, as the publisher sent it."""
        return argument(self.text)

    def encoded(self, encode: Callable[[OutgoingEvent], bytes]) -> bytes:
        """The result of `encode`, which is called once."""
        found = self._encoded.get(encode)
        if found is None:
            found = self._encoded[encode] = encode(self)
        return found
