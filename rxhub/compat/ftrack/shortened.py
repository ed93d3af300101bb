"""Shorten events and packets in log records: one event can have millions of characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rxhub.text.safe_repr import safe_repr

__all__ = ["Shortened"]

_MAX_CHARACTERS = 200
_MAX_FIELD_CHARACTERS = 60


class Shortened:
    """A value as log records show it, formatted only if the record is written.

    An event is shown by topic, id and target, any other value by its first 200 characters and its length.
    """

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        value = self._value
        if isinstance(value, str):
            more = f"… ({len(value)} characters)" if len(value) > _MAX_CHARACTERS else ""
            return f"{value[:_MAX_CHARACTERS]}{more}"
        if isinstance(value, Mapping) and "topic" in value:
            event = cast("Mapping[str, Any]", value)
            fields = ", ".join(
                f"{key}={safe_repr(event.get(key), _MAX_FIELD_CHARACTERS)}" for key in ("topic", "id", "target")
            )
            return f"<{type(event).__name__} {fields}>"
        return safe_repr(cast("object", value), _MAX_CHARACTERS)

    __repr__ = __str__
