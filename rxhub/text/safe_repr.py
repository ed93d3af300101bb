"""Bounded representations of values, and text escaped for HTML."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from rxhub.text.printable import inline, printable

__all__ = ["UNSEEN", "escape_html", "one_line", "safe_repr"]

UNSEEN = "…"
"""Replaces a value that is nested too deeply or contains itself."""

_MAX_ITEMS = 4
_MAX_LEVELS = 3
_MAX_BITS = 256
_BRACKETS: dict[type, str] = {dict: "{}", list: "[]", tuple: "()", set: "{}", frozenset: "{}"}


def one_line(text: str, limit: int) -> str:
    """Text without line breaks, with escapes for unprintable characters, cut to `limit` characters."""
    line = inline(text[: limit + 1])
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def safe_repr(value: object, limit: int = 80) -> str:
    """The representation of a value in one line of at most `limit` characters. Never raises.

    Only the first items of a container are read.
    """
    try:
        return one_line(_repr(value, limit, _MAX_LEVELS), limit)
    except Exception:
        return "<no representation>"


def _repr(given: object, limit: int, levels: int) -> str:
    kind = type(given)  # not `__class__`, which proxies forge
    value: Any = given
    if issubclass(kind, str):
        return repr(str.__getitem__(value, slice(limit)))
    if issubclass(kind, (bytes, bytearray)):
        return repr(bytes(memoryview(value)[:limit]))
    if issubclass(kind, int) and int.bit_length(value) > _MAX_BITS:
        return f"<int of {int.bit_length(value)} bits>"  # converting it to digits is slow or not allowed
    for base, brackets in _BRACKETS.items():
        if issubclass(kind, base):
            return _container(value, vars(base), brackets, limit, levels) if levels else "…"
    if issubclass(kind, Mapping):
        return f"<{kind.__name__}>"  # creating its keys and values may be slow
    return str.__getitem__(repr(value), slice(limit + 1))


def _container(value: object, own: Mapping[str, Any], brackets: str, limit: int, levels: int) -> str:
    """The first items of a container, by the methods of its base class: those of a subclass may never end."""

    def nested(item: object) -> str:
        return _repr(item, limit, levels - 1)

    first: list[Any] = list(islice(own["__iter__"](value), _MAX_ITEMS))
    if "get" in own:
        items = [f"{nested(key)}: {nested(own['get'](value, key))}" for key in first]
    else:
        items = [nested(item) for item in first]
    if own["__len__"](value) > _MAX_ITEMS:
        items.append("…")
    return f"{brackets[0]}{', '.join(items)}{brackets[1]}"


def escape_html(text: str) -> str:
    r"""Text escaped for HTML, with escapes such as `\u202e` for unprintable characters."""
    from html import escape  # slow to import

    return escape(printable(text, lines=True))
