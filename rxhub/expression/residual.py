"""What is left to test of a subscription once it has been found. Equal ones are one, and compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rxhub.errors import ExpressionError
from rxhub.expression.access import Parts
from rxhub.expression.compiler import compile_tree
from rxhub.expression.tree import And

__all__ = ["Residual", "Residuals", "Test"]

Test: TypeAlias = Callable[[object], bool]


class Residual:
    """A conjunction.

    Attributes:
        parts: what must hold; empty if nothing is left to test.
        uses: in how many places it stands.
    """

    __slots__ = ("_test", "parts", "uses")

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.uses = 0
        self._test: Test | None = None

    def test(self) -> Test:
        """The compiled form, made when first asked for."""
        if self._test is None:
            self._test = _compiled(self.parts)
        return self._test


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
