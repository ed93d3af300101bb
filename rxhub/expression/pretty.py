"""An expression as people may read it: a tree of lines, and without secrets."""

from __future__ import annotations

from rxhub.display.page import Page, Tree
from rxhub.display.safe import Line, is_secret_path
from rxhub.expression.ast import And, Condition, Everything, Expression, Not, Or
from rxhub.expression.evaluate import split_key
from rxhub.expression.parser import parse
from rxhub.redaction import REDACTED
from rxhub.text.safe_repr import one_line

__all__ = ["describe_node", "operands", "outline", "page", "redacted_subscription", "without_secrets"]

_MOST_LINES = 200
_MOST_CHARACTERS = 200  # of a condition's text


def page(expression: Expression) -> Page:
    """What a notebook shows of an expression."""
    depth = expression.depth
    return Page(type(expression).__name__, [f"{depth} levels" if depth > 1 else ""], [Tree(outline(expression))])


def outline(expression: Expression) -> list[Line]:
    """The expression as the lines of a tree; the first 200."""
    lines: list[Line] = []
    waiting: list[tuple[int, Expression]] = [(0, expression)]
    while waiting:
        if len(lines) == _MOST_LINES:
            lines.append(Line(0, "…", f"and {len(waiting)} or more parts that are not shown"))
            break
        level, node = waiting.pop()
        lines.append(Line(level, describe_node(node)))
        waiting += [(level + 1, part) for part in reversed(operands(node))]
    return lines


def describe_node(node: Expression) -> str:
    """What one node says: of what it joins, or the text of a condition, without secrets."""
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
            return one_line(str(without_secrets(node)), _MOST_CHARACTERS)


def operands(node: Expression) -> tuple[Expression, ...]:
    """What a node joins or negates."""
    match node:
        case And(children) | Or(children):
            return children
        case Not(child):
            return (child,)
        case _:
            return ()


def redacted_subscription(subscription: str) -> str:
    """A subscription as it was written; if it names a secret, its tree's text without it."""
    tree = parse(subscription)
    clean = without_secrets(tree)
    return subscription if clean is tree else str(clean)


def without_secrets(node: Expression) -> Expression:
    """An expression with `***` in place of what its conditions compare secrets with; the same one if there are none."""
    match node:
        case Condition(key, operator, _, _, dialect):
            return Condition(key, operator, REDACTED, True, dialect) if is_secret_path(split_key(key)) else node
        case And(children) | Or(children):
            clean = [without_secrets(child) for child in children]
            return node if all(map(_is_same, clean, children)) else type(node)(clean)
        case Not(child):
            clean = without_secrets(child)
            return node if clean is child else Not(clean)
        case _:
            return node


def _is_same(one: object, other: object) -> bool:
    return one is other
