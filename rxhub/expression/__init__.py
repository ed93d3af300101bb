"""The subscription language: parse, compile and explain expressions, and index many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxhub.expression.ast import And, Condition, Everything, Expression, Not, Or
from rxhub.expression.comparisons import Dialect
from rxhub.expression.compiler import compile
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
    """Import explanations on first use: most programs need none."""
    if name not in ("Explanation", "explain"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rxhub.expression import explanation

    return getattr(explanation, name)
