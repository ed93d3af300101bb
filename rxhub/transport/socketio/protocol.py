r"""Socket.IO 0.9 (protocol 1) without I/O: text in, packets out. For clients, servers and tests.

Theory of operation. A connection has two steps. `GET /socket.io/1/` is answered by one line, the `Handshake`:
`sid:heartbeat:close:transports`. Then a WebSocket is opened at `/socket.io/1/websocket/<sid>`, whose text frames are
packets, one a frame:

    code [":" [id ["+"]] ":" [path] [":" data]]        5:1+::{"name":"ftrack.event","args":[{"topic":"a"}]}

`code` is one of nine digits; `data` is whatever follows the third colon, colons included. An acknowledgement has what
it acknowledges in its data, `6:::1+[{"success":true}]`; here that is the packet's `id`, and the data the list alone.

A *session* is one end of one WebSocket. It has one of three states, and two tables a role say which packets this end
may receive and send in which, and which state that leads to; the code only reads them. Two things must be answered:
a client owes a heartbeat for each heartbeat, at once (`ClientSession.answer`); a server owes an acknowledgement for
each packet with an id, which takes its time and is therefore remembered (`ServerSession.owed`).

The payload stays text here, so that a server can route an event without ever decoding what it carries;
`rxhub.transport.json_payload` reads and writes it.

Rules of this file, each of which an existing client depends on (measured):

- ftrack's Python client dies silently, still "connected", on an acknowledgement without arguments (`6:::1` and
  `6:::1+[]`), on a noop (`8::`) and on bad JSON. So a server acknowledges with exactly one object that is made
  here, and its table has no noop to send.
- ftrack's JavaScript client strips `/^\d:::?/` off a frame, so an event that a server sends has neither id nor path.
- Heartbeats come as `2::` (JavaScript) and `2:::` (Python), a disconnection as `0` and `0::`. All are read;
  `2::` and `0::` are sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final, Self

import msgspec

from rxhub.errors import ProtocolError

__all__ = [
    "CONNECTED",
    "DISCONNECTED",
    "EVENT_NAME",
    "HEARTBEAT",
    "MAX_ID_DIGITS",
    "MAX_PACKET",
    "PATH",
    "ClientSession",
    "Code",
    "Handshake",
    "Packet",
    "Reason",
    "ServerSession",
    "Session",
    "State",
    "acknowledgement",
    "decode",
    "encode",
    "error",
    "event",
    "refusal",
]

PATH: Final = "/socket.io/1/"
"""Where the handshake is; the WebSocket is below it."""

EVENT_NAME: Final = "ftrack.event"
"""The one name under which events are emitted."""

MAX_PACKET: Final = 4 * 1024 * 1024
"""Characters of a packet that are read; the largest events of pipelines have tens of thousands."""

MAX_ID_DIGITS: Final = 16
"""JavaScript counts exactly up to 2**53, which has 16 digits."""

_MAX_PATH = 256
_MAX_HANDSHAKE = 4096


class Code(IntEnum):
    """What a packet is."""

    DISCONNECT = 0
    CONNECT = 1
    HEARTBEAT = 2
    MESSAGE = 3
    JSON = 4
    EVENT = 5
    ACKNOWLEDGE = 6
    ERROR = 7
    NOOP = 8


_CODES: Final[Mapping[str, Code]] = {str(int(code)): code for code in Code}
_NUMBERED: Final = frozenset({Code.MESSAGE, Code.JSON, Code.EVENT})


class Packet(msgspec.Struct, frozen=True):
    """One packet.

    Attributes:
        code: what it is.
        id: by which it is to be acknowledged; of an acknowledgement, the id that it acknowledges.
        wants_data: the id is followed by `+`: its sender waits for data in the acknowledgement.
        path: the endpoint; ftrack has only the empty one.
        data: the rest, as text; for an event and an acknowledgement it is JSON that nobody has looked at.
    """

    code: Code
    id: int | None = None
    wants_data: bool = False
    path: str = ""
    data: str = ""


class Reason(IntEnum):
    """Why a server refuses a session, as Socket.IO 0.9 numbers it."""

    TRANSPORT_NOT_SUPPORTED = 0
    CLIENT_NOT_HANDSHAKEN = 1
    UNAUTHORIZED = 2


def decode(text: str) -> Packet:
    """Read one packet.

    Raises:
        ProtocolError: if `text` is no packet, or longer than MAX_PACKET characters.
    """
    if not isinstance(text, str):
        raise ProtocolError(f"A packet is a text frame, but {type(text).__name__} was received.")
    if len(text) > MAX_PACKET:
        raise ProtocolError(f"A packet of {len(text)} characters was received; at most {MAX_PACKET} are read.")
    head, *parts = text.split(":", 3)
    code = _CODES.get(head)
    if code is None:
        raise _malformed(text, "it begins with none of the codes 0 to 8")
    if not parts:
        parts = ["", ""]
    elif len(parts) == 1:
        raise _malformed(text, "after its code it has one colon, and needs two")
    number, path = parts[0], parts[1]
    data = parts[2] if len(parts) == 3 else ""
    if path and len(path) > _MAX_PATH:
        raise _malformed(text, f"its path is longer than {_MAX_PATH} characters")
    if code is Code.ACKNOWLEDGE:
        if number:
            raise _malformed(text, "an acknowledgement has its id in its data")
        number, plus, data = data.partition("+")
        if plus and not data:
            raise _malformed(text, "after the + of an acknowledgement a list is expected")
        return Packet(code, _identifier(number, text), False, path, data)
    if not number:
        return Packet(code, None, False, path, data)
    if code not in _NUMBERED:
        raise _malformed(text, "only a message, a JSON packet and an event have an id")
    wants_data = number[-1] == "+"
    return Packet(code, _identifier(number[:-1] if wants_data else number, text), wants_data, path, data)


def encode(packet: Packet) -> str:
    """Write one packet, so that `decode(encode(packet)) == packet`.

    Raises:
        ProtocolError: if no text denotes this packet.
    """
    code, number, path, data = packet.code, packet.id, packet.path, packet.data
    if ":" in path or len(path) > _MAX_PATH:
        raise ProtocolError(f"A path has no colon and at most {_MAX_PATH} characters, but {path[:80]!r} was given.")
    if number is not None and not 0 <= number < 10**MAX_ID_DIGITS:
        raise ProtocolError(f"A packet's id is a number of at most {MAX_ID_DIGITS} digits, but {number} was given.")
    if code is Code.ACKNOWLEDGE:
        if number is None or packet.wants_data:
            raise ProtocolError("An acknowledgement needs the id that it acknowledges, and wants no data.")
        return f"6::{path}:{number}+{data}" if data else f"6::{path}:{number}"
    if number is None:
        if packet.wants_data:
            raise ProtocolError("A packet that wants data needs an id, by which it is acknowledged.")
        written = ""
    elif code in _NUMBERED:
        written = f"{number}+" if packet.wants_data else f"{number}"
    else:
        raise ProtocolError(f"Only a message, a JSON packet and an event have an id, not {code.name}.")
    return f"{int(code)}:{written}:{path}:{data}" if data else f"{int(code)}:{written}:{path}"


CONNECTED: Final = Packet(Code.CONNECT)
"""The first packet of a server: `1::`."""

DISCONNECTED: Final = Packet(Code.DISCONNECT)
"""The last packet of either end, which may as well just close: `0::`."""

HEARTBEAT: Final = Packet(Code.HEARTBEAT)
"""A server's question and a client's answer whether the other one is there: `2::`."""


def event(argument: str, id: int | None = None) -> Packet:
    """An event packet.

    Args:
        argument: the event as JSON text; it must be valid.
        id: for a client, which waits for an acknowledgement; a server gives none.
    """
    return Packet(Code.EVENT, id, id is not None, "", f'{{"name":"{EVENT_NAME}","args":[{argument}]}}')


def acknowledgement(id: int) -> Packet:
    """What a server answers to a packet that it has taken."""
    return Packet(Code.ACKNOWLEDGE, id, False, "", '[{"success":true}]')


def refusal(id: int, message: str) -> Packet:
    """What a server answers to a packet that it refuses.

    Args:
        id: of that packet.
        message: why, for people.
    """
    answer = [{"success": False, "message": _writable(message)}]
    return Packet(Code.ACKNOWLEDGE, id, False, "", msgspec.json.encode(answer).decode())


def error(reason: Reason, reconnect: bool = False) -> Packet:
    """Why a server ends a session.

    Args:
        reason: why.
        reconnect: the client is advised to begin anew, with a handshake.
    """
    return Packet(Code.ERROR, data=f"{int(reason)}+0" if reconnect else f"{int(reason)}")


class Handshake(msgspec.Struct, frozen=True):
    """The line by which a server begins.

    Attributes:
        sid: the session's id, fit to be a part of a URL.
        heartbeat: seconds within which a peer that is alive lets itself be heard; None if there are no heartbeats.
        close: seconds for which the server keeps a lost connection; None if it does not say.
        transports: what the server offers.
    """

    sid: str
    heartbeat: int | None = 60
    close: int | None = 60
    transports: tuple[str, ...] = ("websocket",)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read the line.

        Raises:
            ProtocolError: if it is none.
        """
        match = _LINE.fullmatch(line) if len(line) <= _MAX_HANDSHAKE else None
        if match is None:
            raise ProtocolError(
                f"A Socket.IO 0.9 server answers sid:heartbeat:close:transports, but {_shown(line)} was found. "
                "Is this the address of an event server?"
            )
        sid, heartbeat, close, transports = match.groups()
        return cls(
            sid,
            int(heartbeat) if heartbeat else None,
            int(close) if close else None,
            tuple(transports.split(",")),
        )

    def format(self) -> str:
        """The line.

        Raises:
            ProtocolError: if no line denotes this handshake.
        """
        heartbeat = "" if self.heartbeat is None else self.heartbeat
        close = "" if self.close is None else self.close
        line = f"{self.sid}:{heartbeat}:{close}:{','.join(self.transports)}"
        if type(self).parse(line) != self:
            raise ProtocolError(f"{self!r} cannot be written as a handshake.")
        return line


