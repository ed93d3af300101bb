"""A limit on the cost of matching, counted in steps, so that a server can bound the work of one request.

A step takes about 0.1 µs on a machine of 2024. Steps are counted only inside `with StepBudget(limit):`, and only for
the thread (more exactly, the context) that entered it. The counted operations are those whose number depends on the
input: values visited, conditions tested, index buckets reached, characters compared. `StepBudgetExceeded` is not an
`Exception`, because matching catches the exceptions that values raise.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Final, Self

__all__ = ["StepBudget", "StepBudgetExceeded", "current_budget"]

VALUE: Final = 4
"""Steps for each value that a list holds, and for each mapping that is entered while conditions are interpreted."""

INTERPRETED: Final = 12
"""Steps for asking a condition itself instead of its compiled form."""

_COMPILING: Final = 100_000


class StepBudgetExceeded(BaseException):
    """The limit of the `StepBudget` that was entered is exceeded."""


class StepBudget:
    """Counts steps between `with` and its end.

    Args:
        limit: how many there may be.

    Attributes:
        steps: how many there were so far.
    """

    __slots__ = ("_compiling", "_limit", "_token", "steps")

    def __init__(self, limit: float) -> None:
        self.steps = 0
        self._limit = limit
        self._compiling = 0
        self._token: Token[StepBudget | None] | None = None

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)

    def spend(self, steps: int) -> None:
        """Count steps that are about to be done.

        Raises:
            StepBudgetExceeded: if there are more than the limit then; they are not counted, and must not be done.
        """
        if self.steps + steps > self._limit:
            raise StepBudgetExceeded
        self.steps += steps

    def spend_compiling(self, steps: int) -> None:
        """Count steps of compiling, which never exceed the limit: what is left is interpreted (`may_compile`)."""
        self.steps += steps
        self._compiling += steps

    def spend_once(self, steps: int) -> None:
        """Count steps of what is kept for whoever comes next: it is done, whatever the limit."""
        self.steps += steps

    @property
    def may_compile(self) -> bool:
        """Whether to go on compiling what was compiled never before."""
        return self._compiling < _COMPILING and self.steps < self._limit / 2


_current: ContextVar[StepBudget | None] = ContextVar("rxhub_step_budget", default=None)

current_budget = _current.get
"""The `StepBudget` that counts what is done now; None if nobody counts."""
