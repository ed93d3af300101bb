"""Find the differences between values with the same representation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

from rxhub.event import Event
from rxhub.redaction import redacted
from rxhub.redaction.strings import REDACTED
from rxhub.text.safe_repr import safe_repr

__all__ = ["differences", "equal"]

_Path: TypeAlias = tuple[Any, ...]

_NOTHING: Any = object()
_MAX_SHOWN = 3
_MAX_VISITED = 10_000
_WIDTH = 60


def equal(one: Any, other: Any) -> bool:
    """Whether two values are identical or equal; False if they cannot be compared."""
    try:
        return one is other or bool(one == other)
    except Exception:
        return False


def differences(found: Any, wanted: Any) -> list[str]:
    """The first differences, such as `at data.x[2].y: 1, not 2`. Secrets are not shown."""
    lines: list[str] = []
    clean_found, clean_wanted = redacted(_plain(found)), redacted(_plain(wanted))
    for path, one, other in _find_differences(_plain(found), _plain(wanted)):
        if len(lines) == _MAX_SHOWN:
            return [*lines, "and more differences"]
        if _is_secret(clean_found, path) or _is_secret(clean_wanted, path):
            lines.append(f"{_location(path)}: a different {REDACTED}, which is a secret")
        else:
            lines.append(_line(path, redacted(one), redacted(other)))
    return lines or ["they differ by their own =="]


def _plain(value: Any) -> Any:
    return cast("Any", value.fields) if isinstance(value, Event) else value


def _find_differences(found: object, wanted: object) -> Iterator[tuple[_Path, Any, Any]]:
    waiting: list[tuple[_Path, object, object]] = [((), found, wanted)]
    visited: set[tuple[int, int]] = set()
    while waiting and len(visited) < _MAX_VISITED:
        path, one, other = waiting.pop()
        try:
            below = _below(one, other)
        except Exception:
            below = None  # an incomplete mapping
        if below is None:
            if not equal(one, other):
                yield path, one, other
        elif (pair := (id(one), id(other))) not in visited:
            visited.add(pair)
            waiting.extend([((*path, step), left, right) for step, left, right in reversed(below)])


def _below(one: object, other: object) -> list[tuple[Any, Any, Any]] | None:
    """The items of two containers of the same kind in pairs; None for anything else."""
    kind = type(one)
    if kind is type(other) and issubclass(kind, (list, tuple)):
        items, others = cast("list[Any]", one), cast("list[Any]", other)
        return [(n, _item(items, n), _item(others, n)) for n in range(max(len(items), len(others)))]
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one and other:
        left, right = cast("Mapping[Any, Any]", one), cast("Mapping[Any, Any]", other)
        return [(key, left.get(key, _NOTHING), right.get(key, _NOTHING)) for key in dict.fromkeys([*left, *right])]
    return None


def _item(items: list[Any], number: int) -> Any:
    return items[number] if number < len(items) else _NOTHING


def _is_secret(clean: Any, path: _Path) -> bool:
    """Whether the value at a path was redacted."""
    for step in path:
        if clean is REDACTED:
            return True
        try:
            clean = clean[step]
        except (LookupError, TypeError):
            # Only one of the two has a value there.
            return False
    return clean is REDACTED


def _line(path: _Path, one: Any, other: Any) -> str:
    if isinstance(one, str) and isinstance(other, str) and safe_repr(one, _WIDTH) == safe_repr(other, _WIDTH):
        # Long strings with a common beginning.
        start = next((n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
        start = max(0, (start or min(len(one), len(other))) - 10)
        return f"{_location(path)}[{start}:]: {safe_repr(one[start:], _WIDTH)}, not {safe_repr(other[start:], _WIDTH)}"
    texts = [_shown(one), _shown(other)]
    if texts[0] == texts[1]:
        texts = [f"{text} ({type(value).__qualname__})" for text, value in zip(texts, (one, other), strict=True)]
    return f"{_location(path)}: {texts[0]}, not {texts[1]}"


def _shown(value: Any) -> str:
    return "nothing" if value is _NOTHING else safe_repr(value, _WIDTH)


def _location(path: _Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, str) and step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{safe_repr(step, 20)}]"
    return f"at {text}" if text else "as a whole"
