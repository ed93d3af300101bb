"""The trace context of an event: W3C `traceparent`, `tracestate` and `baggage` as strings in its `source`.

All transports carry `source`. ftrack's clients drop events with unknown fields, but accept any key in `source`. NATS
headers, CloudEvents and HTTP have places of their own for these fields; rxhub copies them at its boundaries. Values
from other programs are copied only if a header can carry them.

Specifications: https://www.w3.org/TR/trace-context/ and https://www.w3.org/TR/baggage/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from rxhub.event import Event

__all__ = ["FIELDS", "add_carrier", "carrier_of", "has_context", "trace_id_of"]

FIELDS: Final = ("traceparent", "tracestate", "baggage")
"""The names of the fields, in `source` and in headers."""

_MAX_LENGTH: Final = 8_192
# Version 00, which later versions extend.
_TRACE_PARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


def carrier_of(fields: object) -> dict[str, str]:
    """The valid fields in a source or in headers; empty without a valid `traceparent` and `baggage`."""
    if not isinstance(fields, Mapping):
        return {}
    values = cast("Mapping[str, Any]", fields)
    found: dict[str, str] = {name: values[name] for name in FIELDS if _is_value(values.get(name))}
    if "traceparent" in found and _TRACE_PARENT.fullmatch(found["traceparent"]) is None:
        del found["traceparent"]
    if "traceparent" not in found:
        found.pop("tracestate", None)
    return found


def add_carrier(event: Event, carrier: Mapping[str, str]) -> None:
    """Add fields to the source of an event that has no `traceparent`; the old source is not changed."""
    source: object = event.get("source")
    if carrier and not isinstance(source, Mapping):
        event.source = dict(carrier)
    elif carrier and "traceparent" not in cast("Mapping[str, Any]", source):
        event.source = {**cast("Mapping[str, Any]", source), **carrier}


def has_context(event: Mapping[str, Any]) -> bool:
    """Whether the source of an event has a `traceparent`, which may be invalid."""
    source: object = event.get("source")
    return isinstance(source, Mapping) and "traceparent" in source


def trace_id_of(event: Mapping[str, Any]) -> str:
    """The trace id in the source of an event; empty if there is none."""
    source: object = event.get("source")
    parent: object = cast("Mapping[str, Any]", source).get("traceparent") if isinstance(source, Mapping) else None
    found = _TRACE_PARENT.fullmatch(parent) if isinstance(parent, str) else None
    return "" if found is None else found[1]


def _is_value(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_LENGTH and value.isascii() and value.isprintable()
