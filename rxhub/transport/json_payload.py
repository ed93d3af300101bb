"""The JSON of events and acknowledgements in packets.

msgspec is several times faster than `json` and refuses what other JSON libraries fail on: NaN, lone surrogates, numbers
beyond a float. Payloads are read from text: from bytes, `msgspec.Raw` would let invalid UTF-8 through. The nesting
depth is checked first, since later code recurses into payloads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from rxhub.errors import EventError, ProtocolError
from rxhub.event import Event
from rxhub.transport.finite_numbers import non_finite

__all__ = [
    "MAX_DEPTH",
    "Payload",
    "check_depth",
    "read_answer",
    "read_event",
    "read_stored",
    "resent",
    "write_event",
    "write_json",
]

MAX_DEPTH: Final = 64  # the maximum nesting of lists and objects; real events have about ten levels
# Strings are matched as a whole, without their brackets. msgspec refuses an unterminated one.
_STRUCTURE = re.compile(r'[][{}]|"(?:[^"\\]|\\.)*+"', re.DOTALL)

T = TypeVar("T")


class Payload(msgspec.Struct, Generic[T]):
    """The data of an event packet; a server reads `Payload[its own envelope]`."""

    name: str
    args: list[T] = []


def check_depth(text: str, limit: int = MAX_DEPTH) -> None:
    """Raise ProtocolError if JSON nests deeper than `limit`; cheap unless it has that many brackets."""
    if text.count("[") + text.count("{") <= limit:
        return
    depth = 0
    for bracket in _STRUCTURE.findall(text):
        if bracket in "[{":
            depth += 1
            if depth > limit:
                raise ProtocolError(f"JSON was received that nests deeper than {limit} levels.")
        elif bracket in "]}":
            depth -= 1


def read_event(data: str) -> Event | None:
    """The event in an event packet; None if there is not exactly one. Raises ProtocolError or EventError."""
    payload = _read(data, _payload_decoder)
    if len(payload.args) != 1 or not isinstance(payload.args[0], dict):
        return None
    return Event.from_wire(cast("dict[str, Any]", payload.args[0]))


def read_stored(data: bytes) -> Event:
    """The event that `write_event` has written. Raises ProtocolError if it is not JSON, EventError if not an event."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"Invalid UTF-8 was received: {error}.") from error
    payload = _read(text, _any_decoder)
    return Event.adopt(cast("dict[str, Any]", payload)) if type(payload) is dict else Event.from_wire(payload)


def read_answer(data: str) -> Mapping[str, Any]:
    """The object in the data of an acknowledgement; empty if there is none. Raises ProtocolError if it is not JSON."""
    if not data:
        return {}
    arguments: Any = _read(data, _any_decoder)
    match arguments:
        case [{} as answer, *_]:
            return cast("dict[str, Any]", answer)
        case _:
            return {}


def write_event(event: Event) -> str:
    """An event as JSON. Raises EventError if a value cannot be written as JSON."""
    try:
        return write_json(event.to_wire())
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EventError(
            f"The event {event.get('topic')} cannot be sent, since it cannot be written as JSON: {error}. "
            "Use plain values (strings, numbers, lists, dicts), or publish it with synchronous=True."
        ) from error


def resent(argument: str) -> str:
    """The JSON of an event with `sent` set, which marks a second copy; unchanged if it is set."""
    fields = _fields_decoder.decode(argument)
    if bytes(fields.get("sent", b"null")) != b"null":
        return argument
    fields["sent"] = msgspec.Raw(write_json(datetime.now(UTC)).encode())
    return write_json(fields)


def write_json(value: object) -> str:
    """A value as JSON; mappings of any class are written as objects.

    Raises TypeError or ValueError for a value that JSON cannot express, RecursionError if it nests too deeply.
    """
    return _encoder.encode(value).decode()


def _read(text: str, decoder: msgspec.json.Decoder[T]) -> T:
    check_depth(text)
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, ValueError) as error:
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        raise ProtocolError(f"Malformed JSON was received: {error}, in {shown!r}.") from error


def _as_json(value: object) -> object:
    if isinstance(value, Event):
        return value.to_wire()
    if isinstance(value, Mapping):
        plain = dict(cast("Mapping[Any, Any]", value))
        # Other checks do not read mappings that are not dicts.
        if found := non_finite(plain):
            raise ValueError(f"in a mapping of its own class, {found}")
        return plain
    raise TypeError(f"an object of {type(value).__qualname__} was found")


_payload_decoder = msgspec.json.Decoder(Payload[Any])
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder(enc_hook=_as_json)
