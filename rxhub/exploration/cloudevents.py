"""Convert decoded CloudEvents 1.0 (https://github.com/cloudevents/spec, `formats/json-format.md`) to events.

The result is that of the HTTP interface: the type is the topic, and the attributes are in `source.cloudevent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rxhub.errors import EventError
from rxhub.event import Event

__all__ = ["event_of", "is_cloudevent"]

_VERSION = "1.0"
_OWN = ("specversion", "id", "type", "data", "data_base64")


def is_cloudevent(fields: Mapping[str, Any]) -> bool:
    """Whether a decoded JSON object is a CloudEvent rather than an event."""
    return "specversion" in fields and "topic" not in fields


def event_of(fields: Mapping[str, Any]) -> Event:
    """The event of a CloudEvent in structured mode.

    Raises:
        EventError: if a required attribute is missing, or the version is not supported.
    """
    for name in ("specversion", "id", "source", "type"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise EventError(f"A CloudEvent needs the attribute {name!r}, a string that is not empty.")
    if fields["specversion"] != _VERSION:
        raise EventError(f"Only version {_VERSION} of CloudEvents is supported, not {fields['specversion'][:20]!r}.")
    context = {name: value for name, value in fields.items() if name not in _OWN and value is not None}
    data = fields.get("data")
    if fields.get("data_base64") is not None:
        data = fields["data_base64"]
        context["data_base64"] = True
    return Event(fields["type"], fields["id"], data, source={"cloudevent": context})
