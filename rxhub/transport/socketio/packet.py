"""The packets of Socket.IO 0.9, one text frame each.

    code [":" [id ["+"]] ":" [path] [":" data]]        5:1+::{"name":"ftrack.event","args":[{"topic":"a"}]}

`code` is a digit; `data` is everything after the third colon. An acknowledgement has the acknowledged id in its data,
`6:::1+[{"success":true}]`; here it is the packet's `id`, and the data is the list alone. The data stays text, so that
a server can route events without decoding them. Heartbeats arrive as `2::` (JavaScript) and `2:::` (Python),
disconnects as `0` and `0::`. All are accepted; `2::` and `0::` are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

from rxhub.errors import ProtocolError

__all__ = [
    "CONNECTED",
    "DISCONNECTED",
    "EVENT_NAME",
    "HEARTBEAT",
    "MAX_ID_DIGITS",
    "MAX_PACKET",
    "Code",
    "Packet",
    "acknowledgement",
    "decode",
    "encode",
    "event",
    "excerpt",
    "refusal",
]

EVENT_NAME: Final = "ftrack.event"  # the name of every event packet
MAX_PACKET: Final = 4 * 1024 * 1024  # the maximum length of a packet in characters; large events have tens of thousands
MAX_ID_DIGITS: Final = 16  # JavaScript counts exactly up to 2**53, a number of 16 digits
_MAX_PATH = 256


class Code(IntEnum):
    """The type of a packet."""

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
    """One packet."""

    code: Code
    id: int | None = None  # to acknowledge it by; of an acknowledgement, the acknowledged id
    wants_data: bool = False  # the id is followed by `+`: the sender waits for data in the acknowledgement
    path: str = ""  # the endpoint; always empty with ftrack
    data: str = ""  # the rest; unchecked JSON in events and acknowledgements


def decode(text: str) -> Packet:
    """Read one packet. Raises ProtocolError if `text` is not a packet, or longer than MAX_PACKET characters."""
    if not isinstance(text, str):
        raise ProtocolError(f"A packet is a text frame, but {type(text).__name__} was received.")
    if len(text) > MAX_PACKET:
        raise ProtocolError(f"A packet of {len(text)} characters was received; at most {MAX_PACKET} are accepted.")
    head, *parts = text.split(":", 3)
    code = _CODES.get(head)
    if code is None:
        raise _malformed(text, "it does not start with a code from 0 to 8")
    if not parts:
        parts = ["", ""]
    elif len(parts) == 1:
        raise _malformed(text, "its code is followed by one colon instead of two")
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
    """Write one packet, so that `decode(encode(packet)) == packet`. Raises ProtocolError if it is inconsistent."""
    code, number, path, data = packet.code, packet.id, packet.path, packet.data
    if ":" in path or len(path) > _MAX_PATH:
        raise ProtocolError(f"A path has no colon and at most {_MAX_PATH} characters, but {path[:80]!r} was given.")
    if number is not None and not 0 <= number < 10**MAX_ID_DIGITS:
        raise ProtocolError(f"A packet's id is a number of at most {MAX_ID_DIGITS} digits, but {number} was given.")
    if code is Code.ACKNOWLEDGE:
        if number is None or packet.wants_data:
            raise ProtocolError("An acknowledgement needs the acknowledged id and wants no data.")
        return f"6::{path}:{number}+{data}" if data else f"6::{path}:{number}"
    if number is None:
        if packet.wants_data:
            raise ProtocolError("A packet that wants data needs an id.")
        written = ""
    elif code in _NUMBERED:
        written = f"{number}+" if packet.wants_data else f"{number}"
    else:
        raise ProtocolError(f"Only a message, a JSON packet and an event have an id, not {code.name}.")
    return f"{int(code)}:{written}:{path}:{data}" if data else f"{int(code)}:{written}:{path}"


CONNECTED: Final = Packet(Code.CONNECT)  # the first packet of a server
DISCONNECTED: Final = Packet(Code.DISCONNECT)  # the last packet of either end, which may also just close the WebSocket
HEARTBEAT: Final = Packet(Code.HEARTBEAT)  # a server's request and a client's answer


def event(argument: str, id: int | None = None) -> Packet:
    """An event packet of an event as JSON; `id` is for a client, which waits for an acknowledgement."""
    return Packet(Code.EVENT, id, id is not None, "", f'{{"name":"{EVENT_NAME}","args":[{argument}]}}')


def acknowledgement(id: int) -> Packet:
    """The answer of a server that accepted a packet."""
    return Packet(Code.ACKNOWLEDGE, id, False, "", '[{"success":true}]')


def refusal(id: int, message: str) -> Packet:
    """The answer of a server that refused a packet, with the reason."""
    answer = [{"success": False, "message": _without_surrogates(message)}]
    return Packet(Code.ACKNOWLEDGE, id, False, "", msgspec.json.encode(answer).decode())


def _identifier(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_ID_DIGITS):
        raise _malformed(text, f"an id of 1 to {MAX_ID_DIGITS} digits is expected")
    return int(digits)


def _malformed(text: str, why: str) -> ProtocolError:
    return ProtocolError(f"{excerpt(text)} is not a Socket.IO 0.9 packet: {why}.")


def excerpt(text: str) -> str:
    """The beginning of a text, for messages."""
    return repr(text) if len(text) <= 80 else f"{text[:80]!r}…"


def _without_surrogates(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()
