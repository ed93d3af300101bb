"""An event: its envelope, and its data as a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from rxhub.display.page import Page, Table, Tree
from rxhub.display.safe import outline, preview
from rxhub.text.safe_repr import safe_repr

if TYPE_CHECKING:
    from rxhub.event import Event

__all__ = ["page", "topic_of", "user_of"]

_FIRST = ("id", "source", "target", "sent", "in_reply_to_event")


def page(event: Event) -> Page:
    """What a notebook shows of an event."""
    fields: dict[str, Any] = preview(event)
    fields["id"] = event.fields.get("id")
    fields.pop("topic", None)
    data = fields.pop("data", None)
    names = [*_FIRST, *(name for name in fields if name not in _FIRST)]
    rows = [(str(name), _cell(fields.get(name))) for name in names if not _is_empty(fields.get(name))]
    chips = [type(event).__name__, user_of(event), "stopped" if event.is_stopped() else ""]
    return Page(topic_of(event), chips, [Table(("", ""), rows), Tree(outline(data), folds=True)])


def topic_of(event: Event) -> str:
    """The topic as text, whatever became of it."""
    topic = event.fields.get("topic", "(no topic)")
    return topic if isinstance(topic, str) else safe_repr(topic)


def user_of(event: Event) -> str:
    """Who published it, as far as the source tells."""
    found: Any = preview(event.fields.get("source"))
    for step in ("user", "username"):
        if type(found) is not dict:  # as `safe` copies every mapping; a proxy may claim to be one
            return ""
        found = cast("dict[Any, Any]", found).get(step)
    return "" if found is None else _cell(found)


def _is_empty(value: object) -> bool:
    # Not `value in (None, "", {})`: what it is compared by is its own affair, and may raise.
    return value is None or (type(value) in (str, dict) and not value)


def _cell(value: object) -> str:
    return value if isinstance(value, str) else safe_repr(value, 160)
