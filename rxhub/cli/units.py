"""What people write at a terminal for a place in time, a time span and a size, and how they read a size."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import typer

__all__ = ["duration", "moment", "shown_size", "size"]

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def duration(text: str, option: str) -> timedelta:
    """`90s`, `2h`, `1d12h`, `3w`.

    Raises:
        typer.BadParameter: if it is nothing of the kind.
    """
    found = _duration(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration. Write it as 90s, 2h, 3d or 1d12h.", param_hint=option)
    return found


def moment(text: str, option: str) -> datetime | timedelta | int:
    """An ISO time, how long ago, or a sequence. A time without an offset is local time, as it is meant at a terminal.

    Raises:
        typer.BadParameter: if it is none of them.
    """
    if text.isascii() and text.isdigit():
        return int(text[:30])
    ago = _duration(text)
    if ago is not None:
        return ago
    try:
        time = datetime.fromisoformat(text)
        return time if time.utcoffset() is not None else time.astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time. Write 2026-03-01T12:00, how long ago (90s, 2h, 3d), or a sequence of the stream.",
            param_hint=option,
        ) from None


def size(text: str, option: str) -> int:
    """`500M`, `10G`, `1.5TB`: bytes, in powers of 1,024.

    Raises:
        typer.BadParameter: if it is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no size. Write it as 500M or 10G.", param_hint=option)
    count = int(float(found[1]) * _BYTES[found[2].upper()])
    if not count:
        raise typer.BadParameter(f"{text!r} is nothing at all.", param_hint=option)
    return count


def shown_size(count: float) -> str:
    """Bytes as `512B`, `5.2M`, `10G`."""
    for unit in ("B", "K", "M", "G"):
        if count < 1_024:
            return f"{count:.3g}{unit}"
        count /= 1_024
    return f"{count:,.3g}T"


def _duration(text: str) -> timedelta | None:
    if _DURATION.fullmatch(text) is None:
        return None
    try:
        return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text)))
    except OverflowError:
        return timedelta.max
