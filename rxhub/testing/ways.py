"""The ways through an expression's alternatives: what each demands of which path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from rxhub.expression import And, Condition, Expression, Not, Or
from rxhub.expression.values import path_of
from rxhub.testing.demands import Conflict, Demands
from rxhub.testing.question import Question
from rxhub.testing.verdicts import Undecided

__all__ = ["Path", "Ways"]

Path = tuple[str, ...]

_MOST_STEPS = 2_000


class _Absent(NamedTuple):
    """Nothing is at the path."""

    condition: Condition


class _Equal(NamedTuple):
    """Something at the path equals the literal of a `!=`."""

    condition: Condition


class _Wish(NamedTuple):
    """A part of the expression, and whether it is to hold."""

    node: Expression | _Absent | _Equal
    wanted: bool = True


class _Open(NamedTuple):
    """Alternatives of which one is still to be chosen; the ones before them are `rest`. Shared, never changed."""

    options: tuple[_Wish, ...]
    rest: _Open | None


class Ways:
    """The ways, depth first; one is left as soon as the demands on a path contradict each other.

    Args:
        expression: which one is to hold.
        envelope: keys of the candidate that hold one value, and which: see `Demands.single`.
        turn: which alternative comes first.

    Attributes:
        conflict: why the latest way was left.
        undecided: where a contradiction was neither found nor excluded.
    """

    def __init__(self, expression: Expression, envelope: Mapping[str, str], turn: int) -> None:
        self._expression = expression
        self._envelope = envelope
        self._turn = turn
        self.conflict: Conflict | None = None
        self.undecided: Undecided | None = None

    def __iter__(self) -> Iterator[dict[Path, Demands]]:
        """The demands of each way, by path.

        Raises:
            Undecided: if there are too many ways.
        """
        trail: list[_Wish] = []
        ahead: list[tuple[_Wish, _Open | None, int]] = [(_Wish(self._expression), None, 0)]
        steps = 0
        while ahead:
            steps += 1
            if steps > _MOST_STEPS:
                raise Undecided(f"{_MOST_STEPS:,} ways through its alternatives were tried.")
            wish, still_open, length = ahead.pop()
            del trail[length:]
            still_open = _read(wish, still_open, trail)
            try:
                demands = self._gathered(trail)
            except Conflict as conflict:
                self.conflict = conflict
                continue
            except Undecided as error:
                self.undecided = error
                continue
            if still_open is None:
                yield demands
                continue
            options, rest = still_open
            first = self._turn % len(options)
            length = len(trail)
            ahead += [(option, rest, length) for option in reversed(options[first:] + options[:first])]

    def _gathered(self, trail: list[_Wish]) -> dict[Path, Demands]:
        gathered: dict[Path, Demands] = {}
        for node, wanted in trail:
            condition = node.condition if isinstance(node, (_Absent, _Equal)) else cast("Condition", node)
            path = path_of(condition.key)
            demands = gathered.get(path)
            if demands is None:
                single = self._envelope.get(condition.key, "")
                demands = gathered[path] = Demands(condition.key, single)
            if isinstance(node, _Absent):
                demands.absent = True
            elif isinstance(node, _Equal):
                demands.yes.append(Question(condition))
            elif condition.operator == "!=":
                demands.present = True
                demands.no.append(Question(condition))
            elif wanted:
                demands.yes.append(Question(condition))
            else:
                demands.no.append(Question(condition))
        for demands in gathered.values():
            demands.check()
        return gathered


def _read(wish: _Wish, still_open: _Open | None, trail: list[_Wish]) -> _Open | None:
    """Put what must hold on the trail; the alternatives that this opens join the open ones."""
    waiting = [wish]
    while waiting:
        wish = waiting.pop()
        node, wanted = wish
        if isinstance(node, Condition):
            if node.operator == "!=" and not wanted:
                still_open = _Open((_Wish(_Absent(node)), _Wish(_Equal(node))), still_open)
            else:
                trail.append(wish)
        elif isinstance(node, (_Absent, _Equal)):
            trail.append(wish)
        elif isinstance(node, Not):
            waiting.append(_Wish(node.child, not wanted))
        elif isinstance(node, (And, Or)):
            members = tuple([_Wish(child, wanted) for child in node.children])
            if isinstance(node, And) is wanted:
                waiting.extend(reversed(members))
            else:
                still_open = _Open(members, still_open)
    return still_open
