"""Events and packets in log records and messages: shortened, since one event can have millions of characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rxhub.text.safe_repr import safe_repr

__all__ = ["Brief"]

_MOST = 200
_MOST_OF_A_KEY = 60


class Brief:
    """What a log record shows of a value; made only if the record is written.

    Of an event, its topic, id and sender; of anything else the first 200 characters, and how many there are.

    Args:
        value: an event, text, or any other object.
    """

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        value = self._value
        if isinstance(value, str):
            more = f"… ({len(value)} characters)" if len(value) > _MOST else ""
            return f"{value[:_MOST]}{more}"
        if isinstance(value, Mapping) and "topic" in value:
            event = cast("Mapping[str, Any]", value)
            told = ", ".join(f"{key}={safe_repr(event.get(key), _MOST_OF_A_KEY)}" for key in ("topic", "id", "target"))
            return f"<{type(event).__name__} {told}>"
        return safe_repr(cast("object", value), _MOST)

    __repr__ = __str__
