"""Finds NaN and infinity, which JSON cannot express, before an event is sent.

msgspec writes both as `null`. The check reads what JSON writers read: dicts, lists, tuples, sets, dataclasses, msgspec
structs and attrs classes. It runs no code of other classes: a mapping may query a server for its items.

`_has_non_finite` runs for every event, so it walks without recursion, and the path is searched only after it has found
something. A live structure on `memory://` may contain itself: after `_UNTRACKED` containers, visited ones are noted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from numbers import Real
from typing import Any, cast

from rxhub.errors import EventError

__all__ = ["check_finite", "check_finite_metadata", "non_finite"]

_SCALARS = frozenset({bool, bytes, int, str, type(None)})
_UNTRACKED = 1_000
_CONTAINERS = frozenset({dict, list, tuple})
_SEQUENCES = (list, tuple, set, frozenset, deque)


def check_finite(fields: Mapping[str, Any]) -> None:
    """Refuse an event that contains NaN or infinity: EventError has the path, such as `data.frames[3]`."""
    found = non_finite(fields)
    if found:
        raise EventError(
            f"The event {fields.get('topic')} cannot be sent: {found}, which JSON cannot express. "
            "Send None or a string instead."
        )


def check_finite_metadata(metadata: Mapping[str, Any]) -> None:
    """Refuse a subscriber's metadata, which servers and replies carry, likewise."""
    found = non_finite(metadata if isinstance(metadata, dict) else {**metadata})
    if found:
        raise EventError(
            f"The subscriber's metadata cannot be sent: {found}, which JSON cannot express. "
            "Send None or text in its place."
        )


def non_finite(value: object) -> str:
    """Where the first NaN or infinity is, such as `data.frames[3] is nan`; empty if there is none."""
    return next(_paths(value, "", set()), "") if _has_non_finite(value) else ""


def _has_non_finite(root: object, seen: set[int] | None = None) -> bool:
    """Whether there is one; `seen` are the visited containers, if they are remembered."""
    pending: list[Any] = [root]
    for container in pending:  # grows during the loop
        if seen is not None:
            if id(container) in seen:
                continue
            seen.add(id(container))
        elif len(pending) > _UNTRACKED:
            return _has_non_finite(root, set())
        kind = type(container)  # pyright: ignore[reportUnknownVariableType]
        children: Iterable[Any]
        if kind is dict:
            # Copied at once: another thread may change it.
            children = (*container.values(),)
            try:
                "".join(container)
            except TypeError:  # not all keys are strings
                children = (*children, *container)
        elif kind is list or kind is tuple:
            children = container
        else:
            children = [child for _, child in _children(container) or ()]
        for child in children:
            kind = type(child)  # pyright: ignore[reportUnknownVariableType]
            if kind in _SCALARS:
                continue
            if kind is float:
                if child * 0.0 != 0.0:  # faster than math.isfinite
                    return True
            elif kind in _CONTAINERS or not _is_non_finite(child):
                pending.append(child)
            else:
                return True
    return False


def _paths(value: object, path: str, above: set[int]) -> Iterator[str]:
    """The paths of all values below `value` that are not finite."""
    if _is_non_finite(value):
        yield f"{path or 'it'} is {value}"
        return
    children = _children(value)
    if children is None or id(value) in above:
        return
    above.add(id(value))
    for step, child in children:
        yield from _paths(child, f"{path}{step}".removeprefix("."), above)
    above.discard(id(value))


def _is_non_finite(value: object) -> bool:
    try:
        if isinstance(value, float):
            return value * 0.0 != 0.0
        if isinstance(value, Decimal):
            return not value.is_finite()
        if isinstance(value, Real) and not isinstance(value, int):
            return bool(float(value) * 0.0 != 0.0)
        if isinstance(value, Enum):
            return _is_non_finite(value.value)
    except Exception:  # noqa: BLE001 - a number of another class
        return False
    return False


def _children(value: Any) -> Iterable[tuple[str, object]] | None:
    """The values that a JSON writer reads, each with its step in the path; None if it reads none."""
    kind = cast("type[Any]", type(value))
    if isinstance(value, dict):
        # Not `value.items()`, which may be of an own class.
        items: list[tuple[object, object]] = [*dict[Any, Any].items(cast("dict[Any, Any]", value))]
        keys = [(" (a key)", key) for key, _ in items if type(key) is not str]
        return [*keys, *[(_step(key), child) for key, child in items]]
    if isinstance(value, _SEQUENCES):
        return [(f"[{place}]", child) for place, child in enumerate([*cast("Iterable[object]", value)])]
    names: Iterable[str] | None = getattr(kind, "__struct_fields__", None) or getattr(
        kind, "__dataclass_fields__", None
    )
    if names is None and (attributes := getattr(kind, "__attrs_attrs__", None)) is not None:
        names = [attribute.name for attribute in attributes]
    if names is None:
        return None
    return [(f".{name}", getattr(value, name, None)) for name in names]


def _step(key: object) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"
