"""An expression as clauses: what must hold, and alternatives of which one must, read level by level.

Reading goes as far as the next alternatives; what lies behind one of them is read when somebody asks for it, and once.
So an expression may be as deep as it likes, and grows no larger by being read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from rxhub.expression import And, Condition, Expression, Not, Or
from rxhub.expression.evaluate import split_key
from rxhub.testing._solver.question import Question

__all__ = ["Absent", "Clause", "Clauses", "Equal", "Leaf", "Leaves", "Part", "Path", "Wish"]

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing is at the path of a condition."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Equal:
    """Something at the path of a `!=` equals its literal."""

    condition: Condition


_Node: TypeAlias = Expression | Absent | Equal


class Wish(NamedTuple):
    """A part of the expression, and whether it is to hold."""

    node: _Node
    wanted: bool = True

    @property
    def opposite(self) -> Wish | None:
        """That it does not hold; None where saying so would be long."""
        return Wish(self.node, not self.wanted) if isinstance(self.node, Condition) else None


@dataclass(frozen=True, eq=False, slots=True)
class Leaf:
    """What one condition asks of its path; one object, whoever asks for it.

    Attributes:
        wish: what.
        condition: which one.
        number: in the order of reading.
        question: what it asks the values there.
        absent: whether nothing is to be there.
        present: whether something is to be there, whatever it is: what `!=` asks beside its rule.
        rule: whether it holds for all values there; else it asks for one.
    """

    wish: Wish
    condition: Condition
    number: int
    question: Question
    absent: bool
    present: bool
    rule: bool


class Leaves(NamedTuple):
    """Leaves of one path: those that ask for a value each, and rules for all values."""

    asks: frozenset[Leaf] = frozenset()
    rules: frozenset[Leaf] = frozenset()

    def __le__(self, other: tuple[Any, ...]) -> bool:
        return self.asks <= other[0] and self.rules <= other[1]

    def joined(self, other: Leaves) -> Leaves:
        """These and others; the very same sets where nothing is new."""
        asks = self.asks if other.asks <= self.asks else self.asks | other.asks
        return Leaves(asks, self.rules if other.rules <= self.rules else self.rules | other.rules)


@dataclass(frozen=True, eq=False, slots=True)
class Clause:
    """Alternatives, of which one must hold.

    Attributes:
        options: which.
        paths: of which paths something is asked as soon as one of them is chosen.
    """

    options: tuple[Wish, ...]
    paths: frozenset[Path]


class Part(NamedTuple):
    """What a wish comes to: the leaves that must hold, by path, and the clauses."""

    leaves: Mapping[Path, Leaves]
    clauses: tuple[Clause, ...]


class Clauses:
    """The reader of one expression."""

    def __init__(self, expression: Expression) -> None:
        self.whole = Wish(expression)
        # By identity: the nodes live as long as the expression, and what is made here as long as its part.
        self._parts: dict[tuple[int, bool], Part] = {}
        self._direct: dict[tuple[int, bool], tuple[list[Leaf], list[tuple[Wish, ...]]]] = {}
        self._leaves: dict[Wish, Leaf] = {}

    def read(self, wish: Wish) -> Part:
        """What a wish comes to."""
        key = (id(wish.node), wish.wanted)
        part = self._parts.get(key)
        if part is None:
            leaves, alternatives = self._level(wish)
            clauses = tuple([Clause(options, self._paths(options)) for options in alternatives])
            part = self._parts[key] = Part(_by_path(leaves), clauses)
        return part

    def _paths(self, options: Iterable[Wish]) -> frozenset[Path]:
        return frozenset([split_key(leaf.condition.key) for option in options for leaf in self._level(option)[0]])

    def _level(self, wish: Wish) -> tuple[list[Leaf], list[tuple[Wish, ...]]]:
        """The leaves of a wish, and the options of its clauses."""
        key = (id(wish.node), wish.wanted)
        known = self._direct.get(key)
        if known is not None:
            return known
        leaves: list[Leaf] = []
        alternatives: list[tuple[Wish, ...]] = []
        for part in _flattened(wish, And):
            node, wanted = part
            if isinstance(node, (And, Or)):
                alternatives.append(_flattened(part, Or))
            elif isinstance(node, Condition) and node.operator == "!=" and not wanted:
                alternatives.append((Wish(Absent(node)), Wish(Equal(node))))
            elif isinstance(node, (Condition, Absent, Equal)):
                leaves.append(self._leaf(part, node))
        self._direct[key] = leaves, alternatives
        return leaves, alternatives

    def _leaf(self, wish: Wish, node: Condition | Absent | Equal) -> Leaf:
        leaf = self._leaves.get(wish)
        if leaf is None:
            condition = node if isinstance(node, Condition) else node.condition
            absent = isinstance(node, Absent)
            present = isinstance(node, Condition) and wish.wanted and node.operator == "!="
            leaf = self._leaves[wish] = Leaf(
                wish,
                condition,
                len(self._leaves),
                Question(condition),
                absent,
                present,
                rule=absent or present or not wish.wanted,
            )
        return leaf


def _flattened(wish: Wish, kind: type[And | Or]) -> tuple[Wish, ...]:
    """The parts of an `and`, or the alternatives of an `or`, with those of another one within it among them.

    Where it must not hold, an `and` is an `or` of what must not hold, and the other way round.
    """
    parts: list[Wish] = []
    waiting = [wish]
    while waiting:
        wish = waiting.pop()
        node, wanted = wish
        if isinstance(node, Not):
            waiting.append(Wish(node.child, not wanted))
        elif isinstance(node, (And, Or)) and isinstance(node, kind) is wanted:
            waiting.extend([Wish(child, wanted) for child in reversed(node.children)])
        else:
            parts.append(wish)
    return tuple(parts)


def _by_path(leaves: Iterable[Leaf]) -> Mapping[Path, Leaves]:
    by_path: dict[Path, list[Leaf]] = {}
    for leaf in leaves:
        by_path.setdefault(split_key(leaf.condition.key), []).append(leaf)
    return {
        path: Leaves(frozenset([one for one in some if not one.rule]), frozenset([one for one in some if one.rule]))
        for path, some in by_path.items()
    }
