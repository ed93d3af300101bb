"""Convert values to JSON types, which every transport can send."""

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

_MAX_LEVELS = 64
_MAX_VALUES = 100_000
_MAX_REPR_LENGTH = 200
_MAX_INT_BITS = 64


def jsonable(value: object, on_unsupported: Callable[[object], object] | None = None) -> Any:
    """A copy of `value` made of JSON types: string keys, no NaN or infinity. Never raises.

    Sets and tuples become lists, dates and times ISO 8601 strings, UUIDs, decimals and paths strings, members of an
    Enum their value, and bytes strings if they are UTF-8. Values deeper than 64 levels or beyond the first 100,000
    become `…`. Other values are not supported: their representation replaces them, cut to 200 characters.

    Args:
        value: the value.
        on_unsupported: called with each unsupported value.
    """
    return _Copy(on_unsupported).of(value, _MAX_LEVELS)


class _Copy:
    """One conversion."""

    def __init__(self, on_unsupported: Callable[[object], object] | None) -> None:
        self._on_unsupported = on_unsupported
        self._left = _MAX_VALUES

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
            # UTF-8 cannot encode lone surrogates.
            return str.encode(value, "utf-8", "replace").decode("utf-8")
        if issubclass(kind, int) and int.bit_length(value) < _MAX_INT_BITS:
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
        if self._on_unsupported is not None:
            self._on_unsupported(value)
        return safe_repr(value, _MAX_REPR_LENGTH)
