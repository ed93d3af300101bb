"""Values as they may be shown: within bounds, and without secrets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, cast

from rxhub.redaction import LABELS, redacted, secrets
from rxhub.text.safe_repr import UNSEEN, one_line, safe_repr

__all__ = ["MOST_ITEMS", "Line", "is_secret_path", "outline", "preview", "preview_line"]

MOST_ITEMS = 20
"""Of one container; the first ones."""

_MOST_LEVELS = 6
_MOST_LINES = 200
_LONGEST = 1000
_WIDTH = 100
_FEW = 4


class Line(NamedTuple):
    """One line of a tree.

    Attributes:
        level: 0 at the root.
        text: what stands there.
        detail: what is told of it.
        mark: whether it holds; None where that is no question.
        decisive: whether it is the cause of what the root says.
    """

    level: int
    text: str
    detail: str = ""
    mark: bool | None = None
    decisive: bool = False


class More(NamedTuple):
    """Stands for what a bounded container had beyond its bound."""

    number: int

    def __repr__(self) -> str:
        return f"… {self.number} more"


def preview(value: object) -> Any:
    """The beginning of a value, of its containers too, without secrets. Never raises.

    It is cut before it is searched, so that what is shown of a million items costs what twenty cost.
    """
    return redacted(_cut(value, _MOST_LEVELS))


def preview_line(value: object, limit: int = 80) -> str:
    """A value as one line without secrets. Never raises."""
    return safe_repr(preview(value), limit)


def is_secret_path(steps: Iterable[str]) -> bool:
    """Whether any name on the way to a value is that of a secret."""
    return any(map(secrets.names, steps))


def _cut(value: Any, levels: int) -> Any:
    kind = cast("type[Any]", type(value))
    if issubclass(kind, str):
        return str.__getitem__(value, slice(_LONGEST))
    if hasattr(kind, "_fields") and issubclass(kind, tuple):
        return value  # a named tuple, which has few
    is_mapping = issubclass(kind, Mapping)
    if not is_mapping and not issubclass(kind, (list, tuple, set, frozenset)):
        return value
    if not levels:
        return UNSEEN
    try:
        return _cut_mapping(value, levels - 1) if is_mapping else _cut_items(value, levels - 1)
    except Exception:
        return f"<{kind.__name__} that cannot be read>"


def _cut_mapping(mapping: Mapping[Any, Any], levels: int) -> dict[Any, Any]:
    items: Iterator[tuple[Any, Any]] = iter(mapping.items())
    copy = {_key(key): _cut(value, levels) for key, value in islice(items, MOST_ITEMS)}
    copy.update((name, mapping[name]) for name in LABELS if name not in copy and name in mapping)
    if (more := len(mapping) - len(copy)) > 0:
        copy[More(more)] = None
    return copy


def _key(key: Any) -> Any:
    return str.__getitem__(key, slice(_LONGEST)) if isinstance(key, str) else key


def _cut_items(items: Any, levels: int) -> Any:
    copy: list[Any] = [_cut(item, levels) for item in islice(iter(items), MOST_ITEMS)]
    more = len(items) - len(copy)
    if more > 0:
        copy.append(More(more))
    elif issubclass(type(items), tuple):
        return tuple(copy)  # a pair of a name and a secret is recognized as one
    return copy


def outline(value: object) -> list[Line]:
    """A value as the lines of a tree, at most 200 of them; a container that fits is one line."""
    lines: list[Line] = []
    waiting: list[tuple[int, str, Any]] = [(0, "", preview(value))]
    while waiting:
        if len(lines) >= _MOST_LINES:
            lines.append(Line(0, "…"))
            break
        level, name, item = waiting.pop()
        told = safe_repr(item, _WIDTH) if not _is_long(item) else ""
        if told and not told.endswith("…") and len(told) + len(name) < _WIDTH:
            lines.append(Line(level, name, told))
            continue
        children: list[tuple[str, Any]] = []
        if issubclass(type(item), dict):
            children = [_child(key, each) for key, each in cast("dict[Any, Any]", item).items()]
        elif issubclass(type(item), (list, tuple)):
            children = [_child(number, each) for number, each in enumerate(cast("list[Any]", item))]
        if not children:
            lines.append(Line(level, name, safe_repr(cast("object", item), _WIDTH)))
            continue
        if name:
            lines.append(Line(level, name))
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
