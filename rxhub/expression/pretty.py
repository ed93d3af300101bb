"""Expressions as people read them: as a tree of lines, and without secrets."""

from __future__ import annotations

from typing import Any

from rxhub.expression.ast import And, Everything, Expression, Not, Or
from rxhub.expression.parser import parse
from rxhub.text.layout import TreeLine
from rxhub.text.safe_repr import one_line

__all__ = ["describe_node", "node_kind", "outline", "redacted_subscription", "tree_json"]

_MAX_LINES = 200
_MAX_CHARACTERS = 200  # of a condition


def outline(expression: Expression) -> list[TreeLine]:
    """The expression as the lines of a tree; the first 200."""
    lines: list[TreeLine] = []
    waiting: list[tuple[int, Expression]] = [(0, expression)]
    while waiting:
        if len(lines) == _MAX_LINES:
            lines.append(TreeLine(1, "…", f"and {len(waiting)} or more parts that are not shown"))
            break
        level, node = waiting.pop()
        lines.append(TreeLine(level, describe_node(node)))
        waiting += [(level + 1, operand) for operand in reversed(_operands(node))]
    return lines


def describe_node(node: Expression) -> str:
    """One node: how it joins its operands, or the text of a condition, without secrets."""
    match node:
        case And():
            return "all of"
        case Or():
            return "any of"
        case Not():
            return "not"
        case Everything():
            return "everything"
        case _:
            return one_line(str(node.without_secrets()), _MAX_CHARACTERS)


def node_kind(node: Expression) -> str:
    """The kind of a node in JSON: all, any, not, everything or condition."""
    kinds: dict[type[Expression], str] = {And: "all", Or: "any", Not: "not", Everything: "everything"}
    return kinds.get(type(node), "condition")


def tree_json(node: Expression) -> dict[str, Any]:
    """An expression as JSON types, without secrets: `kind`, `text` and `children`."""
    return {
        "kind": node_kind(node),
        "text": describe_node(node),
        "children": [tree_json(operand) for operand in _operands(node)],
    }


def _operands(node: Expression) -> tuple[Expression, ...]:
    match node:
        case And(children) | Or(children):
            return children
        case Not(child):
            return (child,)
        case _:
            return ()


def redacted_subscription(text: str, tree: Expression | None = None) -> str:
    """A subscription as it was written; if it names a secret, the text of its tree without the secret."""
    if tree is None:
        tree = parse(text)
    clean = tree.without_secrets()
    return text if clean is tree else str(clean)
