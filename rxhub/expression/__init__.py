"""The subscription language: text to tree, tree to function, many trees to an index, and why something matched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxhub.expression.ast import And, Condition, Everything, Expression, Not, Or
from rxhub.expression.compiler import compile
from rxhub.expression.dialect import Dialect
from rxhub.expression.index import Index
from rxhub.expression.parser import parse

__all__ = [
    "And",
    "Condition",
    "Dialect",
    "Everything",
    "Explanation",
    "Expression",
    "Index",
    "Not",
    "Or",
    "compile",
    "explain",
    "parse",
]

if TYPE_CHECKING:
    from rxhub.expression.explanation import Explanation, explain


def __getattr__(name: str) -> Any:
    """Explanations are for people; a program that asks for none does not wait for them when it starts."""
    if name not in ("Explanation", "explain"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rxhub.expression import explanation

    return getattr(explanation, name)
