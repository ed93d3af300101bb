"""Warnings that point at the line of the user's program."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_caller"]

# What may stand between a call of the user's and rxhub.
_BETWEEN = frozenset({"asyncio", "contextlib", "functools", "reactivex", "rxhub"})


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the innermost frame that belongs neither to rxhub nor to what calls it for the user.

    A `stacklevel` would depend on which of several methods was called.
    """
    level, frame = 1, sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
