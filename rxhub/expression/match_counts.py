"""How many events each part of a subscription matches, which shows why a search found few or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rxhub.expression.ast import And, Expression, Not, Or
from rxhub.expression.comparisons import Dialect
from rxhub.expression.compiler import compile
from rxhub.expression.parser import as_tree
from rxhub.expression.pretty import describe_node
from rxhub.expression.unmet import Unmet
from rxhub.text.displayable import Displayable
from rxhub.text.layout import TreeLine

__all__ = ["MatchCounts"]

_MAX_PARTS = 50


class MatchCounts(Displayable):
    """The number of events that each part of a subscription matches.

    Args:
        expression: the subscription, or its tree.
        events: the events; `add` adds further ones.
        dialect: what a `*` in the text means; a tree has its own.

    Attributes:
        seen: the number of events.
    """

    def __init__(
        self,
        expression: str | Expression,
        events: Iterable[Mapping[str, Any]] = (),
        dialect: Dialect = Dialect.RXHUB,
    ) -> None:
        tree = as_tree(expression, dialect)
        self.seen = 0
        self._parts: list[_CountedPart] = []
        self._unmet = Unmet(tree)
        self._omitted = _collect(tree, 0, self._parts)
        for event in events:
            self.add(event)

    @property
    def matched(self) -> int:
        """The number of events that match the whole subscription."""
        return self._parts[0].count

    def add(self, event: Mapping[str, Any]) -> None:
        """Test every part with one event."""
        self.seen += 1
        self._unmet.add(event)
        for part in self._parts:
            if part.matches(event):
                part.count += 1

    def outline(self) -> list[TreeLine]:
        """The parts as the lines of a tree, each with its number of events. Parts without any are marked."""
        lines = [
            TreeLine(part.level, part.text, f"{part.count:,} of {self.seen:,}", part.count > 0, not part.count)
            for part in self._parts
        ]
        return [*lines, TreeLine(1, "…", f"and {self._omitted} more parts")] if self._omitted else lines

    def hints(self) -> list[str]:
        """Why no event matched, as sentences; empty if one did."""
        return self._unmet.lines()

    def __repr__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]


class _CountedPart:
    __slots__ = ("count", "level", "matches", "text")

    def __init__(self, node: Expression, level: int) -> None:
        self.count = 0
        self.level = level
        self.matches = compile(node)
        self.text = describe_node(node)


def _collect(root: Expression, level: int, parts: list[_CountedPart]) -> int:
    """Add the first parts of a tree; return the number of nodes beside them that are left out."""
    waiting = [(level, root)]
    while waiting and len(parts) < _MAX_PARTS:
        level, node = waiting.pop()
        parts.append(_CountedPart(node, level))
        match node:
            case And(children) | Or(children):
                waiting += [(level + 1, child) for child in reversed(children)]
            case Not(child):
                waiting.append((level + 1, child))
            case _:
                pass
    return len(waiting)
