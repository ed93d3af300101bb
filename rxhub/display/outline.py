"""A value as a tree of lines."""

from __future__ import annotations

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
        text = safe_repr(item, _WIDTH) if not _is_long(item) else ""
        if text and not text.endswith("…") and len(text) + len(name) < _WIDTH:
            lines.append(TreeLine(level, name, text))
            continue
        children: list[tuple[str, Any]] = []
        if issubclass(type(item), dict):
            children = [_child(key, each) for key, each in cast("dict[Any, Any]", item).items()]
        elif issubclass(type(item), (list, tuple)):
            children = [_child(number, each) for number, each in enumerate(cast("list[Any]", item))]
        if not children:
            lines.append(TreeLine(level, name, safe_repr(cast("object", item), _WIDTH)))
            continue
        if name:
            lines.append(TreeLine(level, name))
        below = level + 1 if name else level
        waiting += [(below, child, each) for child, each in reversed(children)]
    return lines


def _child(key: Any, value: Any) -> tuple[str, Any]:
    if isinstance(key, More):
        return repr(key), _NOTHING
    if isinstance(value, More):
        return repr(value), _NOTHING
    return one_line(key, 60) if isinstance(key, str) else safe_repr(key, 60), value


class _Nothing:
    def __repr__(self) -> str:
        return ""


_NOTHING = _Nothing()


def _is_long(item: Any) -> bool:
    """Whether `shown` would leave something of it out."""
    kind = cast("type[Any]", type(item))  # not what a proxy says of itself
    if issubclass(kind, dict):
        return len(item) > _FEW or any(map(_is_nested, item.values()))
    return issubclass(kind, (list, tuple)) and (len(item) > _FEW or any(map(_is_nested, item)))


def _is_nested(item: Any) -> bool:
    kind = cast("type[Any]", type(item))
    return kind is More or (issubclass(kind, (dict, list, tuple)) and len(item) > 0)
