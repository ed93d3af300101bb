"""Values as JSON carries them: what every transport can take along."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

from rxhub.text.safe_repr import UNSEEN, safe_repr

__all__ = ["jsonable"]

_MOST_LEVELS = 64
_MOST_VALUES = 100_000
_LONGEST = 200
_WIDEST_INT = 64


def jsonable(value: object, odd: Callable[[object], object] | None = None) -> Any:
    """A copy of `value` of dicts with text keys, lists, texts, finite numbers, booleans and None. Never raises.

    Sets and tuples become lists, dates and times ISO 8601, UUIDs, decimals and paths their text, members of an Enum
    their value, bytes text if they are UTF-8. What lies deeper than 64 levels, and all beyond 100,000 values, becomes
    `…`. Whatever else there is cannot be carried: in its place stands its representation, of at most 200 characters.

    Args:
        value: what is to be carried.
        odd: told of each value that cannot be carried.
    """
    return _Copy(odd).of(value, _MOST_LEVELS)


class _Copy:
    """One call of `portable`."""

    def __init__(self, odd: Callable[[object], object] | None) -> None:
        self._odd = odd
        self._left = _MOST_VALUES

    def of(self, value: Any, levels: int) -> Any:
        kind = cast("type[Any]", type(value))
        if value is None or kind is bool:
            return value
        self._left -= 1
        if self._left < 0 or not levels:
            return UNSEEN
        try:
            return self._of(value, kind, levels - 1)
        except Exception:
            return self._text(value)

    def _of(self, value: Any, kind: type[Any], levels: int) -> Any:
        if issubclass(kind, Enum):
            return self.of(value.value, levels)
        if issubclass(kind, str):
            # A lone surrogate is no text that UTF-8 could carry.
            return str.encode(value, "utf-8", "replace").decode("utf-8")
        if issubclass(kind, int) and int.bit_length(value) < _WIDEST_INT:
            return int(value)
        if issubclass(kind, float) and isfinite(value):
            return float(value)
        if issubclass(kind, (bytes, bytearray)):
            return bytes(value).decode("utf-8")
        if issubclass(kind, (datetime, date, time)):
            return value.isoformat()
        if issubclass(kind, (UUID, Decimal, PurePath)):
            return str(value)
        if issubclass(kind, Mapping):
            return self._mapping(value, levels)
        if issubclass(kind, (list, tuple, set, frozenset, deque)):
            return self._items(value, levels)
        return self._text(value)

    def _mapping(self, mapping: Mapping[Any, Any], levels: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, value in mapping.items():
            if self._left < 0:
                break
            name: Any = self.of(key, levels)
            copy[name if isinstance(name, str) else str(name)] = self.of(value, levels)
        return copy

    def _items(self, items: Iterable[Any], levels: int) -> list[Any]:
        copy: list[Any] = []
        for item in items:
            copy.append(self.of(item, levels))
            if self._left < 0:
                break
        return copy

    def _text(self, value: object) -> str:
        if self._odd is not None:
            self._odd(value)
        return safe_repr(value, _LONGEST)
