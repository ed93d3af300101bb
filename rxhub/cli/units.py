"""Parse times, durations and sizes from the command line, and format sizes."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import typer

from rxhub.text import moments

__all__ = ["format_duration", "format_size", "format_time", "parse_duration", "parse_size", "parse_time"]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_duration(text: str, option: str) -> timedelta:
    """Parse `90s`, `2h`, `1d12h` or `3w`; raise `typer.BadParameter` for anything else."""
    try:
        return moments.parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def parse_time(text: str, option: str) -> datetime | timedelta | int:
    """Parse an ISO time, a duration before now, or a sequence; raise `typer.BadParameter` for anything else.

    A time without an offset is local time.
    """
    try:
        return moments.parse_moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def parse_size(text: str, option: str) -> int:
    """Parse `500M`, `10G` or `1.5TB` as bytes above 0, with units of 1,024; raise `typer.BadParameter` otherwise."""
    found = _SIZE.fullmatch(text.strip())
    count = 0 if found is None else int(float(found[1]) * _BYTES[found[2].upper()])
    if not count:
        raise typer.BadParameter(f"{text!r} is not a valid size above 0. Examples: 500M, 10G.", param_hint=option)
    return count


def format_size(count: float) -> str:
    """Format bytes as `512B`, `5.2M` or `10G`."""
    for unit in ("B", "K", "M", "G"):
        if count < 1_024:
            return f"{count:.3g}{unit}"
        count /= 1_024
    return f"{count:,.3g}T"


def format_duration(seconds: float) -> str:
    """Format seconds as `90s`, `12h` or `30d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length or seconds == length:
            return f"{seconds / length:.3g}{unit}"
    return f"{seconds:g}s"


def format_time(time: datetime | None) -> str:
    """Format a time as local time; empty for None."""
    return "" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