_LINE: Final = re.compile(
    r"([A-Za-z0-9._~!$&'()*+,;=@%-]{1,256}):([1-9][0-9]{0,5}|):([1-9][0-9]{0,5}|):([a-z-]+(?:,[a-z-]+)*)", re.ASCII
)


class State(Enum):
    """Where a session stands.

    Attributes:
        OPENING: the WebSocket is open, and the server has not yet said `1::`.
        OPEN: packets go both ways.
        CLOSED: one end has said `0::`, or the WebSocket is gone.
    """

    OPENING = "opening"
    OPEN = "open"
    CLOSED = "closed"

    __hash__ = object.__hash__


Table = Mapping[State, Mapping[Code, State]]
"""For each state the packets that are allowed, each with the state that it leads to."""


def _stay(state: State, *codes: Code) -> dict[Code, State]:
    return dict.fromkeys(codes, state)


# What a client says, and therefore a server hears. A client never reports an error, and it begins when it has been
# let in; that its first packet overtakes our `1::` is impossible, since the server speaks first.
_FROM_CLIENT: Final[Table] = {
    State.OPENING: {},
    State.OPEN: {
        **_stay(
            State.OPEN, Code.CONNECT, Code.HEARTBEAT, Code.MESSAGE, Code.JSON, Code.EVENT, Code.ACKNOWLEDGE, Code.NOOP
        ),
        Code.DISCONNECT: State.CLOSED,
    },
    State.CLOSED: {},
}

