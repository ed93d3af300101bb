"""Parse times and durations as users write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

__all__ = ["parse_duration", "parse_moment"]

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Parse `90s`, `2h`, `1d12h` or `3w`.

    Raises:
        ValueError: if the text is not a duration.
    """
    if len(text) > 100 or _DURATION.fullmatch(text) is None:
        raise ValueError(f"{text[:100]!r} is not a valid duration. Examples: 90s, 2h, 3d, 1d12h.")
    try:
        return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text)))
    except OverflowError:
        return timedelta.max


def parse_moment(text: str) -> datetime | timedelta | int:
    """Parse an ISO time, a duration before now, or a sequence. A time without an offset is local time.

    Raises:
        ValueError: if the text is none of them.
    """
    if text.isascii() and text.isdigit():
        return int(text[:30])
    try:
        return parse_duration(text)
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
        return time if time.utcoffset() is not None else time.astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:100]!r} is not a valid time. Examples: 2026-03-01T12:00, a duration before now (90s, 2h, 3d), or "
            "a sequence number."
        ) from None
