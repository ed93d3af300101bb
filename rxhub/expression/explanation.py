"""Why an expression matches a candidate or not: each condition with the values at its path."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from rxhub.expression.ast import And, Condition, Expression, Not, Or
from rxhub.expression.comparisons import Dialect
from rxhub.expression.evaluate import split_key, tested_values, values_at
from rxhub.expression.near_miss import ENVELOPE, closest_name, known_keys
from rxhub.expression.parser import as_tree
from rxhub.expression.pretty import describe_node, node_kind
from rxhub.expression.step_budget import current_budget
from rxhub.redaction.preview import CutBudget, More, is_secret_path, preview
from rxhub.redaction.strings import LABELS, REDACTED
from rxhub.text.displayable import Displayable
from rxhub.text.jsonable import jsonable
from rxhub.text.layout import TreeLine, format_tree
from rxhub.text.printable import printable
from rxhub.text.safe_repr import safe_repr

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["Explanation", "explain", "presentable"]

_MAX_VALUES = 10
_MAX_HOLDERS = 1000
_MAX_LINES = 200
_MAX_UNITS = 2_000  # of the values that are shown for a condition
_STEPS_PER_UNIT = 40


def explain(expression: str | Expression, candidate: object, dialect: Dialect = Dialect.RXHUB) -> Explanation:
    """Explain why a candidate, whose contents cannot make this raise, matches or not.

    The explanation can be printed, also by rich, and notebooks show it as a tree.

    Args:
        expression: a subscription, or its tree.
        candidate: what it is tested against.
        dialect: what a `*` in the text means; a tree has its own.

    Raises:
        ExpressionError: if the text is not a valid subscription.
    """
    return Explanation(as_tree(expression, dialect), candidate)


class Explanation(Displayable):
    """The result for one node of an expression and for its children.

    Attributes:
        expression: the node.
        matched: whether it matches, as `Expression.matches` says.
        children: the explanations of all operands.
        values: the values at the path of a condition; the first ten.
        more: whether there are more values.
        present: how many steps of a condition's path the candidate has.
    """

    __slots__ = ("_shown", "_suggestion", "children", "expression", "matched", "more", "present", "values")

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
        self._shown: tuple[Any, ...] = ()
        self.present = 0
        self._suggestion = ""
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
                first = tuple(islice(tested_values(expression, candidate), _MAX_VALUES + 1))
                self.values, self.more = first[:_MAX_VALUES], len(first) > _MAX_VALUES
                self._shown = presentable(split_key(expression.key), candidate, self.values)
                self.present = _present(candidate, split_key(expression.key))
                if not self.values:
                    self._suggestion = _suggestion(candidate, split_key(expression.key), self.present)
            case _:
                self.matched = expression.matches(candidate)

    def __bool__(self) -> bool:
        return self.matched

    def __repr__(self) -> str:
        return f"<{type(self).__name__} matched={self.matched} {safe_repr(self.expression)}>"

    def __str__(self) -> str:
        return "\n".join(format_tree(self.outline()))

    def __rich__(self) -> Tree:
        """The explanation as a tree of rich, which must be installed."""
        from rich.text import Text
        from rich.tree import Tree

        branches: list[Tree] = []
        for line in self.outline():
            label = Text.assemble(
                (printable(f"{'[x]' if line.mark else '[ ]'} {line.text}"), "green" if line.mark else "red"),
                (printable(f"  {line.detail}" if line.detail else ""), "dim"),
            )
            del branches[line.level :]
            branches.append(branches[-1].add(label) if branches else Tree(label))
        return branches[0]

    def outline(self) -> Iterator[TreeLine]:
        """The lines of a tree, at most 200; the conditions that decide the result of the root are decisive."""
        waiting: list[tuple[int, Explanation, bool]] = [(0, self, True)]
        for _ in range(_MAX_LINES):
            if not waiting:
                return
            level, node, decides = waiting.pop()
            is_condition = isinstance(node.expression, Condition)
            yield TreeLine(
                level, describe_node(node.expression), node._detail(), node.matched, decides and is_condition
            )
            waiting += [(level + 1, child, decides and node._depends_on(child)) for child in reversed(node.children)]
        if waiting:
            yield TreeLine(1, "…", f"and {len(waiting)} or more parts that are not shown", False)

    def to_json(self) -> dict[str, Any]:
        """The explanation as JSON types, without secrets.

        Returns:
            `kind` (all, any, not, condition or everything), `text`, `matched`, `decisive` (whether the result of the
            root depends on it), `values` (the first ten at the path of a condition), `more`, `detail` (the same as
            text) and `children`.
        """
        return self._to_json(True)

    def _to_json(self, decisive: bool) -> dict[str, Any]:
        return {
            "kind": node_kind(self.expression),
            "text": describe_node(self.expression),
            "matched": self.matched,
            "decisive": decisive,
            "values": [jsonable(_without_marks(value)) for value in self._shown],
            "more": self.more,
            "detail": self._detail(),
            "children": [child._to_json(decisive and self._depends_on(child)) for child in self.children],
        }

    def _depends_on(self, child: Explanation) -> bool:
        """Whether the result of this node depends on the result of a child, or of all children like it."""
        return isinstance(self.expression, Not) or child.matched is self.matched

    def _detail(self) -> str:
        """The values found for a condition."""
        if not isinstance(self.expression, Condition):
            return ""
        path = split_key(self.expression.key)
        if self.values:
            return f"found {', '.join(map(safe_repr, self._shown))}{', …' if self.more else ''}"
        if self.present == len(path):
            return "found an empty list"
        above = safe_repr(".".join(path[: self.present]))
        hint = f"; did you mean {safe_repr(self._suggestion)}?" if self._suggestion else ""
        return f"missing: no {safe_repr(path[self.present])}{' in ' + above if self.present else ''}{hint}"


class _Secret:
    def __repr__(self) -> str:
        return REDACTED


def presentable(path: tuple[str, ...], candidate: object, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values at a path, as they are shown."""
    if is_secret_path(path):
        return (_Secret(),) * len(values)
    budget = current_budget()
    for holder in islice(values_at(candidate, path[:-1]), _MAX_HOLDERS):
        if budget is not None:
            budget.spend(_STEPS_PER_UNIT)
        if _is_secret(holder, path[-1]):
            return (_Secret(),) * len(values)
    room = CutBudget(_MAX_UNITS)
    return tuple([_preview(value, room) for value in values])


