r"""An event as the server reads it: the envelope for routing, and the received text for forwarding.

The server decodes the envelope only. `data` stays undecoded unless a subscription reads it (`decode_all`), and
subscribers receive the text that the publisher sent. So the server must reject text that a client cannot parse:
ftrack's Python client stops reading, while still "connected", when `json.loads` raises.

msgspec validates skipped values as strictly as decoded ones: control characters, escapes, surrogates, NaN. This module
checks two more things:

- Numbers. `json.loads` rejects integers with more than 4,300 digits. (`1e400` is accepted; clients read it as
  infinity.)
- Depth, measured only if there are enough brackets. The text is reduced to brackets and quotes, then to brackets
  outside strings, all of one kind. Each bracket becomes a bit of a long integer. Two tables contain the change of
  depth and the maximum depth of each byte, which is eight brackets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add
from typing import Any, Final

import msgspec

from rxhub.errors import EventError
from rxhub.transport.socketio.packet import EVENT_NAME, Code, Packet, encode

__all__ = [
    "MAX_DEPTH",
    "Envelope",
    "OutgoingEvent",
    "argument",
    "candidate_of",
    "checked_payload",
    "decode_all",
    "decoding_steps",
    "payload",
    "read",
    "read_argument",
    "read_envelope",
    "reading_steps",
]

MAX_DEPTH: Final = 64
"""Nested objects and lists, including the two of the packet."""


class Envelope(msgspec.Struct, rename={"in_reply_to_event": "inReplyToEvent"}):
    """The fields of an event, except for the content of `data`.

    Attributes:
        topic: dotted name.
        id: of the event; None if the publisher did not set one.
        target: an expression over the metadata of subscribers; empty or None for all subscribers.
        source: the publisher, as it describes itself.
        sent: time of publishing, as the publisher wrote it.
        in_reply_to_event: id of the event that this one replies to.
        data: undecoded.
    """

    topic: str
    id: str | None = None
    target: str | None = None
    source: dict[str, Any] | None = None
    sent: Any = None
    in_reply_to_event: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")

    def candidate(self) -> dict[str, Any]:
        """The fields that subscriptions are tested against, without `data`."""
        return {
            "topic": self.topic,
            "id": self.id,
            "target": self.target or "",
            "source": self.source or {},
            "sent": self.sent,
            "in_reply_to_event": self.in_reply_to_event,
        }


class _Payload(msgspec.Struct):
    name: str
    args: tuple[msgspec.Raw]


class _Event(msgspec.Struct):
    name: str
    args: tuple[Envelope]


_ABSENT: Final[dict[str, Any]] = {"id": None, "target": "", "source": {}, "sent": None, "data": {}}

_decode = msgspec.json.Decoder(_Event).decode
_envelope = msgspec.json.Decoder(Envelope).decode
_payload = msgspec.json.Decoder(_Payload).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_mapping = msgspec.json.Decoder(dict[str, Any]).decode

_UNCHARGED_CHARACTERS: Final = 4_096
_MAX_ENVELOPE_BYTES: Final = 16 * 1024
_MAX_DIGITS: Final = 4_300
_LONG_NUMBER: Final = b"0" * _MAX_DIGITS
_ONE_DIGIT: Final = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_STRIDE: Final = 430
_STRIDES: Final = re.compile(rf"[0-9]{{{_MAX_DIGITS // _STRIDE}}}")
_OUTSIDE_STRINGS: Final = slice(None, None, 2)
_ONE_KIND: Final = bytes.maketrans(b"[]", b"{}")
_REST: Final = bytes(set(range(256)) - set(b'{}[]"'))
_AS_BITS: Final = bytes.maketrans(b"{}", b"10")
# The depths after each of eight brackets, of which an opening one is a 1.
_LEVELS: Final = [list(accumulate(1 if byte >> bit & 1 else -1 for bit in range(7, -1, -1))) for byte in range(256)]
_CHANGES: Final = [levels[-1] for levels in _LEVELS]
_DEEPEST: Final = [max(levels) for levels in _LEVELS]


def read(text: str) -> Envelope:
    """Read the payload of an event packet.

    Args:
        text: `{"name":"ftrack.event","args":[{…}]}` as a string. In bytes, msgspec would accept invalid UTF-8.

    Raises:
        EventError: if it is invalid, or some clients could not parse it.
    """
    try:
        event = _decode(text)
    except msgspec.ValidationError as error:
        raise EventError(f"The packet is not a valid event: {error}.") from None
    except msgspec.DecodeError as error:
        raise EventError(f"The event packet is not valid JSON: {error}.") from None
    except RecursionError:
        raise _too_deep() from None
    if event.name != EVENT_NAME:
        raise EventError(f"The server only accepts events named {EVENT_NAME!r}, not {event.name[:80]!r}.")
    _check(text)
    return event.args[0]


def read_argument(argument: str) -> tuple[Envelope, str]:
    """Read an event that is not in a packet.

    Args:
        argument: `{"topic":"…", …}` as a string.

    Returns:
        The envelope, and the payload of a packet with this event.

    Raises:
        EventError: if it is invalid, or some clients could not parse it.
    """
    return read_envelope(argument), checked_payload(argument)


def checked_payload(argument: str) -> str:
    """The second result of `read_argument`, for an event that `read_envelope` has accepted."""
    text = payload(argument)
    _check(text)
    return text


def read_envelope(argument: str) -> Envelope:
    """The first result of `read_argument`, without checking whether all clients can parse the event."""
    try:
        return _envelope(argument)
    except msgspec.ValidationError as error:
        raise EventError(f"This is not a valid event: {error}.") from None
    except msgspec.DecodeError as error:
        raise EventError(f"The event is not valid JSON: {error}.") from None
    except RecursionError:
        raise _too_deep() from None


def decode_all(text: str) -> dict[str, Any]:
    """Decode all fields of an event that `read` has accepted, in the form that subscriptions are tested against.

    Raises:
        EventError: if a number in it is out of range.
    """
    try:
        fields = _mapping(_payload(text).args[0])
    except msgspec.DecodeError as error:
        raise EventError(f"A subscription reads the data of this event, which cannot be decoded: {error}.") from None
    return candidate_of(fields)


def candidate_of(fields: dict[str, Any]) -> dict[str, Any]:
    """The decoded fields of an event in the form that subscriptions are tested against. Changes the dictionary."""
    fields["in_reply_to_event"] = fields.pop("inReplyToEvent", None)
    for key, absent in _ABSENT.items():
        if fields.get(key) is None:
            fields[key] = absent
    return fields


def reading_steps(text: str) -> int:
    """The steps of work of `read`, see `rxhub.server.limits.Limits.work`. Small events are not charged."""
    return len(text) // 16 + (text.count("[") + text.count("{")) // 4 if len(text) > _UNCHARGED_CHARACTERS else 0


def decoding_steps(text: str) -> int:
    """The steps of work of `decode_all`."""
    return len(text) // 8 + text.count(",") + 3 * (text.count("[") + text.count("{"))


def argument(text: str) -> str:
    """The received JSON of the event in a payload that `read` has accepted."""
    return bytes(_payload(text).args[0]).decode()


def payload(argument: str) -> str:
    """The payload of a packet with this event, for `read`."""
    return f'{{"name":"{EVENT_NAME}","args":[{argument}]}}'


def _check(text: str) -> None:
    # First sample characters at regular distances: a run that is too long contains ten samples. Then search bytes in
    # linear time. A regular expression would start again at each digit of a run that is almost too long.
    if (
        len(text) > _MAX_DIGITS
        and _STRIDES.search(text[::_STRIDE])
        and _LONG_NUMBER in text.encode().translate(_ONE_DIGIT)
    ):
        raise EventError(
            f"An event may not contain {_MAX_DIGITS} digits in a row, because Python clients cannot parse such numbers."
        )
    if len(text) > _MAX_ENVELOPE_BYTES:
        # Unlike data, the envelope is decoded and tested for each event.
        fields = _fields(_payload(text).args[0])
        if sum(len(memoryview(value)) for name, value in fields.items() if name != "data") > _MAX_ENVELOPE_BYTES:
            raise EventError(f"The fields of an event other than data may have {_MAX_ENVELOPE_BYTES} bytes at most.")
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_too_deep(text):
        raise _too_deep()


def _is_too_deep(text: str) -> bool:
    if "\\" in text:
        # Backslashes only occur in strings. The first of a run escapes the second.
        text = text.replace("\\\\", "").replace('\\"', "")
    brackets = text.encode().translate(_ONE_KIND, _REST).replace(b'""', b"")
    if b'"' in brackets:
        brackets = b"".join(brackets.split(b'"')[_OUTSIDE_STRINGS])
    # Valid JSON is balanced and ends with closing brackets, so more of them do not change the result.
    brackets += b"}" * (-len(brackets) % 8)
    eights = int(brackets.translate(_AS_BITS), 2).to_bytes(len(brackets) // 8, "big")
    ends = accumulate(map(_CHANGES.__getitem__, eights), initial=0)
    return max(map(add, ends, map(_DEEPEST.__getitem__, eights)), default=0) > MAX_DEPTH


def _too_deep() -> EventError:
    return EventError(f"The event is nested too deeply. At most {MAX_DEPTH} levels are allowed.")


@dataclass(slots=True, eq=False)
class OutgoingEvent:
    """An event that was routed. Each form is encoded once, for all clients that receive it.

    Attributes:
        envelope: of the event.
        text: the payload of its packet.
        sequence: of the event in the stream, if it comes from one; otherwise 0.
    """

    envelope: Envelope
    text: str
    sequence: int = 0
    _packet: str | None = None
    _encoded: dict[Callable[[OutgoingEvent], bytes], bytes] = field(default_factory=dict, init=False)

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
