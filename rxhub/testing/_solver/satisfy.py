"""A candidate that an expression matches, or the proof that there is none.

Theory of operation.

1. An expression holds if one way through its alternatives does: one member of each `or`, and of each `and` behind a
   `not`. What remains are demands on paths. `a!=1` demands that there is a value at `a`, and that none is 1; `not a!=1`
   is an alternative again: nothing is at `a`, or something that is 1. `ways.py` searches for a way whose demands do not
   contradict each other.
2. Lists are walked through, and each condition chooses its own element. So `n>5 and n<3` is no contradiction: the list
   [6, 2] meets it. Each demand that *something* hold may have a value of its own, as long as every value meets the
   demands that nothing may hold: `not n>5` forbids any such value. One value that meets all is preferred, since it
   reads better; an event's own topic, id, target and `in_reply_to_event` can be one value only.
3. A value is looked for kind by kind: a text (`texts.py`), a number (`intervals.py`), a bool, null, a mapping. For
   texts and numbers the answer is exact; no other kind of JSON remains.
4. Paths meet where one leads through another (`building.py`). What stands at `a` is then a mapping, which is a value
   too: it is not null, and so `not a=*` and `a.b=1` contradict each other. A mapping and other values stand together in
   a list.
5. In ftrack's dialect containment asks a list as a whole, so that a value in a list is another matter than a value
   alone. Where neither will do, the list is moved one level up, and each of its mappings holds one value. There, and
   where the search takes too long, the answer may be that it is not known.

Every candidate is tested by the expression before it is handed out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from rxhub.expression import Expression
from rxhub.testing._solver.building import build
from rxhub.testing._solver.choices import Choices, First
from rxhub.testing._solver.clauses import Clauses, Path
from rxhub.testing._solver.consistency import Consistency
from rxhub.testing._solver.demands import Conflict, Demands
from rxhub.testing._solver.verdicts import Undecided, Unsatisfiable
from rxhub.testing._solver.ways import Ways

__all__ = ["ENVELOPE", "Plan"]

ENVELOPE = {"topic": "text", "id": "text", "target": "text", "in_reply_to_event": "text or null"}
"""What an event holds under the keys that do not hold just anything."""

_TURNS = 1 << 16
_MOST_DEAD_ENDS = 3_000
_FEW_DEAD_ENDS = 30
_FIRST = First()


class Plan:
    """How candidates for one expression are made.

    Args:
        expression: what they are to match.
        envelope: keys that hold one value, and which: `text` or `text or null`. None for any mapping.

    Raises:
        Unsatisfiable: if nothing can match it.
        Undecided: if that was not found out.
    """

    def __init__(self, expression: Expression, envelope: Mapping[str, str] | None = None) -> None:
        self._expression = expression
        self._clauses = Clauses(expression)
        self._consistency = Consistency(expression, envelope or {})
        self._demands: Mapping[Path, Demands] = {}
        self._simplest = self._found()

    def candidate(self, choices: Choices, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A candidate that matches.

        Args:
            choices: who decides between what would do.
            base: kept as far as the expression allows; what is kept is shared, not copied.
        """
        # What was decided for one path may not go together with what was decided for another, or with the base.
        for demands in (*self._drawn(choices.number(0, _TURNS)), self._demands):
            for chosen, kept in ((choices, base), (choices, None), (_FIRST, base)):
                try:
                    candidate = build(demands, chosen, kept)
                except (Conflict, Undecided):
                    continue
                if self._expression.matches(candidate):
                    return candidate
        return self._simplest

    def _drawn(self, turn: int) -> Iterator[Mapping[Path, Demands]]:
        """The first way of a turn, if it is soon found: one is known anyway."""
        try:
            yield from islice(self._ways(turn, _FEW_DEAD_ENDS), 1)
        except Undecided:
            return

    def leaves(self, key: str, value: object) -> bool:
        """Whether a value may stay at a key of the simplest candidate."""
        demands = self._demands.get((key,))
        return demands is None or demands.fits(value)

    def _ways(self, turn: int, dead_ends: int) -> Ways:
        return Ways(self._clauses, self._consistency, turn, dead_ends)

    def _found(self) -> dict[str, Any]:
        """The simplest candidate, which is that of the first way that can be built."""
        undecided: Undecided | None = None
        conflict: Conflict | None = None
        ways = self._ways(0, _MOST_DEAD_ENDS)
        try:
            for demands in ways:
                try:
                    candidate = build(demands, _FIRST)
                except Conflict as error:
                    conflict = error
                except Undecided as error:
                    undecided = error
                else:
                    if self._expression.matches(candidate):
                        self._demands = demands
                        return candidate
                    undecided = Undecided("What was made to match it does not.")
        except Undecided as error:
            undecided = error
        undecided = undecided or ways.undecided
        if undecided is not None:
            raise Undecided(f"Whether anything can match {_shown(self._expression)} is not known. {undecided}")
        raise Unsatisfiable(f"Nothing can match {_shown(self._expression)}: {conflict or ways.conflict}.")


def _shown(expression: Expression) -> str:
    text = str(expression)
    return f"`{text if len(text) <= 200 else text[:197] + '...'}`"
