"""Read JSON lines and arrays as candidates. An invalid line becomes a `JsonLine` with a fault; reading continues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import msgspec

from rxhub.event import Event
from rxhub.exploration.json_array import read_elements

__all__ = ["BOM", "MAX_LINE_BYTES", "JsonLine", "parse_candidate", "read_document", "read_json", "read_lines"]

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Default limit of a line. A hostile line needs about 25 times its size in memory after decoding."""

BOM = b"\xef\xbb\xbf"
"""The mark that Windows programs write at the beginning of a file."""

# An object that is printed on several lines.
_OPEN_OBJECT = re.compile(rb"\{[ \t]*\r?\n")

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class JsonLine(NamedTuple):
    """One line: its number (from 1), its bytes, and its candidate or its fault."""

    number: int
    raw: bytes
    candidate: Mapping[str, Any] | None
    fault: str = ""


def read_lines(stream: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> Iterator[JsonLine]:
    """Yield the lines that are not blank."""
    number = 0
    while raw := stream.readline(max_bytes + 1):
        number += 1
        if len(raw) > max_bytes:
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(max_bytes)
            yield JsonLine(number, b"", None, f"longer than {max_bytes} bytes")
        elif not raw.isspace():
            yield JsonLine(number, raw, *parse_candidate(raw.removeprefix(BOM) if number == 1 else raw))


def read_json(stream: BinaryIO, name: str, max_bytes: int = MAX_LINE_BYTES) -> Iterator[JsonLine]:
    """Yield the lines, the elements of an array with their numbers from 1, or one object that spans several lines.

    Raises:
        UnreadableInput: if an array is truncated, or an element is too long.
    """
    peek = getattr(stream, "peek", None)
    begin = b"" if peek is None else peek(1).removeprefix(BOM).lstrip()
    if _OPEN_OBJECT.match(begin):
        return iter([read_document(stream, max_bytes)])
    if begin[:1] != b"[":
        return read_lines(stream, max_bytes)
    elements = enumerate(read_elements(stream, name, max_bytes), 1)
    return (JsonLine(number, element, *parse_candidate(element)) for number, element in elements)


def read_document(stream: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> JsonLine:
    """Read one candidate: the first line that is not blank or, if it is not a JSON object, everything from there on."""
    number, first = 0, b""
    while not first.strip():
        number += 1
        first = stream.readline(max_bytes + 1)
        if not first:
            return JsonLine(number, first, None, "the input is empty")
        first = first.removeprefix(BOM)
    candidate, _ = parse_candidate(first)
    if candidate is not None:
        return JsonLine(number, first, candidate)
    whole = first + stream.read(max(0, max_bytes + 1 - len(first)))
    if len(whole) > max_bytes:
        fault = f"no event on this line, and no event of at most {max_bytes} bytes starts here"
        return JsonLine(number, b"", None, fault)
    return JsonLine(number, whole, *parse_candidate(whole))


def parse_candidate(raw: bytes) -> tuple[Mapping[str, Any] | None, str]:
    """Decode one JSON object; return the candidate and an empty string, or None and the fault.

    An object with a string `topic` becomes an `Event`, so that `inReplyToEvent` becomes `in_reply_to_event` and a
    missing `target` is empty. Other objects stay as they are.
    """
    try:
        payload = _decode(raw)
    except UnicodeDecodeError:
        return None, "invalid UTF-8"
    except RecursionError:
        return None, "nested too deeply"
    except msgspec.ValidationError as error:
        return None, f"not an event: {error}"
    except msgspec.DecodeError as error:
        return None, f"not JSON: {error}"
    if isinstance(payload.get("topic"), str):
        return Event.adopt(payload), ""
    return payload, ""
