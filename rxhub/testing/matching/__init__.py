"""Events that an expression matches: built, and tested by the expression."""

from __future__ import annotations

from rxhub.testing.matching.builder import MatchingEvents
from rxhub.testing.matching.search import Undecided

__all__ = ["MatchingEvents", "Undecided"]
