"""Why an expression matches a candidate, or why not: each condition with what stands at its path."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from rxhub.expression.dialect import Dialect
from rxhub.expression.parser import parsed
from rxhub.expression.tree import And, Condition, Everything, Expression, Not, Or
from rxhub.expression.values import found, path_of, tested
from rxhub.markup import MATCHED, MISSED, escaped, one_line, shown, tagged

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["Explanation", "explain"]

_MOST_VALUES = 10
_MOST_LINES = 200
_MOST_CHARACTERS = 200  # of a condition's text


def explain(expression: str | Expression, candidate: object, dialect: Dialect = Dialect.RXHUB) -> Explanation:
    """Tell why a candidate matches, or why it does not.

    Args:
        expression: a subscription, or its tree.
        candidate: what it is tested against. Nothing that it holds or does makes this raise.
        dialect: what a `*` in the text means; a tree knows its own.

    Returns:
        The explanation. It prints as text, and shows itself in rich and in notebooks.

    Raises:
        ExpressionError: if the text is no subscription.
    """
    return Explanation(parsed(expression, dialect), candidate)


class Explanation:
    """The answer for one node of an expression, and below it for the node's children.

    Attributes:
        expression: the node.
        matched: whether it matches, as `Expression.matches` says.
        children: the explanations of what it joins or negates, all of them, whether or not they decided.
        values: what stands at the path of a condition; the first ten.
        more: whether there are more values.
        present: how many steps of a condition's path are there; all, or it says where the path broke off.
    """

    __slots__ = ("children", "expression", "matched", "more", "present", "values")

    expression: Expression
    matched: bool
    children: tuple[Explanation, ...]
    values: tuple[Any, ...]
    more: bool
    present: int

    def __init__(self, expression: Expression, candidate: object) -> None:
        self.expression = expression
        self.children = ()
        self.values, self.more = (), False
        self.present = 0
        match expression:
            case And(children):
                self.children = tuple([Explanation(child, candidate) for child in children])
                self.matched = all(child.matched for child in self.children)
            case Or(children):
                self.children = tuple([Explanation(child, candidate) for child in children])
                self.matched = any(child.matched for child in self.children)
            case Not(child):
                self.children = (Explanation(child, candidate),)
                self.matched = not self.children[0].matched
            case Condition():
                self.matched = expression.matches(candidate)
                first = tuple(islice(tested(expression, candidate), _MOST_VALUES + 1))
                self.values, self.more = first[:_MOST_VALUES], len(first) > _MOST_VALUES
                self.present = _present(candidate, path_of(expression.key))
            case _:
                self.matched = expression.matches(candidate)

    def __bool__(self) -> bool:
        return self.matched

    def __repr__(self) -> str:
        return f"<{type(self).__name__} matched={self.matched} {shown(self.expression)}>"

    def __str__(self) -> str:
        lines = [f"{'  ' * level}{mark} {text}{detail}" for level, mark, text, detail in self._lines()]
        return "\n".join(lines)

    def __rich__(self) -> Tree:
        """The explanation as a tree of the rich library, which has to be installed."""
        from rich.text import Text
        from rich.tree import Tree

        branches: list[Tree] = []
        for level, mark, text, detail in self._lines():
            label = Text.assemble((f"{mark} {text}", "green" if mark == _YES else "red"), (detail, "dim"))
            del branches[level:]
            branches.append(branches[-1].add(label) if branches else Tree(label))
        return branches[0]

    def _repr_html_(self) -> str:
        lines = [
            tagged(
                "div",
                tagged("code", escaped(f"{mark} {text}"), MATCHED if mark == _YES else MISSED) + escaped(detail),
                f"margin-left:{level * 1.5}em",
            )
            for level, mark, text, detail in self._lines()
        ]
        return tagged("div", "".join(lines))

    def _lines(self) -> Iterator[tuple[int, str, str, str]]:
        """Level, mark, text and detail of each line, from the top; so many that a person may read them."""
        waiting: list[tuple[int, Explanation]] = [(0, self)]
        for _ in range(_MOST_LINES):
            if not waiting:
                return
            level, node = waiting.pop()
            yield level, _YES if node.matched else _NO, node._text(), node._detail()
            waiting += [(level + 1, child) for child in reversed(node.children)]
        if waiting:
            yield 0, _NO, "…", f"  and {len(waiting)} or more parts that are not shown"

    def _text(self) -> str:
        match self.expression:
            case And():
                return "all of"
            case Or():
                return "any of"
            case Not():
                return "not"
            case Everything():
                return "everything"
            case expression:
                return one_line(str(expression), _MOST_CHARACTERS)

    def _detail(self) -> str:
        """What was found for a condition."""
        if not isinstance(self.expression, Condition):
            return ""
        path = path_of(self.expression.key)
        if self.values:
            return f"  found {', '.join(map(shown, self.values))}{', …' if self.more else ''}"
        if self.present == len(path):
            return "  found an empty list"
        above = shown(".".join(path[: self.present]))
        return f"  missing: no {shown(path[self.present])}{' in ' + above if self.present else ''}"


_YES, _NO = "[x]", "[ ]"


def _present(candidate: object, path: tuple[str, ...]) -> int:
    """How many steps of a path are there. Where a step is, all before it are: so halving finds the last."""

    def is_missing(steps: int) -> bool:
        return not any(True for _ in found(candidate, path[:steps], whole=True))

    return bisect_left(range(1, len(path) + 1), True, key=is_missing)
