"""The ways through an expression's alternatives, by search: what each demands of which path.

Theory of operation. The expression is a set of clauses (`clauses.py`), and this is the search of Davis, Putnam,
Logemann and Loveland for one option of each, with the demands on paths in the place of its variables:

1. Whatever is chosen is tested against all that is held so far (`consistency.py`). A contradiction ends that way.
2. A clause of which one option is held already is met. One with a single option left leaves no choice: that option is
   held too, which may decide further clauses. One without any ends the way. Only clauses that ask something of a path
   on which something has changed are looked at again.
3. Among the others, one with the fewest options left is next. Its options are tried in turn; when one has proved
   impossible, its opposite is known, and is held while the others are tried.

A way that was left is never come back to, so the search ends; where it ends without a way, there is none. It can take
long, as for every problem of this kind, and is given up after so many dead ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rxhub.testing._solver.clauses import Clause, Clauses, Leaves, Part, Path, Wish
from rxhub.testing._solver.consistency import NONE, Consistency, Held
from rxhub.testing._solver.demands import Conflict, Demands
from rxhub.testing._solver.verdicts import Undecided

__all__ = ["Ways"]

_MANY = 3
"""As many options left as more are not told apart from."""


class _Open(NamedTuple):
    """A clause of which no option is chosen yet, and how many are left."""

    clause: Clause
    left: int


class _State(NamedTuple):
    """What is held, and what is still to be chosen. Never changed: the ways share them."""

    held: Held
    still_open: tuple[_Open, ...]


class _Choice:
    """A clause whose options are tried one after the other."""

    def __init__(self, state: _State, options: tuple[Wish, ...], turn: int) -> None:
        self.state = state
        self.turn, first = divmod(turn, len(options))
        self.untried = list(reversed(options[first:] + options[:first]))
        self.tried: Wish | None = None
        self.doubts = 0


class Ways:
    """The ways; one is left as soon as what it demands contradicts itself.

    Args:
        clauses: of the expression that is to hold.
        consistency: of its demands.
        turn: which alternatives come first.
        dead_ends: how many there may be.

    Attributes:
        conflict: why the latest way was left.
        undecided: where a contradiction was neither found nor excluded.
    """

    def __init__(self, clauses: Clauses, consistency: Consistency, turn: int, dead_ends: int) -> None:
        self._clauses = clauses
        self._consistency = consistency
        self._turn = turn
        self._dead_ends = dead_ends
        self._doubts = 0
        self.conflict: Conflict | None = None
        self.undecided: Undecided | None = None

    def __iter__(self) -> Iterator[dict[Path, Demands]]:
        """The demands of each way, by path.

        Raises:
            Undecided: if there are too many dead ends.
        """
        choices = [_Choice(_State({}, ()), (self._clauses.whole,), self._turn)]
        dead_ends = 0
        while choices:
            if dead_ends > self._dead_ends:
                raise Undecided(f"The search was given up after {self._dead_ends:,} dead ends.")
            choice = choices[-1]
            state = self._tried(choice)
            if state is None:
                dead_ends += 1
                if not choice.untried:
                    choices.pop()
            elif state.still_open:
                clause, _ = min(state.still_open, key=lambda one: one.left)
                rest = tuple([one for one in state.still_open if one.clause is not clause])
                choices.append(_Choice(state._replace(still_open=rest), clause.options, choice.turn))
            else:
                # Whether it is a way indeed is for others to say.
                self._doubts += 1
                dead_ends += 1
                yield {path: self._consistency.demands(leaves) for path, leaves in state.held.items()}

    def _tried(self, choice: _Choice) -> _State | None:
        """The state after the next option of a choice; None if it cannot be."""
        try:
            if choice.tried is not None and choice.doubts == self._doubts:
                opposite, choice.tried = choice.tried.opposite, None
                if opposite is not None:
                    choice.state = self._with(choice.state, opposite)
        except Conflict as conflict:
            self.conflict = conflict
            choice.untried.clear()
            return None
        except Undecided as error:
            self._doubt(error)
        if not choice.untried:
            return None
        choice.tried, choice.doubts = choice.untried.pop(), self._doubts
        try:
            return self._with(choice.state, choice.tried)
        except Conflict as conflict:
            self.conflict = conflict
        except Undecided as error:
            self._doubt(error)
        return None

    def _doubt(self, error: Undecided) -> None:
        self.undecided = error
        self._doubts += 1

    def _with(self, state: _State, wish: Wish) -> _State:
        """The state in which a wish holds too, and what follows from it.

        Raises:
            Conflict: if it cannot hold.
            Undecided: if it may not.
        """
        held = dict(state.held)
        still_open = list(state.still_open)
        follows: list[Wish] = [wish]
        while follows:
            fresh: set[Clause] = set()
            touched: set[Path] = set()
            for wish in follows:
                part = self._clauses.read(wish)
                fresh.update(part.clauses)
                still_open += [_Open(clause, _MANY) for clause in part.clauses]
                touched |= self._hold(held, part)
            follows = []
            remaining: list[_Open] = []
            for one in still_open:
                clause = one.clause
                if clause not in fresh and clause.paths.isdisjoint(touched):
                    remaining.append(one)
                    continue
                options = self._left(held, clause)
                if options is None:
                    continue
                if len(options) == 1:
                    follows.append(options[0])
                else:
                    remaining.append(_Open(clause, len(options)))
            still_open = remaining
        return _State(held, tuple(still_open))

    def _hold(self, held: dict[Path, Leaves], part: Part) -> set[Path]:
        """Hold a part's leaves; the paths on which that may matter."""
        touched: set[Path] = set()
        for path, leaves in part.leaves.items():
            before = held.get(path, NONE)
            if not leaves <= before:
                self._consistency.check(held, path, leaves)
                held[path] = before.joined(leaves)
                touched |= self._consistency.around(path)
        return touched

    def _left(self, held: Mapping[Path, Leaves], clause: Clause) -> list[Wish] | None:
        """The first options that can still be chosen; None if one is held already.

        Raises:
            Conflict: if there is none.
            Undecided: if there may be none.
        """
        parts = [(option, self._clauses.read(option)) for option in clause.options]
        for _, part in parts:
            if not part.clauses and all(leaves <= held.get(path, NONE) for path, leaves in part.leaves.items()):
                return None
        left: list[Wish] = []
        errors: list[Conflict | Undecided] = []
        for option, part in parts:
            try:
                for path, leaves in part.leaves.items():
                    self._consistency.check(held, path, leaves)
            except Conflict as conflict:
                errors.append(conflict)
            except Undecided as undecided:
                self._doubt(undecided)
                errors.append(undecided)
            else:
                left.append(option)
                if len(left) == _MANY:
                    break
        if not left:
            raise errors[-1]
        return left
