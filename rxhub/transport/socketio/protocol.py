r"""Socket.IO 0.9 (protocol 1) without I/O: text in, packets out. For clients, servers and tests.

`GET /socket.io/1/` returns the `Handshake`, `sid:heartbeat:close:transports`. Then the client opens a WebSocket at
`/socket.io/1/websocket/<sid>`. Each text frame is a packet (`packet`). Two tables for each role define which packets it
may receive and send in each state, and the state that follows; the code only reads them. A client answers each
heartbeat at once. A server acknowledges each packet with an id, later (`ServerSession.owed`).

Rules that existing clients depend on (measured):

- ftrack's Python client dies silently, still "connected", on an acknowledgement without arguments (`6:::1` and
  `6:::1+[]`), on a noop (`8::`) and on invalid JSON. So a server acknowledges with exactly one object, made here, and
  its table has no noop to send.
- ftrack's JavaScript client strips `/^\d:::?/` from a frame, so events from a server have neither id nor path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, Self

import msgspec

from rxhub.errors import ProtocolError
from rxhub.transport.socketio.packet import (
    CONNECTED,
    HEARTBEAT,
    Code,
    Packet,
    acknowledgement,
    decode,
    encode,
    event,
    excerpt,
    refusal,
)

__all__ = ["PATH", "ClientSession", "Handshake", "ServerSession", "Session", "SessionState"]

PATH: Final = "/socket.io/1/"  # the path of the handshake; the WebSocket is below it
_MAX_HANDSHAKE = 4096


class Handshake(msgspec.Struct, frozen=True):
    """The response that starts a session."""

    sid: str
    heartbeat: int | None = 60  # seconds within which a live peer sends something; None without heartbeats
    close: int | None = 60  # seconds for which the server keeps a lost connection; None if not given
    transports: tuple[str, ...] = ("websocket",)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read the line. Raises ProtocolError if it is not a handshake."""
        match = _LINE.fullmatch(line) if len(line) <= _MAX_HANDSHAKE else None
        if match is None:
            raise ProtocolError(
                f"A Socket.IO 0.9 server answers sid:heartbeat:close:transports, but {excerpt(line)} was found. "
                "Check that this is the address of an event server."
            )
        sid, heartbeat, close, transports = match.groups()
        return cls(sid, _seconds(heartbeat), _seconds(close), tuple(transports.split(",")))

    def format(self) -> str:
        """The line. Raises ProtocolError if the handshake cannot be written."""
        line = f"{self.sid}:{self.heartbeat or ''}:{self.close or ''}:{','.join(self.transports)}"
        if type(self).parse(line) != self:
            raise ProtocolError(f"{self!r} cannot be written as a handshake.")
        return line


_LINE: Final = re.compile(
    r"([A-Za-z0-9._~!$&'()*+,;=@%-]{1,256}):([1-9][0-9]{0,5}|):([1-9][0-9]{0,5}|):([a-z-]+(?:,[a-z-]+)*)", re.ASCII
)


def _seconds(digits: str) -> int | None:
    return int(digits) if digits else None


class SessionState(Enum):
    """The state of a session: before the server's `1::`, after it, and after `0::` or the end of the WebSocket."""

    OPENING = "opening"
    OPEN = "open"
    CLOSED = "closed"

    __hash__ = object.__hash__


# For each state, the allowed packets and the state that follows.
Table = Mapping[SessionState, Mapping[Code, SessionState]]
_OPENING, _OPEN, _CLOSED = SessionState

# From a client, which never sends errors. The server sends the first packet.
_FROM_CLIENT: Final[Table] = {
    _OPENING: {},
    _OPEN: {**dict.fromkeys(set(Code) - {Code.ERROR}, _OPEN), Code.DISCONNECT: _CLOSED},
    _CLOSED: {},
}

# To a client, from any server: more than ours sends.
_TO_CLIENT: Final[Table] = {
    _OPENING: {
        Code.HEARTBEAT: _OPENING,
        Code.NOOP: _OPENING,
        Code.CONNECT: _OPEN,
        Code.ERROR: _CLOSED,
        Code.DISCONNECT: _CLOSED,
    },
    _OPEN: {**dict.fromkeys(Code, _OPEN), Code.DISCONNECT: _CLOSED},
    _CLOSED: {},
}

