"""Why an expression matches a candidate, or why not: each condition with what stands at its path."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from rxhub.display.page import Page
from rxhub.display.page import Tree as TreePart
from rxhub.display.safe import Line, is_secret_path, preview
from rxhub.expression.ast import And, Condition, Expression, Not, Or
from rxhub.expression.dialect import Dialect
from rxhub.expression.evaluate import split_key, tested_values, values_at
from rxhub.expression.near_miss import ENVELOPE, closest_name
from rxhub.expression.parser import as_tree
from rxhub.expression.pretty import describe_node
from rxhub.redaction import LABELS, REDACTED
from rxhub.text.printable import printable
from rxhub.text.safe_repr import safe_repr

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["Explanation", "explain"]

_MOST_VALUES = 10
_MOST_HOLDERS = 1000
_MOST_KEYS = 1000
_MOST_LINES = 200


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
    return Explanation(as_tree(expression, dialect), candidate)


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

    __slots__ = ("_meant", "_told", "children", "expression", "matched", "more", "present", "values")

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
        self._told: tuple[Any, ...] = ()
        self.present = 0
        self._meant = ""
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
                first = tuple(islice(tested_values(expression, candidate), _MOST_VALUES + 1))
                self.values, self.more = first[:_MOST_VALUES], len(first) > _MOST_VALUES
                self._told = _told(split_key(expression.key), candidate, self.values)
                self.present = _present(candidate, split_key(expression.key))
                if not self.values:
                    self._meant = _meant(candidate, split_key(expression.key), self.present)
            case _:
                self.matched = expression.matches(candidate)

    def __bool__(self) -> bool:
        return self.matched

    def __repr__(self) -> str:
        return f"<{type(self).__name__} matched={self.matched} {safe_repr(self.expression)}>"

    def __str__(self) -> str:
        return "\n".join(TreePart(self._lines()).lines())

    def __rich__(self) -> Tree:
        """The explanation as a tree of the rich library, which has to be installed."""
        from rich.text import Text
        from rich.tree import Tree

        branches: list[Tree] = []
        for line in self._lines():
            told = printable(f"  {line.detail}" if line.detail else "")
            text = printable(f"{_YES if line.mark else _NO} {line.text}")
            label = Text.assemble(
                (text, "green" if line.mark else "red"),
                (printable(told), "dim"),
            )
            del branches[line.level :]
            branches.append(branches[-1].add(label) if branches else Tree(label))
        return branches[0]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return Page(_MATCHES if self.matched else _MISSES, (), [TreePart(self._lines())]).bundle()

    def _lines(self) -> Iterator[Line]:
        """From the top, so many that a person may read them; decisive are the conditions that made the root say it."""
        waiting: list[tuple[int, Explanation, bool]] = [(0, self, True)]
        for _ in range(_MOST_LINES):
            if not waiting:
                return
            level, node, decides = waiting.pop()
            is_condition = isinstance(node.expression, Condition)
            yield Line(level, describe_node(node.expression), node._detail(), node.matched, decides and is_condition)
            waiting += [(level + 1, child, decides and node._rests_on(child)) for child in reversed(node.children)]
        if waiting:
            yield Line(0, "…", f"and {len(waiting)} or more parts that are not shown", False)

    def _rests_on(self, child: Explanation) -> bool:
        """Whether the answer for this node would be another one without that for a child, or all like it."""
        return isinstance(self.expression, Not) or child.matched is self.matched

    def _detail(self) -> str:
        """What was found for a condition."""
        if not isinstance(self.expression, Condition):
            return ""
        path = split_key(self.expression.key)
        if self.values:
            return f"found {', '.join(map(safe_repr, self._told))}{', …' if self.more else ''}"
        if self.present == len(path):
            return "found an empty list"
        above = safe_repr(".".join(path[: self.present]))
        hint = f"; did you mean {safe_repr(self._meant)}?" if self._meant else ""
        return f"missing: no {safe_repr(path[self.present])}{' in ' + above if self.present else ''}{hint}"


_YES, _NO = "[x]", "[ ]"
_MATCHES, _MISSES = "matches", "does not match"


class _Secret:
    def __repr__(self) -> str:
        return REDACTED


def _told(path: tuple[str, ...], candidate: object, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """What people are told of the values at a condition's path."""
    holders = islice(values_at(candidate, path[:-1]), _MOST_HOLDERS)
    if is_secret_path(path) or any(_keeps_secret(holder, path[-1]) for holder in holders):
        return (_Secret(),) * len(values)
    return tuple(map(preview, values))


def _keeps_secret(holder: Any, name: str) -> bool:
    """Whether what goes by `name` in a mapping is secret, because of what stands beside it or in it."""
    if not issubclass(type(holder), Mapping):
        return False
    try:
        beside = {step: holder[step] for step in (*LABELS, name) if step in holder}
        return REDACTED in safe_repr(preview(beside).get(name), 1000)
    except Exception:
        return False  # it cannot be read, so nothing of it was found


def _meant(candidate: object, path: tuple[str, ...], present: int) -> str:
    """The path with a similar key in place of the missing one; empty if there is none."""
    if present == len(path):
        return ""
    keys: dict[str, None] = {}
    for holder in islice(values_at(candidate, path[:present]), _MOST_HOLDERS) if present else (candidate,):
        if issubclass(type(holder), Mapping):
            try:
                some = islice(cast("Mapping[Any, Any]", holder), _MOST_KEYS)
                keys |= dict.fromkeys(key for key in some if type(key) is str)
            except Exception:
                continue  # it cannot be read
        if len(keys) > _MOST_KEYS:
            break
    if not present and "topic" in keys:
        keys |= dict.fromkeys(ENVELOPE)
    key = closest_name(path[present], keys)
    return ".".join((*path[:present], key, *path[present + 1 :])) if key else ""


def _present(candidate: object, path: tuple[str, ...]) -> int:
    """How many steps of a path are there. Where a step is, all before it are: so halving finds the last."""

    def is_missing(steps: int) -> bool:
        return not any(True for _ in values_at(candidate, path[:steps], whole=True))

    return bisect_left(range(1, len(path) + 1), True, key=is_missing)
