"""Attributes of log records that are written while an event is handled.

The records of rxhub get them by `extra=`, so any formatter can use them; see `rxhub.telemetry`.
"""

from __future__ import annotations

from typing import Any, Final

from rxhub.event import Event
from rxhub.telemetry.trace_carrier import trace_id_of

__all__ = ["LOG_FIELDS", "event_fields"]

LOG_FIELDS: Final = ("event_id", "topic", "group", "attempt", "trace_id")
"""The names of the attributes."""


def event_fields(
    event: Event | None, group: str | None = None, attempt: int | None = None, trace_id: str = ""
) -> dict[str, Any]:
    """The attributes of a log record about an event, for `extra=`.

    Args:
        event: the event; None if the stored message is not a valid event.
        group: the group that handles it; None outside of `hub.process`.
        attempt: the number of the attempt, from 1; None outside of `hub.process`.
        trace_id: of the span that handles it. Default: the trace of the event, None if it has none.
    """
    return {
        "event_id": None if event is None else event.get("id"),
        "topic": None if event is None else event.get("topic"),
        "group": group,
        "attempt": attempt,
        "trace_id": trace_id or (trace_id_of(event) if event is not None else "") or None,
    }
