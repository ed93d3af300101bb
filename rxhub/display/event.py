"""An event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rxhub.display.outline import outline
from rxhub.display.page import Page, Table, Tree
from rxhub.event import Event
from rxhub.redaction.preview import preview
from rxhub.text.safe_repr import safe_repr

__all__ = ["event_page", "topic_of", "user_of"]

_FIRST = ("id", "source", "target", "sent", "in_reply_to_event")


def event_page(event: Event) -> Page:
    """Render an event: its envelope as a table, its data as a tree."""
    fields: dict[str, Any] = preview(event)
    fields["id"] = event.fields.get("id")
    fields.pop("topic", None)
    data = fields.pop("data", None)
    names = [*_FIRST, *(name for name in fields if name not in _FIRST)]
    rows = [(str(name), _cell(fields.get(name))) for name in names if not _is_empty(fields.get(name))]
    chips = [type(event).__name__, user_of(event.fields), "stopped" if event.is_stopped() else ""]
    return Page(topic_of(event), chips, [Table(("", ""), rows), Tree(outline(data), folds=True)])


def topic_of(event: Event) -> str:
    """The topic as a string, whatever its type."""
    topic = event.fields.get("topic", "(no topic)")
    return topic if isinstance(topic, str) else safe_repr(topic)


def user_of(fields: Mapping[str, Any]) -> str:
    """The username in the source of an event; empty if there is none."""
    found: Any = preview(fields.get("source"))
    for step in ("user", "username"):
        if type(found) is not dict:  # `preview` copies mappings to dicts; a proxy may claim to be one
            return ""
        found = cast("dict[Any, Any]", found).get(step)
    return "" if found is None else _cell(found)


def _is_empty(value: object) -> bool:
    # Not `value in (None, "", {})`: the comparison of the value may raise.
    return value is None or (type(value) in (str, dict) and not value)


def _cell(value: object) -> str:
    return value if isinstance(value, str) else safe_repr(value, 160)
