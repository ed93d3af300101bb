"""Whether the clock here agrees with that of a server which tells its time with an answer."""

from __future__ import annotations

from rxhub.cli.doctor.diagnosis import Finding, Verdict

__all__ = ["clock"]

_MOST = 10.0
"""Seconds by which two clocks may differ."""


def clock(theirs: float | None, cut: float, asked: float, answered: float) -> Finding:
    """How far the clock here is from the server's, which told its time between our asking and its answer.

    Args:
        theirs: the server's time, in seconds since 1970; None if it tells none.
        cut: seconds by which it may have been rounded down.
        asked: the time here when the server was asked.
        answered: and when its answer had come.
    """
    if theirs is None:
        return Finding(Verdict.NOTE, "it does not tell its time, so the clocks cannot be compared")
    ahead = max(0.0, asked - (theirs + cut)) - max(0.0, theirs - answered)
    if abs(ahead) <= _MOST:
        return Finding(Verdict.OK, "the clock here agrees with the server's")
    way = "ahead of" if ahead > 0 else "behind"
    remedy = "Let both keep time by NTP; times of events cannot be compared otherwise, and tokens expire early or late."
    return Finding(Verdict.PROBLEM, f"the clock here is {abs(ahead):.0f} s {way} the server's", remedy)
