"""Parses the subscriptions of requests, and reports where one cannot be parsed."""

from __future__ import annotations

from typing import Final

from rxhub.errors import ExpressionError
from rxhub.expression import Expression, parse
from rxhub.expression.step_budget import StepBudget
from rxhub.server.limits import Limits
from rxhub.web.problems import Problem

__all__ = ["parse_subscription"]

_STEPS_PER_CONDITION: Final = 150


def parse_subscription(text: str, limits: Limits, work: StepBudget) -> Expression:
    """Parse a subscription.

    Args:
        text: the subscription.
        limits: of its length and conditions.
        work: the budget of the request.

    Raises:
        Problem: 422 with `position`, `expected`, `hint` and `message` if it does not parse.
    """
    # Each condition contains one of these characters.
    signs = sum(map(text.count, "=<>,"))
    work.spend(len(text) // 4 + _STEPS_PER_CONDITION * signs)
    try:
        return parse(text, max_length=limits.expression, max_conditions=limits.conditions)
    except ExpressionError as error:
        raise Problem(
            422, str(error), position=error.position, expected=error.expected, hint=error.hint, message=error.message
        ) from None
