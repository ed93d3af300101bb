"""Convert decoded CloudEvents 1.0 (https://github.com/cloudevents/spec, `formats/json-format.md`) to events.

The result is that of the HTTP interface: the type is the topic, and the attributes are in `source.cloudevent`. The
trace context is in `source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rxhub.errors import EventError
from rxhub.event import Event
from rxhub.telemetry.trace_carrier import carrier_of

__all__ = ["event_of", "is_cloudevent"]

_VERSION = "1.0"
_OWN = ("specversion", "id", "type", "data", "data_base64")


def is_cloudevent(fields: Mapping[str, Any]) -> bool:
    """Whether a decoded JSON object is a CloudEvent rather than an event."""
    return "specversion" in fields and "topic" not in fields


def event_of(fields: Mapping[str, Any]) -> Event:
    """The event of a CloudEvent in structured mode.

    Raises:
        EventError: if a required attribute is missing, the version is not supported, or there are two kinds of data.
    """
    for name in ("specversion", "id", "source", "type"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise EventError(f"A CloudEvent needs the attribute {name!r}, a string that is not empty.")
    if fields["specversion"] != _VERSION:
        raise EventError(f"Only version {_VERSION} of CloudEvents is supported, not {fields['specversion'][:20]!r}.")
    if fields.get("data") is not None and fields.get("data_base64") is not None:
        raise EventError("A CloudEvent has either data or data_base64.")
    carrier = carrier_of(fields)
    left = {*_OWN, *carrier}
    context = {name: value for name, value in fields.items() if name not in left and value is not None}
    data = fields.get("data")
    if fields.get("data_base64") is not None:
        data = fields["data_base64"]
        context["data_base64"] = True
    return Event(fields["type"], fields["id"], data, source={**carrier, "cloudevent": context})