def _preview(value: object, room: CutBudget) -> Any:
    budget, before = current_budget(), room.units
    shown = preview(value, room)
    if budget is not None:
        budget.spend(_STEPS_PER_UNIT * (before - room.units))
    return shown


def _is_secret(holder: Any, name: str) -> bool:
    """Whether the value of a key is secret because of its contents or of the keys beside it."""
    if not issubclass(type(holder), Mapping):
        return False
    try:
        beside = {step: holder[step] for step in (*LABELS, name) if step in holder}
        return REDACTED in safe_repr(_preview(beside, CutBudget(_MAX_UNITS)).get(name), 1000)
    except Exception:
        return False  # it cannot be read, so none of its values is shown


def _without_marks(value: Any) -> Any:
    """A preview with a string instead of each mark of what is not shown."""
    if isinstance(value, (More, _Secret)):
        return repr(value)
    if isinstance(value, dict):
        return {_without_marks(key): _without_marks(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_without_marks(item) for item in cast("list[Any]", value)]
    return value


def _suggestion(candidate: object, path: tuple[str, ...], present: int) -> str:
    """The path with the most similar key instead of the missing one; empty if no key is similar."""
    if present == len(path):
        return ""
    keys = known_keys(values_at(candidate, path[:present]) if present else [candidate])
    if not present and "topic" in keys:
        keys |= dict.fromkeys(ENVELOPE)
    key = closest_name(path[present], keys)
    return ".".join((*path[:present], key, *path[present + 1 :])) if key else ""


def _present(candidate: object, path: tuple[str, ...]) -> int:
    """How many steps of a path the candidate has. Each step requires the one before it, so bisection finds the last."""

    def is_missing(steps: int) -> bool:
        return not any(True for _ in values_at(candidate, path[:steps], whole=True))

    return bisect_left(range(1, len(path) + 1), True, key=is_missing)
