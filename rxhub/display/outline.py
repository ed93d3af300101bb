"""A value as a tree of lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from rxhub.redaction.preview import More, preview
from rxhub.text.layout import TreeLine
from rxhub.text.safe_repr import one_line, safe_repr

__all__ = ["outline"]

_MAX_LINES = 200
_WIDTH = 100
_FEW = 4  # items that `safe_repr` shows


def outline(value: object) -> list[TreeLine]:
    """A value as the lines of a tree, at most 200 of them; a container that fits is one line."""
    lines: list[TreeLine] = []
    waiting: list[tuple[int, str, Any]] = [(0, "", preview(value))]
    while waiting:
        if len(lines) >= _MAX_LINES:
            lines.append(TreeLine(0, "…"))
            break
        level, name, item = waiting.pop()
        children = _children(item)
        text = "" if isinstance(item, More) else safe_repr(item, _WIDTH)
        fits = not text.endswith("…") and len(text) + len(name) < _WIDTH
        if not children or (fits and len(children) <= _FEW and not any(_is_nested(child) for _, child in children)):
            lines.append(TreeLine(level, name, text))
            continue
        if name:
            lines.append(TreeLine(level, name))
            level += 1
        waiting += [(level, child, each) for child, each in reversed(children)]
    return lines


def _children(item: Any) -> list[tuple[str, Any]]:
    kind = cast("type[Any]", type(item))  # not what a proxy says of itself
    items: Iterable[tuple[Any, Any]] = ()
    if issubclass(kind, dict):
        items = item.items()
    elif issubclass(kind, (list, tuple)) and kind is not More:
        items = enumerate(cast("list[Any]", item))
    # A line about items that were left out has no value.
    marked = ((key, key if isinstance(key, More) else each) for key, each in items)
    return [(_name(each if isinstance(each, More) else key), each) for key, each in marked]


def _name(key: Any) -> str:
    if isinstance(key, More):
        return repr(key)
    return one_line(key, 60) if isinstance(key, str) else safe_repr(key, 60)


def _is_nested(item: Any) -> bool:
    kind = cast("type[Any]", type(item))
    return kind is More or (issubclass(kind, (dict, list, tuple)) and len(item) > 0)
