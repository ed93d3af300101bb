"""What is left to test of a subscription once it has been found. Equal ones are one, and compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rxhub.errors import ExpressionError
from rxhub.expression.access_path import Parts
from rxhub.expression.ast import And, Condition, Expression, Not, Or
from rxhub.expression.compiler import compile_tree, shapes_compiled
from rxhub.expression.step_budget import current_budget

__all__ = ["Residual", "Residuals", "Test", "weight"]

Test: TypeAlias = Callable[[object], bool]

_CONDITION = 2
# Steps of compiling for each step of the test.
_NEW_SHAPE, _KNOWN_SHAPE = 150, 6


class Residual:
    """A conjunction.

    Attributes:
        parts: what must hold; empty if nothing is left to test.
        uses: in how many places it stands.
    """

    __slots__ = ("_test", "_weight", "parts", "uses")

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.uses = 0
        self._test: Test | None = None
        self._weight: int | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled form has been made."""
        return self._test is not None

    @property
    def weight(self) -> int:
        """The steps of a test at most, where nothing walks a list."""
        if self._weight is None:
            self._weight = sum(map(weight, self.parts))
        return self._weight

    def test(self) -> Test:
        """The compiled form, made on first use; the interpreted one when the step budget allows no more compiling."""
        if self._test is None:
            budget = current_budget()
            if budget is None:
                self._test = _compiled(self.parts)
            elif not budget.may_compile:
                return self._interpreted
            else:
                before = shapes_compiled()
                self._test = _compiled(self.parts)
                is_new = shapes_compiled() > before
                budget.spend_compiling(50 + self.weight * (_NEW_SHAPE if is_new else _KNOWN_SHAPE))
        return self._test

    def _interpreted(self, candidate: object) -> bool:
        return all(part.matches(candidate) for part in self.parts)


class Residuals:
    """All residuals of an index, one of a kind. Only writers use it."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        # Equality of trees tells apart what means something else: `1`, `1.0` and `"1"`, and the dialects.
        self._all: dict[Parts, Residual] = {}

    def __len__(self) -> int:
        return len(self._all)

    def take(self, parts: Parts) -> Residual:
        """The residual of these parts, for one more place."""
        residual = self._all.get(parts)
        if residual is None:
            residual = self._all[parts] = Residual(parts)
        residual.uses += 1
        return residual

    def release(self, residual: Residual) -> None:
        """One place less has this residual."""
        residual.uses -= 1
        if not residual.uses:
            del self._all[residual.parts]


def weight(tree: Expression) -> int:
    """The steps that a compiled test of an expression takes at most, where nothing walks a list."""
    match tree:
        case Condition(_, _, value):
            return _CONDITION + (len(value) >> 5)
        case And(children) | Or(children):
            return sum(map(weight, children))
        case Not(child):
            return weight(child)
        case _:
            return 0


def _compiled(parts: Parts) -> Test:
    if not parts:
        return _holds
    if len(parts) == 1:
        return compile_tree(parts[0])
    try:
        return compile_tree(And(parts))
    except ExpressionError:  # one level too deep, in a tree of the greatest depth
        tests = [compile_tree(part) for part in parts]
        return lambda candidate: all(test(candidate) for test in tests)


def _holds(_: object) -> bool:
    return True
