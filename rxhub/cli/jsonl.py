"""JSON lines as candidates: what a hub would test, and what is wrong with a line that gives none.

A file of events is written by programs that crash and disks that fill up. One bad line is a `fault` and the next is
read; nothing on a line, nor its length, ends the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import msgspec

from rxhub.event import Event

__all__ = ["LONGEST", "Line", "candidate_of", "document", "lines"]

LONGEST = 4 * 1024 * 1024
"""Bytes of a line at most, by default. Decoded, a hostile line takes some 25 times its bytes of memory."""

_BOM = b"\xef\xbb\xbf"
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Line(NamedTuple):
    """One line: its number from 1 on, its bytes, and either its candidate or what is wrong with it."""

    number: int
    raw: bytes
    candidate: Mapping[str, Any] | None
    fault: str = ""


def lines(stream: BinaryIO, longest: int = LONGEST) -> Iterator[Line]:
    """Read the lines of a stream that are not blank."""
    number = 0
    while raw := stream.readline(longest + 1):
        number += 1
        if len(raw) > longest:
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(longest)
            yield Line(number, b"", None, f"longer than {longest} bytes")
        elif not raw.isspace():
            yield Line(number, raw, *candidate_of(raw.removeprefix(_BOM) if number == 1 else raw))


def document(stream: BinaryIO, longest: int = LONGEST) -> Line:
    """Read one candidate: of the first line that is not blank or, if none stands there, of the whole stream.

    So an event is found in a file of JSON lines and in one that spreads a single event over many lines.
    """
    number, begin = 0, b""
    while not begin.strip():
        number += 1
        begin = stream.readline(longest + 1)
        if not begin:
            return Line(number, begin, None, "the input is empty")
        begin = begin.removeprefix(_BOM)
    candidate, _ = candidate_of(begin)
    if candidate is not None:
        return Line(number, begin, candidate)
    whole = begin + stream.read(max(0, longest + 1 - len(begin)))
    if len(whole) > longest:
        return Line(number, b"", None, f"no event on this line, nor one of at most {longest} bytes that begins here")
    return Line(number, whole, *candidate_of(whole))


def candidate_of(raw: bytes) -> tuple[Mapping[str, Any] | None, str]:
    """Decode one JSON object.

    Returns:
        What a hub would test, and no fault: an `Event` if the object has a text as its topic, so that
        `inReplyToEvent` is `in_reply_to_event` and an absent `target` is empty; any other object as it is. Or None,
        and the fault.
    """
    try:
        payload = _decode(raw)
    except UnicodeDecodeError:
        return None, "invalid UTF-8"
    except RecursionError:
        return None, "nested too deeply"
    except msgspec.ValidationError as error:
        return None, f"no event: {error}"
    except msgspec.DecodeError as error:
        return None, f"not JSON: {error}"
    if isinstance(payload.get("topic"), str):
        return Event.from_wire(payload), ""
    return payload, ""
