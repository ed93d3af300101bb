"""The subscription language: text to tree, tree to function, many trees to an index, and why something matched."""

from __future__ import annotations

from rxhub.expression.compiler import compile
from rxhub.expression.dialect import Dialect
from rxhub.expression.explanation import Explanation, explain
from rxhub.expression.index import Index
from rxhub.expression.parser import parse
from rxhub.expression.tree import And, Condition, Everything, Expression, Not, Or

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