# What other servers say, and therefore a client hears: more than ours ever says.
_TO_CLIENT: Final[Table] = {
    State.OPENING: {
        **_stay(State.OPENING, Code.HEARTBEAT, Code.NOOP),
        **_stay(State.CLOSED, Code.ERROR, Code.DISCONNECT),
        Code.CONNECT: State.OPEN,
    },
    State.OPEN: {
        **_stay(State.OPEN, *Code),
        Code.DISCONNECT: State.CLOSED,
    },
    State.CLOSED: {},
}

# What our server says. No noop, which kills a Python client; no message and no JSON, which ftrack does not know.
_BY_SERVER: Final[Table] = {
    State.OPENING: {Code.CONNECT: State.OPEN, Code.ERROR: State.CLOSED},
    State.OPEN: {
        **_stay(State.OPEN, Code.HEARTBEAT, Code.EVENT, Code.ACKNOWLEDGE),
        **_stay(State.CLOSED, Code.ERROR, Code.DISCONNECT),
    },
    State.CLOSED: {},
}


class Session:
    """One end of one WebSocket; what the two ends share.

    Attributes:
        state: where it stands; set to CLOSED by `lost`.
    """

    __slots__ = ("_hears", "_says", "state")

    def __init__(self, hears: Table, says: Table) -> None:
        self._hears = hears
        self._says = says
        self.state = State.OPENING

    def receive(self, text: str) -> Packet:
        """Read what the other end has sent, and move on.

        Raises:
            ProtocolError: if it is malformed or not allowed in this state; the session then stays as it is, and a
                server closes the connection.
        """
        packet = decode(text)
        state = self._hears[self.state].get(packet.code)
        if state is None:
            raise ProtocolError(f"A {packet.code.name} packet was received while the session was {self.state.value}.")
        self._admit(packet)
        self.state = state
        return packet

    def _admit(self, packet: Packet) -> None:
        """Refuse a packet for what else this end knows of it."""

    def send(self, packet: Packet) -> str:
        """The text to send for `packet`; moves on.

        Raises:
            ProtocolError: if this end must not send it, or not now.
        """
        state = self._says[self.state].get(packet.code)
        if state is None:
            raise ProtocolError(f"A {packet.code.name} packet cannot be sent while the session is {self.state.value}.")
        text = encode(packet)
        self.state = state
        return text

    def lost(self) -> None:
        """The WebSocket is gone."""
        self.state = State.CLOSED


