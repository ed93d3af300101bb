"""What the representations for people share: values shown within bounds, and text that HTML shows as it is."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from rxhub.text.printable import inline, printable

__all__ = ["UNSEEN", "escape_html", "one_line", "safe_repr"]

UNSEEN = "…"
"""Replaces a value that is nested too deeply, or inside itself."""

_MOST_ITEMS = 4
_MOST_LEVELS = 3
_MOST_BITS = 256
_BRACKETS: dict[type, str] = {dict: "{}", list: "[]", tuple: "()", set: "{}", frozenset: "{}"}


def one_line(text: str, limit: int) -> str:
    """Text without line breaks, other characters that do not print escaped, cut to `limit` characters."""
    line = inline(text[: limit + 1])
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def safe_repr(value: object, limit: int = 80) -> str:
    """A value as one line of at most `limit` characters. Never raises.

    Of a container only the beginning is looked at. Any other object is asked for its `repr`; where that raises, a
    note of it is shown.
    """
    try:
        return one_line(_repr(value, limit, _MOST_LEVELS), limit)
    except Exception:
        return "<no representation>"


def _repr(given: object, limit: int, levels: int) -> str:
    kind = type(given)  # not what a proxy says of itself
    value: Any = given
    if issubclass(kind, str):
        return repr(str.__getitem__(value, slice(limit)))
    if issubclass(kind, (bytes, bytearray)):
        return repr(bytes(memoryview(value)[:limit]))
    if issubclass(kind, int) and int.bit_length(value) > _MOST_BITS:
        return f"<int of {int.bit_length(value)} bits>"  # its digits would take long, or be refused
    for base, brackets in _BRACKETS.items():
        if issubclass(kind, base):
            return _container(value, vars(base), brackets, limit, levels) if levels else "…"
    if issubclass(kind, Mapping):
        return f"<{kind.__name__}>"  # its keys and values may be slow to make
    return str.__getitem__(repr(value), slice(limit + 1))


def _container(value: object, own: Mapping[str, Any], brackets: str, limit: int, levels: int) -> str:
    """The first items of a container, by its base's own methods: those of a subclass may never end."""

    def nested(item: object) -> str:
        return _repr(item, limit, levels - 1)

    first: list[Any] = list(islice(own["__iter__"](value), _MOST_ITEMS))
    if "get" in own:
        items = [f"{nested(key)}: {nested(own['get'](value, key))}" for key in first]
    else:
        items = [nested(item) for item in first]
    if own["__len__"](value) > _MOST_ITEMS:
        items.append("…")
    return f"{brackets[0]}{', '.join(items)}{brackets[1]}"


def escape_html(text: str) -> str:
    r"""Text as HTML shows it literally, with escapes such as `\u202e` for what does not print."""
    from html import escape  # takes longer to import than the rest of this file

    return escape(printable(text, lines=True))
