"""Whether what is demanded of some paths goes together.

Theory of operation. Each leaf that asks for a value may have one of its own, so that it goes together with the rules of
its path or does not, whatever else is asked; where an event holds one value alone, all that is asked there is one
question. So what is to be found out is a value for some leaves and some rules. It is found out once. And mostly the
value that was right before a rule came is right afterwards: then nothing is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from rxhub.expression import And, Condition, Expression, Not, Or
from rxhub.expression.evaluate import split_key
from rxhub.testing._solver.choices import First
from rxhub.testing._solver.clauses import Leaf, Leaves, Path
from rxhub.testing._solver.demands import Conflict, Demands
from rxhub.testing._solver.question import ABSENT, witness
from rxhub.testing._solver.verdicts import Undecided

__all__ = ["NONE", "Consistency", "Held"]

Held: TypeAlias = Mapping[Path, Leaves]
"""What must hold, by path."""

NONE = Leaves()

_FIRST = First()
_MOST_KNOWN = 100_000


class Consistency:
    """The judge of one expression's demands.

    Args:
        expression: whose.
        envelope: keys of the candidate that hold one value, and which: see `Demands.single`.
    """

    def __init__(self, expression: Expression, envelope: Mapping[str, str]) -> None:
        self._envelope = envelope
        self._single = {split_key(key) for key in envelope}
        self._values: dict[Leaves, Any] = {}
        self._sets: dict[frozenset[Leaf], frozenset[Leaf]] = {}
        paths = {split_key(condition.key) for condition in _conditions(expression)}
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

    def check(self, held: Held, path: Path, leaves: Leaves) -> None:
        """Whether leaves of a path go together with what is held there, and on the paths that it leads through.

        Raises:
            Conflict: if they do not.
            Undecided: if they may not.
        """
        before = held.get(path, NONE)
        after = before.joined(leaves)
        if path in self._single:
            self._check(after, before)
        elif after.rules is before.rules:
            for ask in leaves.asks - before.asks:
                self._check(Leaves(self._same(frozenset([ask])), before.rules), NONE)
        else:
            rules = self._same(after.rules)
            for ask in after.asks:
                alone = self._same(frozenset([ask]))
                self._check(Leaves(alone, rules), Leaves(alone, before.rules))
            if not after.asks and any(rule.present for rule in rules):
                self._check(Leaves(NONE.asks, rules), Leaves(NONE.asks, before.rules))
        self._check_paths(held, path, after)

    def demands(self, leaves: Leaves) -> Demands:
        """What leaves of one path come to."""
        ordered = sorted([*leaves.asks, *leaves.rules], key=lambda leaf: leaf.number)
        key = ordered[0].condition.key
        demands = Demands(key, self._envelope.get(key, ""))
        for leaf in ordered:
            if leaf.absent:
                demands.absent = True
            elif leaf.rule:
                demands.present = demands.present or leaf.present
                demands.no.append(leaf.question)
            else:
                demands.yes.append(leaf.question)
        return demands

    def _check(self, leaves: Leaves, before: Leaves) -> None:
        """Raise unless there is a value for these leaves, of which some were known to have one."""
        value = self._values.get(leaves)
        if value is None:
            value = self._still(leaves, before)
            if value is None:
                value = self._sought(leaves)
            if len(self._values) > _MOST_KNOWN:
                self._values.clear()
                self._sets.clear()
            self._values[leaves] = value
        if isinstance(value, (Conflict, Undecided)):
            raise value

    def _still(self, leaves: Leaves, before: Leaves) -> tuple[Any] | None:
        """The value of before, if it meets what has come."""
        known: tuple[Any] | Conflict | Undecided | None = self._values.get(before)
        if known is None or isinstance(known, (Conflict, Undecided)) or known[0] is ABSENT:
            return None
        if any(rule.absent or rule.question.met(known[0]) for rule in leaves.rules - before.rules):
            return None
        return known if all(ask.question.met(known[0]) for ask in leaves.asks - before.asks) else None

    def _sought(self, leaves: Leaves) -> tuple[Any] | Conflict | Undecided:
        """A value, or ABSENT where none is needed or only one in a list will do; or why there is none."""
        demands = self.demands(leaves)
        try:
            demands.check()
            if demands.single:
                return (demands.one(_FIRST),)
            return (witness(demands.yes, demands.no, _FIRST) if demands.positive else ABSENT,)
        except (Conflict, Undecided) as error:
            return error.with_traceback(None)

    def _check_paths(self, held: Held, path: Path, after: Leaves) -> None:
        if self._needs_something(after):
            for above in self._above.get(path, ()):
                if above in held:
                    self.demands(held[above]).check_mapping()
        for below in self._below.get(path, ()):
            if below in held and self._needs_something(held[below]):
                self.demands(after).check_mapping()

    def _needs_something(self, leaves: Leaves) -> bool:
        return bool(leaves.asks) or any(rule.present for rule in leaves.rules)

    def _same(self, leaves: frozenset[Leaf]) -> frozenset[Leaf]:
        """One object for equal sets, which are quickly found then."""
        return self._sets.setdefault(leaves, leaves)


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
