"""A limit on the cost of matching, counted in steps, so that a server can bound the work of one request.

A step takes about 0.1 µs on a machine of 2024. Steps are counted only in the context that entered
`with StepBudget(limit):`. `StepBudgetExceeded` is not an `Exception`, because matching catches the exceptions that
values raise.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Final, Self

__all__ = ["StepBudget", "StepBudgetExceeded", "current_budget"]

VALUE: Final = 4
"""Steps for each item of a list, and for each mapping on the path of an interpreted condition."""

INTERPRETED: Final = 12
"""Steps for interpreting a condition."""

_COMPILING: Final = 100_000


class StepBudgetExceeded(BaseException):
    """The limit of the current `StepBudget` was exceeded."""


class StepBudget:
    """Counts the `steps` of a `with` block, up to a limit."""

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
        """Count steps before they are done. If they would exceed the limit, raises StepBudgetExceeded instead."""
        if self.steps + steps > self._limit:
            raise StepBudgetExceeded
        self.steps += steps

    def spend_compiling(self, steps: int) -> None:
        """Count steps of compiling. They never exceed the limit, since `may_compile` stops compiling before."""
        self.steps += steps
        self._compiling += steps

    def spend_once(self, steps: int) -> None:
        """Count steps whose result is cached for later requests; they may exceed the limit."""
        self.steps += steps

    @property
    def may_compile(self) -> bool:
        return self._compiling < _COMPILING and self.steps < self._limit / 2


_current: ContextVar[StepBudget | None] = ContextVar("rxhub_step_budget", default=None)

current_budget = _current.get
"""The current `StepBudget`; None outside of one."""
