"""Whether what is demanded of some paths goes together, found out once for each set of demands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from rxhub.expression import And, Condition, Expression, Not, Or
from rxhub.expression.values import path_of
from rxhub.testing.clauses import Absent, Equal, Leaf, Path
from rxhub.testing.demands import Conflict, Demands
from rxhub.testing.question import Question
from rxhub.testing.verdicts import Undecided

__all__ = ["Consistency", "Held"]

Held: TypeAlias = Mapping[Path, frozenset[Leaf]]
"""What must hold, by path."""

_MOST_KNOWN = 20_000


class Consistency:
    """The judge of one expression's demands.

    Args:
        expression: whose.
        envelope: keys of the candidate that hold one value, and which: see `Demands.single`.
    """

    def __init__(self, expression: Expression, envelope: Mapping[str, str]) -> None:
        self._envelope = envelope
        self._known: dict[frozenset[Leaf], Demands | Conflict | Undecided] = {}
        paths = {path_of(condition.key) for condition in _conditions(expression)}
        self._above: dict[Path, list[Path]] = {}
        self._below: dict[Path, list[Path]] = {}
        for path in paths:
            for size in range(1, len(path)):
                if path[:size] in paths:
                    self._above.setdefault(path, []).append(path[:size])
                    self._below.setdefault(path[:size], []).append(path)

    def around(self, path: Path) -> frozenset[Path]:
        """The paths on which it depends what may stand at this one."""
        return frozenset([path, *self._above.get(path, ()), *self._below.get(path, ())])

    def demands(self, leaves: frozenset[Leaf]) -> Demands:
        """What leaves of one path come to.

        Raises:
            Conflict: if they contradict each other.
            Undecided: if they may.
        """
        known = self._known.get(leaves)
        if known is None:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            known = self._gathered(leaves)
            try:
                known.check()
            except (Conflict, Undecided) as error:
                known = error.with_traceback(None)
            self._known[leaves] = known
        if isinstance(known, Demands):
            return known
        raise known

    def check(self, held: Held, path: Path, leaves: frozenset[Leaf]) -> None:
        """Whether leaves of one path go together, and with what is held on the paths that it leads through.

        Raises:
            Conflict: if they do not.
            Undecided: if they may not.
        """
        demands = self.demands(leaves)
        for above in self._above.get(path, ()):
            if above in held and demands.positive:
                self.demands(held[above]).check_mapping()
        for below in self._below.get(path, ()):
            if below in held and self.demands(held[below]).positive:
                demands.check_mapping()

    def _gathered(self, leaves: frozenset[Leaf]) -> Demands:
        ordered = sorted(leaves, key=lambda leaf: leaf.number)
        key = ordered[0].condition.key
        demands = Demands(key, self._envelope.get(key, ""))
        for leaf in ordered:
            node, wanted = leaf.wish
            question = Question(leaf.condition)
            if isinstance(node, Absent):
                demands.absent = True
            elif isinstance(node, Equal):
                demands.yes.append(question)
            elif leaf.condition.operator == "!=":
                demands.present = True
                demands.no.append(question)
            elif wanted:
                demands.yes.append(question)
            else:
                demands.no.append(question)
        return demands


def _conditions(expression: Expression) -> Iterator[Condition]:
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Condition):
            yield node
        elif isinstance(node, Not):
            waiting.append(node.child)
        elif isinstance(node, (And, Or)):
            waiting.extend(node.children)