class ClientSession(Session):
    """The end that has connected: waits for `1::`, answers heartbeats, numbers its events.

    Whatever it reads and does not know, such as a message or a noop, it may ignore.
    """

    __slots__ = ("_last_id",)

    def __init__(self) -> None:
        super().__init__(_TO_CLIENT, _FROM_CLIENT)
        self._last_id = 0

    def answer(self, packet: Packet) -> str:
        """What must be sent at once for a received packet; empty if nothing."""
        return self.send(HEARTBEAT) if packet.code is Code.HEARTBEAT and self.state is State.OPEN else ""

    def emit(self, argument: str) -> tuple[int, str]:
        """The text to send for an event (given as JSON text), and the id by which it will be acknowledged.

        Raises:
            ProtocolError: if the session is not open.
        """
        text = self.send(event(argument, self._last_id + 1))
        self._last_id += 1
        return self._last_id, text


class ServerSession(Session):
    """The end that was connected to: says `1::`, asks for heartbeats, owes acknowledgements.

    An event for many connections is written once, `encode(event(argument))`, and sent wherever the state is OPEN.

    Attributes:
        owed: ids of what was received and not yet acknowledged.
    """

    __slots__ = ("owed",)

    def __init__(self) -> None:
        super().__init__(_FROM_CLIENT, _BY_SERVER)
        self.owed: set[int] = set()

    def open(self) -> str:
        """The first packet to send."""
        return self.send(CONNECTED)

    def _admit(self, packet: Packet) -> None:
        if packet.path:
            raise ProtocolError(f"A packet for the endpoint {_shown(packet.path)} was received; only the empty one is.")
        if packet.id is not None and packet.code is not Code.ACKNOWLEDGE:
            if packet.id in self.owed:
                raise ProtocolError(f"A second packet with the id {packet.id} came before the first was acknowledged.")
            self.owed.add(packet.id)

    def send(self, packet: Packet) -> str:
        """As `Session.send`; an event has no id and no path, and an acknowledgement must be owed and hold an object.

        Raises:
            ProtocolError: if a client would suffer from it.
        """
        if packet.path or (packet.code is Code.EVENT and packet.id is not None):
            raise ProtocolError(
                "What a server sends has no path, and its events have no id: clients strip `5:::` only."
            )
        if packet.code is Code.ACKNOWLEDGE:
            if packet.id not in self.owed:
                raise ProtocolError(f"No acknowledgement is owed for {packet.id}.")
            if not packet.data.startswith("[{"):
                raise ProtocolError("An acknowledgement without an object in its list ends a Python client.")
            text = super().send(packet)
            self.owed.discard(packet.id)
            return text
        return super().send(packet)

    def accept(self, id: int) -> str:
        """The text that acknowledges a packet."""
        return self.send(acknowledgement(id))

    def refuse(self, id: int, message: str) -> str:
        """The text that tells why a packet was refused."""
        return self.send(refusal(id, message))


def _identifier(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_ID_DIGITS):
        raise _malformed(text, f"an id of 1 to {MAX_ID_DIGITS} digits is expected")
    return int(digits)


def _malformed(text: str, why: str) -> ProtocolError:
    return ProtocolError(f"{_shown(text)} is no Socket.IO 0.9 packet: {why}.")


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:80]!r}…"


def _writable(text: str) -> str:
    """Without lone surrogates, which no UTF-8 can carry."""
    return text.encode("utf-8", "replace").decode()
