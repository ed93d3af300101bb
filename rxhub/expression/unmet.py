"""Report which parts of a subscription no event matched, for searches without results.

Each node of the tree records whether an event matched it, and is not tested again then. A condition that no event
matched records the values, or the similar keys, of the events. All records are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from rxhub.expression.ast import And, Condition, Expression, Not, Or
from rxhub.expression.compiler import compile
from rxhub.expression.evaluate import split_key, values_at
from rxhub.expression.explanation import presentable
from rxhub.expression.near_miss import ENVELOPE, MAX_KEYS, closest_name, known_keys, misspelling_warning
from rxhub.expression.pretty import describe_node
from rxhub.text.safe_repr import safe_repr

__all__ = ["Unmet"]

_MAX_NODES = 50
_MAX_LINES = 10
_MAX_VALUES = 5
_MAX_TEXT_LENGTH = 200


class Unmet:
    """Finds the parts of a subscription that no event matched.

    Attributes:
        seen: the number of events.
    """

    def __init__(self, expression: Expression) -> None:
        self.seen = 0
        self._expression = expression
        self._root = _Part(expression, iter(range(_MAX_NODES)))

    def add(self, event: Mapping[str, Any]) -> None:
        self.seen += 1
        self._root.look(event)

    def lines(self) -> list[str]:
        """The report as sentences; empty if an event matched the subscription."""
        if not self.seen:
            return [misspelling_warning(self._expression) or "there was no event to examine"]
        return [*islice(self._root.report(self.seen), _MAX_LINES)]


class _Part:
    """One node of the tree; `budget` has an item for each further node that may be tested."""

    def __init__(self, node: Expression, budget: Iterator[int]) -> None:
        self.node = node
        self.is_met = False
        self._matches = compile(node)
        self._place = _Place(split_key(node.key)) if isinstance(node, Condition) else None
        inner = node.children if isinstance(node, (And, Or)) else ()
        self._parts = [_Part(child, budget) for child, _ in zip(inner, budget, strict=False)]
        self._is_whole = len(self._parts) == len(inner)

    def look(self, event: Mapping[str, Any]) -> None:
        if self.is_met:
            return
        if self._matches(event):
            self.is_met = True
            return
        if self._place is not None:
            self._place.look(event)
        for part in self._parts:
            part.look(event)

    def report(self, seen: int) -> Iterator[str]:
        if self.is_met:
            return
        none = "the event does not have" if seen == 1 else f"none of the {seen:,} events has"
        if self._place is not None:
            yield self._place.report(none, describe_node(self.node))
        elif isinstance(self.node, Not):
            every = "the event matches" if seen == 1 else f"all {seen:,} events match"
            text = safe_repr(str(self.node.child.without_secrets()), _MAX_TEXT_LENGTH)
            yield f"{every} {text}, which the subscription excludes with `not`"
        elif isinstance(self.node, Or):
            yield from self._alternatives(none, seen)
        elif self._is_whole and all(part.is_met for part in self._parts):
            yield f"each condition matched some of the {seen:,} events, but no event matched all of them"
        else:
            for part in self._parts:
                yield from part.report(seen)

    def _alternatives(self, none: str, seen: int) -> Iterator[str]:
        """Sentences about the alternatives; one for those of one key, such as `topic in (a, b)`."""
        conditions: dict[str, list[_Part]] = {}
        for part in self._parts:
            if isinstance(part.node, Condition):
                conditions.setdefault(part.node.key, []).append(part)
            else:
                yield from part.report(seen)
        for alike in conditions.values():
            place = alike[0]._place
            assert place is not None, "only conditions are collected"
            texts = [describe_node(part.node) for part in alike[:_MAX_VALUES]]
            more = " or …" if len(alike) > _MAX_VALUES or not self._is_whole else ""
            yield place.report(none, f"{' or '.join(texts)}{more}")


class _Place:
    """The values that events have at the path of a condition that none matched."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self._path = path
        self._has_key = False
        self._keys: dict[str, None] = {}
        self._values: dict[str, None] = {}
        self._known = 0  # the number of steps of the path that some event had

    def look(self, event: Mapping[str, Any]) -> None:
        values = tuple(islice(values_at(event, self._path), _MAX_VALUES))
        self._has_key = self._has_key or bool(values)
        if len(self._values) <= _MAX_VALUES:
            for value in presentable(self._path, event, values):
                self._values[safe_repr(value, 40)] = None
        if not self._has_key:
            self._find_key(event)

    def _find_key(self, event: Mapping[str, Any]) -> None:
        steps = self._known
        while steps < len(self._path) - 1 and any(True for _ in values_at(event, self._path[: steps + 1], whole=True)):
            steps += 1
        if steps > self._known:
            self._known, self._keys = steps, {}
        if len(self._keys) < MAX_KEYS:
            self._keys |= known_keys(values_at(event, self._path[: self._known]) if self._known else [event])

    def report(self, none: str, condition: str) -> str:
        """The sentence; `none` is its beginning, such as `none of the 7 events has`."""
        if self._has_key:
            values = [*self._values]
            more = ", …" if len(values) > _MAX_VALUES else ""
            known = f"; found {', '.join(values[:_MAX_VALUES])}{more}" if values else ""
            return f"{none} {condition}{known}"
        above, step = self._path[: self._known], self._path[self._known]
        known_keys = self._keys if above or "topic" not in self._keys else self._keys | dict.fromkeys(ENVELOPE)
        meant = closest_name(step, known_keys)
        text = f"{none} a key {'.'.join((*above, step))}"
        return f"{text}; did you mean {'.'.join((*above, meant))}?" if meant else text
