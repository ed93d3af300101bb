"""Counts the work of a server, and limits the work of one request."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Literal

from rxhub.errors import Refused
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded

__all__ = ["Request", "WorkMeter"]

Request = Literal["event", "subscription", "target"]

_ERRORS: Final[dict[Request, str]] = {
    "event": (
        "This event was not routed: that takes more than {limit} steps of work, the server's limit `work`. The event "
        "is too large, or its target is compared with too many values. Publish less data in one event, or name the "
        "subscriber in the target (id=…). Otherwise, raise Limits.work of the server (rxhub.server.Limits)."
    ),
    "subscription": (
        "This subscription was not added: parsing it takes more than {limit} steps of work, the server's limit "
        "`work`. Use fewer conditions, or several subscriptions."
    ),
    "target": (
        "This target was not parsed: that takes more than {limit} steps of work, the server's limit `work`. Use fewer "
        "conditions."
    ),
}


class WorkMeter:
    """The steps of work that a server has done, see `rxhub.server.limits.Limits.work`.

    Args:
        limit: maximum steps of one request.

    Attributes:
        limit: as given.
        steps: all steps so far. The difference between two readings is charged to the publisher's rate.
        steps_of_others: the steps among them that the publisher does not pay for.
    """

    __slots__ = ("limit", "steps", "steps_of_others")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.steps = 0
        self.steps_of_others = 0

    def spend(self, steps: int, for_others: bool = False) -> None:
        """Count steps."""
        self.steps += steps
        if for_others:
            self.steps_of_others += steps

    @contextmanager
    def limited(self, request: Request) -> Generator[StepBudget]:
        """Count the work of a `with` block.

        Raises:
            Refused: if the block exceeds the limit.
        """
        work = StepBudget(self.limit)
        try:
            with work:
                yield work
        except StepBudgetExceeded:
            raise self.exceeded(request) from None
        finally:
            self.steps += work.steps

    def exceeded(self, request: Request) -> Refused:
        """The error for a request that exceeds the limit."""
        return Refused(_ERRORS[request].format(limit=self.limit))
