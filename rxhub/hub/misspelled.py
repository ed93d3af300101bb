"""The warning about keys of a subscription that are probably misspelled."""

from __future__ import annotations

from rxhub.errors import SubscriptionWarning
from rxhub.expression import Expression
from rxhub.expression.near_miss import misspelling_warning
from rxhub.text.caller_warning import warn_caller

__all__ = ["warn_of_misspelled"]


def warn_of_misspelled(expression: Expression) -> None:
    """Warn if the first step of a key is similar to a key of an event. An event from the wire may have other keys."""
    if said := misspelling_warning(expression):
        warn_caller(said, SubscriptionWarning)
