"""The latest of a stream, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from rxhub.display.page import Note, Page, Part, Table
from rxhub.display.safe import preview
from rxhub.text.safe_repr import safe_repr

__all__ = ["Item", "page"]

_HEADINGS = ("time", "what", "who", "details")
_MOST = 100


class Item(NamedTuple):
    """One item of a stream: its number from 1 on, when it came (seconds since the epoch), and itself."""

    number: int
    time: float
    value: Any


def page(items: Sequence[Item], status: str, seen: int, skipped: int) -> Page:
    """What a live table shows: the newest item first."""
    rows = [_row(item) for item in reversed(items)]
    chips = ["" if status == "live" else status, f"{seen} came", f"{skipped} skipped" if skipped else ""]
    parts: list[Part] = [Table(_HEADINGS, rows)] if rows else [Note("nothing came yet")]
    return Page("live", chips, parts)


def _row(item: Item) -> tuple[str, str, str, str]:
    time = datetime.fromtimestamp(item.time).astimezone().strftime("%H:%M:%S.%f")[:-3]
    value: Any = item.value
    if not issubclass(type(value), Mapping):
        return time, type(value).__name__, "", safe_repr(preview(value), _MOST)
    fields: dict[Any, Any] = preview(value)
    topic = fields.get("topic")
    if not isinstance(topic, str) or "data" not in fields:
        return time, type(value).__name__, "", safe_repr(fields, _MOST)
    source = fields.get("source")
    user = source.get("user") if isinstance(source, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    who = user.get("username") if isinstance(user, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return time, topic, who if isinstance(who, str) else "", safe_repr(fields["data"], _MOST)
