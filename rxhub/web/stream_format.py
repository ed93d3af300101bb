"""The forms in which a stream sends events: Server-Sent Events or lines of JSON, each also with CloudEvents.

Every frame is encoded once, for all readers.

- Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html): the `id` is the sequence of the
  event in the stream of a store, or the id of the event. A browser sends it as `Last-Event-ID` when it reconnects. The
  `event` is the topic, and heartbeats are comments.
- Lines of JSON: the event, with its `position` in a stream. Heartbeats are empty lines.

A gap is an object with the only member `gap`, so no publisher can forge one: events have a topic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rxhub.server.envelope import OutgoingEvent
from rxhub.web.cloudevents import to_structured

__all__ = ["GAP", "NDJSON", "SSE", "STREAM_HEADERS", "StreamFormat", "stream_format"]

SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
GAP: Final = "rxhub.gap"
"""The `event` of a gap in Server-Sent Events."""

STREAM_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Headers of a response that neither caches nor proxies may buffer."""

# JSON contains line breaks only between tokens.
_ONE_LINE: Final = str.maketrans("\r\n\0", "   ")


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """A form of events.

    Attributes:
        media_type: of the response.
        frame: encodes an event.
        gap: encodes a notice that events are missing.
        position: encodes a sequence of the stream, after which a client continues that has received no event.
        heartbeat: a frame that clients ignore.
    """

    media_type: str
    frame: Callable[[OutgoingEvent], bytes]
    gap: Callable[[Mapping[str, Any]], bytes]
    position: Callable[[int], bytes]
    heartbeat: bytes


def stream_format(media_type: str, cloudevents: bool) -> StreamFormat:
    """The form for a media type, `SSE` or `NDJSON`."""
    return _FORMATS[media_type, cloudevents]


def _sse(event: OutgoingEvent) -> bytes:
    return _sse_frame(event, event.argument)


def _sse_cloudevent(event: OutgoingEvent) -> bytes:
    return _sse_frame(event, to_structured(event).decode())


def _sse_frame(event: OutgoingEvent, data: str) -> bytes:
    envelope = event.envelope
    identifier = event.sequence or (envelope.id or "").translate(_ONE_LINE)
    return f"id: {identifier}\nevent: {envelope.topic.translate(_ONE_LINE)}\ndata: {_line(data)}\n\n".encode()


def _sse_gap(gap: Mapping[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (GAP.encode(), msgspec.json.encode({"gap": gap}))


def _sse_position(sequence: int) -> bytes:
    # Without data, it is no event, but browsers remember the id.
    return b"id: %d\n\n" % sequence


def _ndjson(event: OutgoingEvent) -> bytes:
    line = _line(event.argument)
    if event.sequence:
        # The last of several members with one name counts.
        line = f'{line.rstrip()[:-1]},"position":{{"sequence":{event.sequence}}}}}'
    return f"{line}\n".encode()


def _ndjson_cloudevent(event: OutgoingEvent) -> bytes:
    return to_structured(event) + b"\n"


def _ndjson_gap(gap: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"gap": gap}) + b"\n"


def _ndjson_position(_: int) -> bytes:
    return b"\n"


def _line(text: str) -> str:
    return text.translate(_ONE_LINE) if "\n" in text or "\r" in text else text


_FORMATS: Final = {
    (SSE, False): StreamFormat(SSE, _sse, _sse_gap, _sse_position, b":\n\n"),
    (SSE, True): StreamFormat(SSE, _sse_cloudevent, _sse_gap, _sse_position, b":\n\n"),
    (NDJSON, False): StreamFormat(NDJSON, _ndjson, _ndjson_gap, _ndjson_position, b"\n"),
    (NDJSON, True): StreamFormat(NDJSON, _ndjson_cloudevent, _ndjson_gap, _ndjson_position, b"\n"),
}
