"""The findings of `rxhub doctor`, and the findings about clocks, which all servers share."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["Finding", "Verdict", "compare_clocks"]

_MAX_DIFFERENCE_S = 10.0


class Verdict(Enum):
    """The result of a check."""

    OK = "ok"
    NOTE = "note"
    """Not a problem, but something is unavailable or was not checked."""
    PROBLEM = "problem"


class Finding(NamedTuple):
    """The result of one check: what was found, and what to do about it (empty if nothing)."""

    verdict: Verdict
    found: str
    remedy: str = ""


def compare_clocks(server_time: float | None, resolution: float, before: float, after: float) -> Finding:
    """Compare the clock of this machine with that of a server, which sent its time between two moments.

    Args:
        server_time: in seconds since 1970; None if the server sends no time.
        resolution: seconds by which the time may have been rounded down.
        before: the time here before the request.
        after: the time here after the answer.
    """
    if server_time is None:
        return Finding(Verdict.NOTE, "the server sends no time, so the clocks cannot be compared")
    ahead = max(0.0, before - (server_time + resolution)) - max(0.0, server_time - after)
    if abs(ahead) <= _MAX_DIFFERENCE_S:
        return Finding(Verdict.OK, "the clock of this machine agrees with the server")
    direction = "ahead of" if ahead > 0 else "behind"
    return Finding(
        Verdict.PROBLEM,
        f"the clock of this machine is {abs(ahead):.0f} s {direction} the server",
        "Synchronize both with NTP. Otherwise times of events are not comparable, and tokens expire early or late.",
    )
