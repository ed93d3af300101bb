"""Build events that an expression matches from events of real shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from itertools import islice
from typing import Any, cast

from rxhub.expression import Expression
from rxhub.testing.matching_search import (
    ABSENT,
    ENVELOPE,
    Conflict,
    Constraint,
    Demands,
    Fork,
    Path,
    Pick,
    Search,
    Undecided,
    fits,
    is_for_all,
    keys_below,
    nested,
    pick_simplest,
)
from rxhub.text.safe_repr import one_line

__all__ = ["MatchingEvents"]

_PLAIN = {"topic": "", "id": "0" * 32, "target": "", "in_reply_to_event": None}
_MAX_TESTS = 500_000  # about a second
_MAX_TESTS_PER_EVENT = 5_000
_MAX_BRANCHES = 1_000


class MatchingEvents:
    """Builds the fields of events that an expression matches. Raises Undecided if none was found."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression
        search = Search(expression, _MAX_TESTS)
        try:
            for demands in islice(search.branches(), _MAX_BRANCHES):
                fields = self._adapted(_PLAIN, demands, search, pick_simplest)
                if fields is not None:
                    self._demands, self.simplest = demands, fields
                    return
            reason = str(_reduced(search, search.conflict)) if search.conflict else "no value was found"
        except Undecided as error:
            reason = str(error)
        raise Undecided(f"No event was found that matches `{one_line(str(expression), 200)}`: {reason}.")

    def demands(self, turn: int) -> Demands:
        """What an event must meet; `turn` selects among the alternatives of the expression."""
        try:
            return next(Search(self._expression, _MAX_TESTS_PER_EVENT).branches(turn), self._demands)
        except Undecided:
            return self._demands

    def accepts_topic(self, topic: str, demands: Demands) -> bool:
        """Whether an event of this topic can meet demands."""
        demand = demands.get(("topic",))
        return demand is None or fits({"topic": topic}, demand.constraints)

    def fields(self, base: Mapping[str, Any], demands: Demands, pick: Pick) -> dict[str, Any]:
        """The fields of an event that matches: those of `base`, where the demands allow it."""
        plain = {key: base[key] for key in _PLAIN}
        for start, wanted, choose in (
            (base, demands, pick),
            (plain, demands, pick_simplest),
            (base, self._demands, pick_simplest),
        ):
            search = Search(self._expression, _MAX_TESTS_PER_EVENT)
            try:
                if (fields := self._adapted(start, wanted, search, choose)) is not None:
                    return fields
            except Undecided:
                continue
        return deepcopy(self.simplest)

    def _adapted(self, base: Mapping[str, Any], demands: Demands, search: Search, pick: Pick) -> dict[str, Any] | None:
        """A copy of an event changed to meet demands; None if the expression does not match the result."""
        fields: dict[str, Any] = deepcopy(dict(base))
        # Twice: a mapping that a longer path needs can break the constraints on a shorter one.
        for path in 2 * sorted(demands, key=len):
            constraints = demands[path].constraints
            if fits(fields, constraints):
                continue
            if path not in ENVELOPE:
                _remove(fields, path, 0, [constraint for constraint in constraints if is_for_all(constraint)])
                if fits(fields, constraints):
                    continue
            try:
                value = search.value(path, constraints, keys_below(path, demands), pick)
            except Conflict:
                return None
            if value is not ABSENT:
                _insert(fields, path, value, demands)
        return fields if self._expression.matches(fields) else None


def _reduced(search: Search, conflict: Conflict) -> Conflict:
    """The conflict without the constraints that it does not need."""
    path, keys = conflict.path, conflict.keys
    for constraint in conflict.constraints[:20]:
        fewer = [other for other in conflict.constraints if other is not constraint]
        try:
            if fewer:
                search.value(path, fewer, keys, pick_simplest)
        except Conflict as smaller:
            conflict = smaller
    return conflict


def _remove(node: Any, path: Path, depth: int, constraints: Iterable[Constraint]) -> None:
    """Remove the values at a path that do not meet constraints; `depth` steps of the path lead to the node."""
    if isinstance(node, list):
        for item in cast("list[Any]", node):
            _remove(item, path, depth, constraints)
    elif isinstance(node, dict) and path[depth] in node:
        mapping = cast("dict[str, Any]", node)
        if depth + 1 < len(path):
            _remove(mapping[path[depth]], path, depth + 1, constraints)
        elif not fits(nested(path, mapping[path[depth]]), constraints):
            del mapping[path[depth]]


def _insert(fields: dict[str, Any], path: Path, value: Any, demands: Demands) -> None:
    """Place a value at a path. Values on the way to it stay if there are demands on them."""
    node, holder = fields, fields
    for depth, step in enumerate(path[:-1], 1):
        holder = node
        found = holder.get(step)
        items = cast("list[Any]", found) if isinstance(found, list) else [found]
        node = next((cast("dict[str, Any]", item) for item in items if isinstance(item, dict)), None)
        if node is None:
            node = dict[str, Any]()
            keep = step in holder and path[:depth] in demands
            holder[step] = [*items, node] if keep else node
    if isinstance(value, Fork):
        value, *others = value
        step, found = path[-2], holder[path[-2]]
        holder[step] = [*(found if isinstance(found, list) else [found]), *({path[-1]: other} for other in others)]
    replaces_list = isinstance(node.get(path[-1]), list) and not isinstance(value, list)
    node[path[-1]] = [value] if replaces_list else value
