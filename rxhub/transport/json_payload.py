"""The JSON inside packets: events and answers, read and written apart from the packets that carry them.

msgspec reads and writes several times faster than `json`, and refuses what other JSON libraries would choke on: NaN,
lone surrogates, numbers beyond a float. Payloads are read from text, not from bytes: of bytes a `msgspec.Raw` would
let invalid UTF-8 through. How deep they may nest is checked before, since what walks through them later recurses too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
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

MAX_DEPTH: Final = 64
"""Levels of lists and objects in one packet; real events have about ten."""

T = TypeVar("T")


class Payload(msgspec.Struct, Generic[T]):
    """The data of an event packet; a server reads `Payload[its own envelope]`.

    Attributes:
        name: `ftrack.event`.
        args: one event.
    """

    name: str
    args: list[T] = []


def check_depth(text: str, limit: int = MAX_DEPTH) -> None:
    """Refuse JSON that nests deeper than `limit`; costs little unless it has that many brackets at all.

    Raises:
        ProtocolError: if it does.
    """
    if text.count("[") + text.count("{") <= limit:
        return
    depth = 0
    for bracket in _structure().findall(text):
        if bracket in "[{":
            depth += 1
            if depth > limit:
                raise ProtocolError(f"JSON was received that nests deeper than {limit} levels.")
        elif bracket in "]}":
            depth -= 1


@cache
def _structure() -> re.Pattern[str]:
    # A text is taken whole, so that brackets in it are none. One without an end is malformed, as msgspec will say.
    return re.compile(r'[][{}]|"(?:[^"\\]|\\.)*+"', re.DOTALL)


def read_event(data: str) -> Event | None:
    """The event in an event packet's data; None if that holds anything else than one event.

    Raises:
        ProtocolError: if it is no valid JSON of such a packet.
        EventError: if what it holds is no event.
    """
    payload = _read(data, _payload_decoder())
    if len(payload.args) != 1 or not isinstance(payload.args[0], dict):
        return None
    return Event.from_wire(cast("dict[str, Any]", payload.args[0]))


def read_stored(data: bytes) -> Event:
    """The event that stands by itself, as `write_event` has written it.

    Raises:
        ProtocolError: if it is no valid JSON.
        EventError: if what it holds is no event.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"What is no UTF-8 was received: {error}.") from error
    payload = _read(text, _any_decoder())
    return Event.adopt(cast("dict[str, Any]", payload)) if type(payload) is dict else Event.from_wire(payload)


def read_answer(data: str) -> Mapping[str, Any]:
    """The object in an acknowledgement's data; empty if there is none.

    Raises:
        ProtocolError: if it is no valid JSON.
    """
    if not data:
        return {}
    arguments: Any = _read(data, _any_decoder())
    match arguments:
        case [{} as answer, *_]:
            return cast("dict[str, Any]", answer)
        case _:
            return {}


def write_event(event: Event) -> str:
    """An event as JSON text, for `rxhub.transport.socketio.protocol.event`.

    Raises:
        EventError: if something in it cannot be written as JSON.
    """
    try:
        return write_json(event.to_wire())
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EventError(
            f"The event {event.get('topic')} cannot be sent, since it cannot be written as JSON: {error}. "
            "Send plain values (texts, numbers, lists, dicts), or publish it with synchronous=True."
        ) from error


def resent(argument: str) -> str:
    """An event's JSON text with `sent` filled in, by which a second copy of it can be told; as it is if it has one."""
    fields = _fields_decoder().decode(argument)
    if bytes(fields.get("sent", b"null")) != b"null":
        return argument
    fields["sent"] = msgspec.Raw(write_json(datetime.now(UTC)).encode())
    return write_json(fields)


def write_json(value: object) -> str:
    """Any value as JSON text; a mapping of a class of its own is written as an object.

    Raises:
        TypeError: if it holds what JSON cannot express.
        ValueError: if it holds a lone surrogate, or a mapping of a class of its own with NaN or infinity in it.
        RecursionError: if it is too deep.
    """
    return _encoder().encode(value).decode()


def _read(text: str, decoder: msgspec.json.Decoder[T]) -> T:
    check_depth(text)
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, ValueError) as error:
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        raise ProtocolError(f"Malformed JSON was received: {error}, in {shown!r}.") from error


@cache
def _payload_decoder() -> msgspec.json.Decoder[Payload[Any]]:
    return msgspec.json.Decoder(Payload[Any])


@cache
def _fields_decoder() -> msgspec.json.Decoder[dict[str, msgspec.Raw]]:
    return msgspec.json.Decoder(dict[str, msgspec.Raw])


@cache
def _any_decoder() -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder()


@cache
def _encoder() -> msgspec.json.Encoder:
    return msgspec.json.Encoder(enc_hook=_as_json)


def _as_json(value: object) -> object:
    if isinstance(value, Event):
        return value.to_wire()
    if isinstance(value, Mapping):
        plain = dict(cast("Mapping[Any, Any]", value))
        # Checked here alone: a mapping of a class of its own is not read before it is written.
        if found := non_finite(plain):
            raise ValueError(f"in a mapping of its own class, {found}")
        return plain
    raise TypeError(f"an object of {type(value).__qualname__} was found")
