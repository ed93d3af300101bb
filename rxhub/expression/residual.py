"""The conditions that are left to test when the index has found a subscription. Equal residuals are shared."""

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
        parts: the conjunction; empty if nothing is left to test.
        uses: the number of places that share it.
    """

    __slots__ = ("_test", "_weight", "parts", "uses")

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.uses = 0
        self._test: Test | None = None
        self._weight: int | None = None

    @property
    def is_compiled(self) -> bool:
        return self._test is not None

    @property
    def weight(self) -> int:
        """The maximum number of steps of a test, without those for lists."""
        if self._weight is None:
            self._weight = sum(map(weight, self.parts))
        return self._weight

    def test(self) -> Test:
        """The compiled test, created on first use; the interpreted one if the step budget allows no more compiling."""
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
    """The residuals of an index. Only writers use it."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        # Trees are equal only if they mean the same: `1`, `1.0` and `"1"` differ, and so do the dialects.
        self._all: dict[Parts, Residual] = {}

    def __len__(self) -> int:
        return len(self._all)

    def take(self, parts: Parts) -> Residual:
        residual = self._all.get(parts)
        if residual is None:
            residual = self._all[parts] = Residual(parts)
        residual.uses += 1
        return residual

    def release(self, residual: Residual) -> None:
        residual.uses -= 1
        if not residual.uses:
            del self._all[residual.parts]


def weight(tree: Expression) -> int:
    """The maximum number of steps of a compiled test, without those for lists."""
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
        return lambda _: True
    if len(parts) == 1:
        return compile_tree(parts[0])
    try:
        return compile_tree(And(parts))
    except ExpressionError:  # the tree has the maximum depth
        tests = [compile_tree(part) for part in parts]
        return lambda candidate: all(test(candidate) for test in tests)
