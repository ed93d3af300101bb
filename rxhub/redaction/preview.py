"""Values as they are shown to people: bounded, and without secrets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, cast

from rxhub.redaction.secret_names import secrets
from rxhub.redaction.strings import LABELS
from rxhub.redaction.values import redacted
from rxhub.text.safe_repr import UNSEEN, safe_repr

__all__ = ["MAX_ITEMS", "CutBudget", "More", "is_secret_path", "preview", "preview_line"]

MAX_ITEMS = 20
"""Of one container: the first ones are kept."""

_MAX_LEVELS = 6
_MAX_LENGTH = 1000  # characters of a string
_MAX_UNITS = 50_000
_CHARACTERS_PER_UNIT = 10


class CutBudget:
    """How much several previews keep together.

    Args:
        units: one for a value, and one for each 10 characters of a string.

    Attributes:
        units: what is left.
    """

    __slots__ = ("units",)

    def __init__(self, units: int = _MAX_UNITS) -> None:
        self.units = units


class More(NamedTuple):
    """Replaces the items of a container beyond the limit."""

    number: int

    def __repr__(self) -> str:
        return f"… {self.number} more"


def preview(value: object, budget: CutBudget | None = None) -> Any:
    """The first items of a value and of its containers, without secrets. Never raises.

    Values are cut before they are searched for secrets, so that a million items cost as much as twenty.

    Args:
        value: any value.
        budget: shared with other previews; values beyond it are `…`.
    """
    return redacted(_cut(value, _MAX_LEVELS, budget or CutBudget()))


def preview_line(value: object, limit: int = 80) -> str:
    """A value in one line, without secrets. Never raises."""
    return safe_repr(preview(value), limit)


def is_secret_path(steps: Iterable[str]) -> bool:
    """Whether any key on the path to a value is the name of a secret."""
    return any(map(secrets.names, steps))


def _cut(value: Any, levels: int, budget: CutBudget) -> Any:
    if budget.units <= 0:
        return UNSEEN
    budget.units -= 1
    kind = cast("type[Any]", type(value))
    if issubclass(kind, str):
        first = str.__getitem__(value, slice(_MAX_LENGTH))
        budget.units -= len(first) // _CHARACTERS_PER_UNIT
        return first
    if hasattr(kind, "_fields") and issubclass(kind, tuple):
        return value  # a named tuple has few items
    is_mapping = issubclass(kind, Mapping)
    if not is_mapping and not issubclass(kind, (list, tuple, set, frozenset)):
        return value
    if not levels:
        return UNSEEN
    try:
        return _cut_mapping(value, levels - 1, budget) if is_mapping else _cut_items(value, levels - 1, budget)
    except Exception:
        return f"<{kind.__name__} that cannot be read>"


def _cut_mapping(mapping: Mapping[Any, Any], levels: int, budget: CutBudget) -> dict[Any, Any]:
    items: Iterator[tuple[Any, Any]] = iter(mapping.items())
    copy = {_key(key): _cut(value, levels, budget) for key, value in islice(items, MAX_ITEMS)}
    for name in LABELS:
        # A label says whether the values beside it are secret, so it is kept whatever the budget.
        if copy.get(name, UNSEEN) is UNSEEN and name in mapping:
            copy[name] = _cut(mapping[name], 0, CutBudget())
    if (more := len(mapping) - len(copy)) > 0:
        copy[More(more)] = None
    return copy


def _key(key: Any) -> Any:
    return str.__getitem__(key, slice(_MAX_LENGTH)) if isinstance(key, str) else key


def _cut_items(items: Any, levels: int, budget: CutBudget) -> Any:
    copy: list[Any] = [_cut(item, levels, budget) for item in islice(iter(items), MAX_ITEMS)]
    more = len(items) - len(copy)
    if more > 0:
        copy.append(More(more))
    elif issubclass(type(items), tuple):
        return tuple(copy)  # so that a pair of a name and a secret is recognized
    return copy
