"""Reads events from the body of a request: JSON, an array, lines of JSON, or CloudEvents."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from os import urandom
from typing import Any, Final, NamedTuple

import msgspec
from starlette.datastructures import Headers

from rxhub.errors import EventError
from rxhub.server.envelope import Envelope, checked_payload, read_argument, read_envelope
from rxhub.telemetry.trace_carrier import carrier_of
from rxhub.web.body import JSON
from rxhub.web.cloudevents import BATCH, STRUCTURED, binary_attributes, from_binary, from_structured
from rxhub.web.problems import Problem

__all__ = ["JSON_LINES", "MAX_EVENTS", "PublishedEvent", "read_events"]

MAX_EVENTS: Final = 1_000
"""Events in one request."""

JSON_LINES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")

# A list of any length would take a second to decode. This type rejects it at the first element that is too many.
_Array = msgspec.defstruct(
    "_Array",
    [(f"e{number}", msgspec.Raw, None) for number in range(MAX_EVENTS)],
    array_like=True,
    forbid_unknown_fields=True,
)
_array = msgspec.json.Decoder(_Array).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class PublishedEvent(NamedTuple):
    """An event of a request.

    Attributes:
        envelope: of the event, with an id and a source.
        text: the payload of its packet.
        message_id: by which a stream recognizes that it is repeated.
    """

    envelope: Envelope
    text: str
    message_id: str


def read_events(
    body: bytes, media_type: str, headers: Headers, source: Mapping[str, Any], most: int
) -> Generator[PublishedEvent]:
    """The events in a body, one by one, because reading all of them takes some milliseconds.

    Args:
        body: of the request.
        media_type: of the body.
        headers: of the request; CloudEvents in binary mode have attributes there.
        source: of the events that have none. Its trace context is for the others, too.
        most: characters of one event.

    Raises:
        Problem: 400 if an event is invalid, 413 if one is too large or there are too many, 415 if the media type is not
            supported.
    """
    count = 0
    defaults = f',"source":{msgspec.json.encode(source).decode()}'
    carrier = carrier_of(source)
    try:
        for argument, message_id in _arguments(body, media_type, headers, source):
            if len(argument) > most:
                raise Problem(
                    413,
                    f"An event may have {most} characters at most; this one has {len(argument)}. Send less data, or "
                    "raise Limits.message of the server (rxhub.server.Limits).",
                )
            yield _completed(argument, message_id, defaults, carrier)
            count += 1
    except EventError as error:
        raise Problem(400, f"No event was published. {error}", index=count) from None
    if not count:
        raise Problem(400, "The body contains no event. Send at least one.")


def _arguments(
    body: bytes, media_type: str, headers: Headers, source: Mapping[str, Any]
) -> Iterator[tuple[str, str | None]]:
    """The events as JSON, with the ids of their messages if those differ."""
    attributes = binary_attributes(headers)
    if attributes is not None:
        return iter([from_binary(attributes, body, headers.get("content-type", ""), source)])
    try:
        # As a string: in bytes, msgspec would accept invalid UTF-8.
        text = body.decode()
    except UnicodeDecodeError as error:
        raise EventError(f"The body is not valid UTF-8: {error}.") from None
    if media_type == JSON:
        return ((each, None) for each in (_elements(text) if text.lstrip()[:1] == "[" else [text]))
    if media_type in JSON_LINES:
        return ((each, None) for each in _lines(text))
    if media_type in {STRUCTURED, BATCH}:
        return (from_structured(each, source) for each in (_elements(text) if media_type == BATCH else [text]))
    raise Problem(
        415,
        f"Events cannot be sent as {media_type[:80]!r}. Send `Content-Type: {JSON}` (curl --json), {JSON_LINES[0]}, "
        f"{STRUCTURED} or {BATCH}.",
    )


def _completed(argument: str, message_id: str | None, source: str, carrier: Mapping[str, str]) -> PublishedEvent:
    """An event with an id and a source, which contains a trace context if there is one."""
    envelope = read_envelope(argument)
    if carrier and envelope.source and "traceparent" not in envelope.source:
        fields = _fields(argument)
        fields["source"] = msgspec.Raw(msgspec.json.encode({**envelope.source, **carrier}))
        argument = msgspec.json.encode(fields).decode()
        envelope = read_envelope(argument)
    if envelope.id and envelope.source:
        return PublishedEvent(envelope, checked_payload(argument), message_id or envelope.id)
    identifier = envelope.id or urandom(16).hex()
    if '"id"' in argument or '"source"' in argument:
        # They may be there as null, or belong to the data.
        fields = {name: value for name, value in _fields(argument).items() if name not in _missing(envelope)}
        argument = msgspec.json.encode(fields).decode()
    added = ("" if envelope.id else f',"id":"{identifier}"') + ("" if envelope.source else source)
    envelope, text = read_argument(f"{argument.rstrip()[:-1]}{added}}}")
    return PublishedEvent(envelope, text, message_id or identifier)


def _missing(envelope: Envelope) -> set[str]:
    return {name for name in ("id", "source") if not getattr(envelope, name)}


def _elements(text: str) -> Iterator[str]:
    try:
        elements = msgspec.structs.astuple(_array(text))
    except msgspec.ValidationError as error:
        if "at most length" in str(error):
            raise _too_many() from None
        raise EventError(f"The body is not an array of events: {error}.") from None
    except msgspec.DecodeError as error:
        raise EventError(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise EventError("The body is nested too deeply.") from None
    for element in elements:
        if element is not None:
            yield bytes(element).decode()


def _lines(text: str) -> Iterator[str]:
    lines = text.split("\n", 2 * MAX_EVENTS)
    if sum(1 for line in lines if line.strip()) > MAX_EVENTS or len(lines) > 2 * MAX_EVENTS:
        raise _too_many()
    return (line for line in lines if line.strip())


def _too_many() -> Problem:
    return Problem(413, f"A request may contain {MAX_EVENTS} events at most. Send several requests.")
