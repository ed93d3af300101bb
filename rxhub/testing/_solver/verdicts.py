"""What is said of an expression for which no candidate was made."""

from __future__ import annotations

from rxhub.errors import RxHubError

__all__ = ["Undecided", "Unsatisfiable"]


class Unsatisfiable(RxHubError, ValueError):
    """Nothing can match the expression: its conditions contradict each other."""


class Undecided(RxHubError, ValueError):
    """Whether anything can match the expression was not found out: that would take too long, or is not built."""
