"""Warnings at the line of the user's program."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_caller"]

# Packages whose frames may lie between the user's code and the warning.
_SKIPPED = frozenset({"asyncio", "contextlib", "functools", "reactivex", "rxhub"})


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the innermost frame of the user's code.

    A fixed `stacklevel` would depend on the method that was called.
    """
    level, frame = 1, sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _SKIPPED:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