# From our server. No noop, which kills a Python client; no message and no JSON, which ftrack does not know.
_FROM_SERVER: Final[Table] = {
    _OPENING: {Code.CONNECT: _OPEN, Code.ERROR: _CLOSED},
    _OPEN: {
        Code.HEARTBEAT: _OPEN,
        Code.EVENT: _OPEN,
        Code.ACKNOWLEDGE: _OPEN,
        Code.ERROR: _CLOSED,
        Code.DISCONNECT: _CLOSED,
    },
    _CLOSED: {},
}


class Session:
    """One end of a WebSocket."""

    __slots__ = ("_receives", "_sends", "state")

    def __init__(self, receives: Table, sends: Table) -> None:
        self._receives = receives
        self._sends = sends
        self.state = SessionState.OPENING

    def receive(self, text: str) -> Packet:
        """Read a frame and advance the state.

        Raises ProtocolError if it is malformed or not allowed in this state, which then stays.
        """
        packet = decode(text)
        state = self._receives[self.state].get(packet.code)
        if state is None:
            raise ProtocolError(f"A {packet.code.name} packet was received while the session was {self.state.value}.")
        self._check(packet)
        self.state = state
        return packet

    def _check(self, packet: Packet) -> None:
        """Raise ProtocolError if the role does not allow the packet."""

    def send(self, packet: Packet) -> str:
        """The frame of `packet`; advances the state. Raises ProtocolError if it is not allowed in this state."""
        state = self._sends[self.state].get(packet.code)
        if state is None:
            raise ProtocolError(f"A {packet.code.name} packet cannot be sent while the session is {self.state.value}.")
        text = encode(packet)
        self.state = state
        return text

    def lost(self) -> None:
        self.state = SessionState.CLOSED


class ClientSession(Session):
    """The client: answers heartbeats, numbers its events, and may ignore other packets."""

    __slots__ = ("_last_id",)

    def __init__(self) -> None:
        super().__init__(_TO_CLIENT, _FROM_CLIENT)
        self._last_id = 0

    def answer(self, packet: Packet) -> str:
        """The frame to send at once after a received packet; empty if there is none."""
        return self.send(HEARTBEAT) if packet.code is Code.HEARTBEAT and self.state is SessionState.OPEN else ""

    def emit(self, argument: str) -> tuple[int, str]:
        """The frame of an event (as JSON), and the id by which the server acknowledges it."""
        text = self.send(event(argument, self._last_id + 1))
        self._last_id += 1
        return self._last_id, text


class ServerSession(Session):
    """The server; `owed` are the ids of received packets that are not acknowledged yet.

    An event for many connections is written once, by `encode(event(argument))`, and sent where the state is OPEN.
    """

    __slots__ = ("owed",)

    def __init__(self) -> None:
        super().__init__(_FROM_CLIENT, _FROM_SERVER)
        self.owed: set[int] = set()

    def open(self) -> str:
        return self.send(CONNECTED)

    def _check(self, packet: Packet) -> None:
        if packet.path:
            raise ProtocolError(f"A packet for the endpoint {excerpt(packet.path)} was received; it must be empty.")
        if packet.id is not None and packet.code is not Code.ACKNOWLEDGE:
            if packet.id in self.owed:
                raise ProtocolError(f"A second packet with the id {packet.id} came before the first was acknowledged.")
            self.owed.add(packet.id)

    def send(self, packet: Packet) -> str:
        """See `Session.send`. An event has no id and no path; an acknowledgement is owed and contains an object."""
        if packet.path or (packet.code is Code.EVENT and packet.id is not None):
            raise ProtocolError("Packets of a server have no path, and its events no id: clients strip only `5:::`.")
        if packet.code is Code.ACKNOWLEDGE:
            if packet.id not in self.owed:
                raise ProtocolError(f"No acknowledgement is owed for {packet.id}.")
            if not packet.data.startswith("[{"):
                raise ProtocolError("An acknowledgement without an object in its list ends a Python client.")
        text = super().send(packet)
        if packet.code is Code.ACKNOWLEDGE:
            self.owed.discard(packet.id or 0)
        return text

    def accept(self, id: int) -> str:
        return self.send(acknowledgement(id))

    def refuse(self, id: int, message: str) -> str:
        return self.send(refusal(id, message))
