"""Converts events from and to CloudEvents 1.0, in their JSON format and HTTP binding.

The type of a CloudEvent is the topic of the event, the data is its data, and the id is its id. The other attributes are
in `source.cloudevent`, where subscriptions can use them (`source.cloudevent.subject=a`) and ftrack's clients accept
them. The time is there too: clients take an event whose `sent` is filled in for a repeated one. The trace
context (extension "distributed tracing") is in `source`, as in all events.

A CloudEvent is identified by its source and id together, so both are in the id by which a stream recognizes repeated
events.

Specifications: https://github.com/cloudevents/spec, `formats/json-format.md` and `bindings/http-protocol-binding.md`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, cast
from urllib.parse import quote, unquote

import msgspec
from starlette.datastructures import Headers

from rxhub.errors import EventError
from rxhub.server.envelope import OutgoingEvent
from rxhub.telemetry.trace_carrier import carrier_of

__all__ = ["BATCH", "STRUCTURED", "binary_attributes", "from_binary", "from_structured", "to_structured"]

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"

_VERSION: Final = "1.0"
_PREFIX: Final = "ce-"
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,40}")
_JSON_TYPE: Final = re.compile(r"(?i)\s*[\w.+-]+/(?:json|[\w.+-]+\+json)\s*(?:;.*)?")
_REQUIRED: Final = ("id", "source", "type")
_STRINGS: Final = frozenset({"source", "subject", "dataschema", "datacontenttype"})
_OWN: Final = frozenset({"specversion", "id", "type"})
_CONTEXT: Final = "cloudevent"
_IS_BASE64: Final = "data_base64"

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_raw = msgspec.json.Decoder(msgspec.Raw).decode
_string = msgspec.json.Decoder(str).decode
_attribute = msgspec.json.Decoder(str | int | bool | None).decode
_encode = msgspec.json.Encoder().encode


def binary_attributes(headers: Headers) -> dict[str, str] | None:
    """The attributes of a CloudEvent in binary mode, by name; None if the request has none.

    Raises:
        EventError: if one is not encoded correctly.
    """
    if f"{_PREFIX}specversion" not in headers:
        return None
    try:
        return {
            name[len(_PREFIX) :]: unquote(value, errors="strict")
            for name, value in headers.items()
            if name.startswith(_PREFIX)
        }
    except UnicodeDecodeError as error:
        raise EventError(f"An attribute of this CloudEvent is not percent-encoded UTF-8: {error}.") from None


def from_binary(attributes: dict[str, str], body: bytes, media_type: str, source: Mapping[str, Any]) -> tuple[str, str]:
    """The event of a CloudEvent in binary mode.

    Args:
        attributes: of the CloudEvent.
        body: its data.
        media_type: of the data.
        source: of the event.

    Returns:
        The event as JSON, and the id of its message in a stream.

    Raises:
        EventError: if it is not a valid CloudEvent.
    """
    attributes.pop("datacontenttype", None)
    context: dict[str, Any] = attributes | ({"datacontenttype": media_type} if media_type else {})
    if not body:
        return _event(context, None, source)
    try:
        if _JSON_TYPE.fullmatch(media_type):
            return _event(context, _raw(body.decode()), source)
        if media_type.lower().startswith("text/"):
            return _event(context, msgspec.Raw(_encode(body.decode())), source)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventError(f"The data of this CloudEvent is not {media_type}: {error}.") from None
    except RecursionError:
        raise _too_deep() from None
    return _event(context, msgspec.Raw(_encode(b64encode(body).decode())), source, is_base64=True)


def from_structured(text: str, source: Mapping[str, Any]) -> tuple[str, str]:
    """The event of a CloudEvent in structured mode. See `from_binary`."""
    try:
        fields = _decode(text)
        data, encoded = fields.pop("data", None), fields.pop("data_base64", None)
        context = {name: value for name, raw in fields.items() if (value := _attribute(raw)) is not None}
        if encoded is not None:
            b64decode(_string(encoded), validate=True)
    except msgspec.ValidationError as error:
        raise EventError(f"This is not a valid CloudEvent: {error}.") from None
    except msgspec.DecodeError as error:
        raise EventError(f"The CloudEvent is not valid JSON: {error}.") from None
    except ValueError as error:
        raise EventError(f"data_base64 of this CloudEvent is not valid: {error}.") from None
    except RecursionError:
        raise _too_deep() from None
    if data is not None and encoded is not None:
        raise EventError("A CloudEvent has either data or data_base64.")
    return _event(context, data if encoded is None else encoded, source, is_base64=encoded is not None)


def to_structured(event: OutgoingEvent) -> bytes:
    """An event as a CloudEvent in JSON."""
    envelope = event.envelope
    source = envelope.source or {}
    received: Any = source.get(_CONTEXT)
    context = cast("dict[Any, Any]", received) if isinstance(received, dict) else {}
    found: dict[str, Any] = {"specversion": _VERSION, "id": envelope.id or "none", "type": envelope.topic or "none"}
    found["source"] = f"urn:rxhub:{quote(str(source.get('id') or 'unknown'), safe='')}"
    if _is_time(envelope.sent):
        found["time"] = envelope.sent
    found |= {name: value for name, value in context.items() if _is_attribute(name, value) and name not in _OWN}
    found |= carrier_of(source)
    if event.sequence:
        found["sequence"] = str(event.sequence)
    if envelope.target:
        found["target"] = envelope.target
    if envelope.in_reply_to_event:
        found["inreplyto"] = envelope.in_reply_to_event
    if bytes(envelope.data) != b"null":
        is_base64 = context.get(_IS_BASE64) is True
        found["data_base64" if is_base64 else "data"] = envelope.data
        if not is_base64:
            found.setdefault("datacontenttype", "application/json")
    return _encode(found)


def _event(
    context: dict[str, Any], data: msgspec.Raw | None, source: Mapping[str, Any], is_base64: bool = False
) -> tuple[str, str]:
    for name in ("specversion", *_REQUIRED):
        if not isinstance(context.get(name), str) or not context[name]:
            raise EventError(f"A CloudEvent needs the attribute {name!r}, a string that is not empty.")
    if context["specversion"] != _VERSION:
        raise EventError(f"Only version {_VERSION} of CloudEvents is supported, not {context['specversion'][:20]!r}.")
    for name, value in context.items():
        if not _is_attribute(name, value):
            raise EventError(
                f"{name[:80]!r} is not a valid attribute of a CloudEvent. Names contain a-z and 0-9, values are "
                "strings, integers or booleans, and `time` needs an offset."
            )
    carrier = carrier_of(context)
    kept = {name: value for name, value in context.items() if name not in _OWN and name not in carrier}
    fields = {
        "topic": context["type"],
        "id": context["id"],
        "source": {**source, **carrier, _CONTEXT: kept | ({_IS_BASE64: True} if is_base64 else {})},
        "data": data,
    }
    message_id = sha256(f"{context['source']}\n{context['id']}".encode()).hexdigest()
    return _encode(fields).decode(), message_id


def _is_attribute(name: object, value: object) -> bool:
    if not isinstance(name, str) or _ATTRIBUTE.fullmatch(name) is None:
        return False
    if name == "time":
        return _is_time(value)
    return (isinstance(value, str) and value != "") if name in _STRINGS else isinstance(value, (str, int, bool))


def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return datetime.fromisoformat(value).utcoffset() is not None
    except ValueError:
        return False


def _too_deep() -> EventError:
    return EventError("The CloudEvent is nested too deeply.")
