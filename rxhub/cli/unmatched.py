"""Why nothing matched: which key no event had, or which value. A misspelled subscription matches nothing silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any, cast

from rxhub.cli.exit_status import complain
from rxhub.expression import And, Condition, Dialect, Expression, Or, compile, parse
from rxhub.expression.comparisons import OPERATORS
from rxhub.expression.evaluate import split_key, values_at
from rxhub.expression.pretty import describe_node
from rxhub.redaction.preview import is_secret_path, preview
from rxhub.text.safe_repr import safe_repr

__all__ = ["Unmatched"]

_MOST_CONDITIONS = 20
_MOST_KEYS = 500
_MOST_VALUES = 5
_ENVELOPE = ("topic", "id", "data", "source", "target", "sent", "in_reply_to_event")


class Unmatched:
    """Looks at the events that did not match, and reports which conditions no event met.

    Args:
        subscription: that matches none.
        dialect: that it is written in.

    Raises:
        ExpressionError: if it does not parse.
    """

    def __init__(self, subscription: str, dialect: Dialect = Dialect.RXHUB) -> None:
        tree = parse(subscription, dialect)
        self._unmet = [_Unmet(condition) for condition in islice(_asserted(tree), _MOST_CONDITIONS)]
        self._seen = 0

    def add(self, event: Mapping[str, Any]) -> None:
        """Take note of an event."""
        self._seen += 1
        for unmet in self._unmet:
            unmet.look(event)

    def report(self) -> None:
        """Write to stderr what is known."""
        if not self._seen:
            for unmet in self._unmet:
                if close := unmet.close_to(_ENVELOPE):
                    complain(f"{unmet.path[0]} is not a key of an event; did you mean {close}?")
            return
        lines = [line for unmet in self._unmet if (line := unmet.told(self._seen))]
        if not lines and len(self._unmet) > 1:
            lines = [f"each condition matched some of the {self._seen:,} events, but no event matched all of them"]
        for line in lines:
            complain(line)


class _Unmet:
    """One condition, and what events had in its place."""

    def __init__(self, condition: Condition) -> None:
        self.path = split_key(condition.key)
        self._condition = condition
        self._matches = compile(condition)
        self._is_met = False
        self._has_key = False
        self._keys: dict[str, None] = {}
        self._values: dict[str, None] = {}
        self._known = 0  # how many steps of the path some event had

    def look(self, event: Mapping[str, Any]) -> None:
        if self._is_met:
            return
        if self._matches(event):
            self._is_met = True
            return
        for value in islice(values_at(event, self.path), _MOST_VALUES):
            self._has_key = True
            if len(self._values) <= _MOST_VALUES and not is_secret_path(self.path):
                self._values[safe_repr(preview(value), 40)] = None
        if not self._has_key:
            self._look_for_the_key(event)

    def _look_for_the_key(self, event: Mapping[str, Any]) -> None:
        steps = self._known
        while steps < len(self.path) - 1 and any(True for _ in values_at(event, self.path[: steps + 1], whole=True)):
            steps += 1
        if steps > self._known:
            self._known, self._keys = steps, {}
        holders: Iterator[Any] = values_at(event, self.path[: self._known]) if self._known else iter([event])
        for holder in islice(holders, _MOST_VALUES):
            if isinstance(holder, Mapping) and len(self._keys) < _MOST_KEYS:
                keys = islice(cast("Mapping[Any, Any]", holder), _MOST_KEYS)
                self._keys.update((key, None) for key in keys if isinstance(key, str))

    def close_to(self, keys: tuple[str, ...]) -> str:
        """The key that the path's first step is a near miss of; empty if there is none."""
        first = self.path[0]
        return "" if first in keys else next(iter(get_close_matches(first, keys, 1, 0.7)), "")

    def told(self, seen: int) -> str:
        """What no event had; empty if some event met the condition."""
        if self._is_met:
            return ""
        who = "the event does not have" if seen == 1 else f"none of the {seen:,} events has"
        if not self._has_key:
            missing = ".".join(self.path[: self._known + 1])
            step = self.path[self._known]
            close = get_close_matches(step, list(self._keys), 1, 0.6)
            told = f"{who} a key {missing}"
            return f"{told}; did you mean {'.'.join((*self.path[: self._known], close[0]))}?" if close else told
        values = [*self._values]
        more = ", …" if len(values) > _MOST_VALUES else ""
        known = f"; found {', '.join(values[:_MOST_VALUES])}{more}" if values else ""
        return f"{who} {describe_node(self._condition)}{known}"


def _asserted(tree: Expression) -> Iterator[Condition]:
    """The conditions that have to be met, or one of which has; those below `not` hold where a key is missing."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Condition):
            if not OPERATORS[node.operator].negated:
                yield node
        elif isinstance(node, (And, Or)):
            waiting.extend(reversed(node.children))
