"""What `rxhub doctor` found, and what to do about it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["Finding", "Verdict"]


class Verdict(Enum):
    """How it is."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, but something cannot be used or was not looked at."""
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One thing that was looked at: how it is, what was found, and what to do; the latter empty if nothing."""

    verdict: Verdict
    found: str
    remedy: str = ""
