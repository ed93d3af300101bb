r"""An event as a server reads it: what it routes by, and the text that it forwards as it came.

Theory of operation. A server decodes the envelope alone; `data` stays the bytes that it is, unless a subscription
asks for what stands in it (`decode_all`). What goes out to subscribers is the very text that came in, so
nothing is encoded again either. Then a text must be refused here that some client could not read: ftrack's Python
client stops reading for good, still "connected", when `json.loads` raises.

msgspec checks what it passes over as strictly as what it decodes: control characters, escapes, half surrogate pairs,
NaN. It leaves two things to be looked at here:

- Numbers. `json.loads` raises on an integer from 4,301 digits on. (`1e400`, which every client reads as infinity,
  passes.)
- Depth, which is measured only where there are enough brackets. The text is reduced to brackets and quotes, then to
  brackets outside strings, all of one kind. Each is then a bit of one long number, whose bytes are eight brackets each:
  two tables tell by how much such a byte goes down, and how deep it gets within.
"""

from __future__ import annotations

import re
from itertools import accumulate
from operator import add
from typing import Any, Final

import msgspec

from rxhub.errors import EventError
from rxhub.transport.socketio.packet import EVENT_NAME

__all__ = ["MAX_DEPTH", "Envelope", "argument", "decode_all", "decoding_steps", "payload", "read", "reading_steps"]

MAX_DEPTH: Final = 64
"""Objects and lists within each other, the packet's own two included."""


class Envelope(msgspec.Struct, rename={"in_reply_to_event": "inReplyToEvent"}):
    """What stands around an event's data.

    Attributes:
        topic: dotted name of what happened.
        id: the event's own; None if its publisher gave none.
        target: an expression over the metadata of subscribers; empty or None if everybody is meant.
        source: who published it, by their own account.
        sent: when, as the publisher wrote it.
        in_reply_to_event: id of the event that this one answers.
        data: what happened, undecoded.
    """

    topic: str
    id: str | None = None
    target: str | None = None
    source: dict[str, Any] | None = None
    sent: Any = None
    in_reply_to_event: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")

    def candidate(self) -> dict[str, Any]:
        """What subscriptions are tested against, without `data`."""
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
# Of eight brackets, an opening one being a 1: the levels after each.
_LEVELS: Final = [list(accumulate(1 if byte >> bit & 1 else -1 for bit in range(7, -1, -1))) for byte in range(256)]
_CHANGES: Final = [levels[-1] for levels in _LEVELS]
_DEEPEST: Final = [max(levels) for levels in _LEVELS]


def read(text: str) -> Envelope:
    """Read the payload of an event packet.

    Args:
        text: `{"name":"ftrack.event","args":[{…}]}`, as text: of bytes, msgspec would take invalid UTF-8.

    Raises:
        EventError: if it is none, or if there are clients that could not read it.
    """
    try:
        event = _decode(text)
    except msgspec.ValidationError as error:
        raise EventError(f"An event packet was expected, but: {error}.") from None
    except msgspec.DecodeError as error:
        raise EventError(f"An event packet is JSON, but: {error}.") from None
    except RecursionError:
        raise _too_deep() from None
    if event.name != EVENT_NAME:
        raise EventError(f"Only events named {EVENT_NAME!r} are taken, but {event.name[:80]!r} was found.")
    _check(text)
    return event.args[0]


def decode_all(text: str) -> dict[str, Any]:
    """All of an event that `read` has let pass, decoded, as subscriptions see it.

    Raises:
        EventError: if a number in it is out of range.
    """
    try:
        fields = _mapping(_payload(text).args[0])
    except msgspec.DecodeError as error:
        raise EventError(f"An event that a subscription looks into is decoded, but: {error}.") from None
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
    """The event in the payload of a packet that `read` has let pass, as it came."""
    return bytes(_payload(text).args[0]).decode()


def payload(argument: str) -> str:
    """The payload of a packet with an event in it, for `read`."""
    return f'{{"name":"{EVENT_NAME}","args":[{argument}]}}'


def _check(text: str) -> None:
    # Every so manyth character first: of a run that long, ten are met one after the other. Then a search for bytes,
    # whose time is linear; a pattern would try again from each digit of a run that is nearly long enough.
    if (
        len(text) > _MAX_DIGITS
        and _STRIDES.search(text[::_STRIDE])
        and _LONG_NUMBER in text.encode().translate(_ONE_DIGIT)
    ):
        raise EventError(
            f"An event has no run of {_MAX_DIGITS} digits, which Python's clients cannot read as a number."
        )
    if len(text) > _MAX_ENVELOPE_BYTES:
        # It is decoded, and looked into, for each event, as data is not.
        fields = _fields(_payload(text).args[0])
        if sum(len(memoryview(value)) for name, value in fields.items() if name != "data") > _MAX_ENVELOPE_BYTES:
            raise EventError(f"What stands around an event's data has {_MAX_ENVELOPE_BYTES} bytes at most.")
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_too_deep(text):
        raise _too_deep()


def _is_too_deep(text: str) -> bool:
    if "\\" in text:
        # Backslashes stand in strings only, and there the first of a run escapes the second.
        text = text.replace("\\\\", "").replace('\\"', "")
    brackets = text.encode().translate(_ONE_KIND, _REST).replace(b'""', b"")
    if b'"' in brackets:
        brackets = b"".join(brackets.split(b'"')[_OUTSIDE_STRINGS])
    # JSON that was read is balanced, so the last brackets close, and closing ones may be added.
    brackets += b"}" * (-len(brackets) % 8)
    eights = int(brackets.translate(_AS_BITS), 2).to_bytes(len(brackets) // 8, "big")
    ends = accumulate(map(_CHANGES.__getitem__, eights), initial=0)
    return max(map(add, ends, map(_DEEPEST.__getitem__, eights)), default=0) > MAX_DEPTH


def _too_deep() -> EventError:
    return EventError(f"An event is nested at most {MAX_DEPTH} levels deep; this one is deeper.")
