"""An expression, and the explanation of a match, as trees."""

from __future__ import annotations

from rxhub.display.page import Page, Tree
from rxhub.expression import Explanation, Expression
from rxhub.expression.pretty import outline

__all__ = ["explanation_page", "expression_page"]


def expression_page(expression: Expression) -> Page:
    """Render an expression."""
    depth = expression.depth
    chips = [f"{depth} levels"] if depth > 1 else []
    return Page(type(expression).__name__, chips, [Tree(outline(expression))])


def explanation_page(explanation: Explanation) -> Page:
    """Render an explanation."""
    return Page("matches" if explanation.matched else "does not match", (), [Tree(explanation.outline())])
