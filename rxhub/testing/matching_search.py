"""Find values that meet all conditions of an expression, path by path.

`Search.branches` chooses one alternative of each `or` and collects, for each path, the conditions that must hold and
those that must not. A path gets one value that meets them all, or else a list with a value for each: a condition holds
if any element of a list meets it. The search backtracks, and resolves the alternatives that failed most often first. A
limit on the number of tested conditions bounds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise, product
from math import inf, nextafter
from typing import Any, NamedTuple, TypeAlias

from rxhub.errors import RxHubError
from rxhub.expression import And, Condition, Dialect, Expression, Not, Or
from rxhub.expression.comparisons import CONSTANTS, comparison_of, operand_of, parse_number
from rxhub.expression.evaluate import split_key

__all__ = [
    "ABSENT",
    "ENVELOPE",
    "Conflict",
    "Constraint",
    "Demand",
    "Demands",
    "Fork",
    "Path",
    "Pick",
    "Search",
    "Undecided",
    "fits",
    "is_for_all",
    "keys_below",
    "nested",
    "pick_simplest",
]

Constraint: TypeAlias = tuple[Condition, bool]
"""A condition, and whether it must hold."""

Pick: TypeAlias = Callable[[int], int]
"""Chooses an index below a number; 0 is the simplest choice."""

_WORDS = ("", "wip", "shot010", "v001", "maya_2025", ".local", "é", "0", " ")
_MAX_EXACT = 2**53  # up to this number, floats represent every integer
_MAX_STEP = 1_000
_COST_OF_OPTION = 50  # tested conditions that take as long as trying an option

Path: TypeAlias = tuple[str, ...]
_Option: TypeAlias = tuple[Expression, bool]
_Clause: TypeAlias = tuple[_Option, ...]

ABSENT: Any = object()
"""No value."""

ENVELOPE: dict[Path, tuple[type, ...]] = {
    ("topic",): (str,),
    ("id",): (str,),
    ("target",): (str,),
    ("in_reply_to_event",): (str, type(None)),
}
"""The fields of an event that hold one value, and its types."""


class Undecided(RxHubError, ValueError):
    """No matching event was found: the conditions contradict each other, or the search reached its limit."""


class Conflict(Exception):
    """No value was found that meets the constraints on a path."""

    def __init__(self, path: Path, constraints: Sequence[Constraint], keys: Mapping[str, Any]) -> None:
        super().__init__(path, constraints, keys)
        self.path = path
        self.constraints = constraints
        self.keys = keys

    def __str__(self) -> str:
        shown = [f"`{condition if wanted else Not(condition)}`" for condition, wanted in self.constraints[:5]]
        more = f" and {len(self.constraints) - 5} more" if len(self.constraints) > 5 else ""
        kind = "mapping" if self.keys else "string" if self.path in ENVELOPE else "value"
        return f"no {kind} at `{'.'.join(self.path)}` meets {' and '.join(shown)}{more}"


class Fork(list[Any]):
    """Values of one path, each of which needs a mapping of its own."""


class Demand(NamedTuple):
    """The constraints on one path, and a value that meets them."""

    constraints: tuple[Constraint, ...] = ()
    value: Any = ABSENT

    @property
    def needs_value(self) -> bool:
        """Whether the constraints reject a missing value."""
        return any(wanted for _, wanted in self.constraints)


Demands: TypeAlias = dict[Path, Demand]


def fits(candidate: object, constraints: Iterable[Constraint]) -> bool:
    """Whether a candidate meets all constraints."""
    return all(condition.matches(candidate) is wanted for condition, wanted in constraints)


def nested(path: Path, value: Any) -> dict[str, Any]:
    """A candidate with nothing but a value at a path."""
    for step in reversed(path):
        if isinstance(value, Fork):
            value = [{step: item} for item in value]
        else:
            value = {} if value is ABSENT else {step: value}
    return value


def keys_below(path: Path, demands: Demands) -> dict[str, Any]:
    """A mapping with the keys that longer paths need at a path."""
    size = len(path)
    return {
        other[size]: 0
        for other, demand in demands.items()
        if len(other) > size and other[:size] == path and demand.needs_value
    }


class Search:
    """The search for values that one expression accepts; raises Undecided after `max_tests` conditions.

    Attributes:
        conflict: the last contradiction.
    """

    def __init__(self, expression: Expression, max_tests: int) -> None:
        self.conflict: Conflict | None = None
        self._whole: _Option = expression, True
        self._tests_left = max_tests
        self._known: dict[tuple[Path, frozenset[Constraint], tuple[str, ...]], Any] = {}
        self._read: dict[tuple[int, bool], tuple[list[Constraint], list[_Clause]]] = {}

    def branches(self, turn: int = 0) -> Iterator[Demands]:
        """Yield the demands of each choice of alternatives in which no path contradicts itself.

        `turn` selects which alternatives come first.
        """
        failures: Counter[int] = Counter()
        stack: list[tuple[Demands, list[_Clause], int, Iterator[_Option]]] = [({}, [], 0, iter([self._whole]))]
        while stack:
            demands, clauses, clause_id, options = stack[-1]
            option = next(options, None)
            if option is None:
                failures[clause_id] += 1
                stack.pop()
                continue
            self._spend(_COST_OF_OPTION)
            constraints, further = self._parts(option)
            try:
                demands = self._joined(demands, constraints)
            except Conflict as conflict:
                self.conflict = conflict
                continue
            clauses = [*clauses, *further]
            if not clauses:
                yield demands
                continue
            clause = max(clauses, key=lambda clause: failures[id(clause)])
            turn, first = divmod(turn, max(1, len(clause)))
            rest = [other for other in clauses if other is not clause]
            stack.append((demands, rest, id(clause), iter(clause[first:] + clause[:first])))

    def _parts(self, option: _Option) -> tuple[list[Constraint], list[_Clause]]:
        """The conditions that must or must not hold for an option, and the clauses of which one option must hold."""
        key = id(option[0]), option[1]
        if key not in self._read:
            constraints, clauses = self._read[key] = [], []
            waiting = [option]
            while waiting:
                node, wanted = waiting.pop()
                if isinstance(node, Not):
                    waiting.append((node.child, not wanted))
                elif isinstance(node, Condition):
                    constraints.append((node, wanted))
                elif isinstance(node, (And, Or)):
                    children = [(child, wanted) for child in node.children]
                    if isinstance(node, And) is wanted:
                        waiting += reversed(children)
                    else:
                        clauses.append(tuple(children))
                elif not wanted:
                    clauses.append(())
        return self._read[key]

    def _joined(self, demands: Demands, constraints: Iterable[Constraint]) -> Demands:
        """The demands with further constraints."""
        demands = dict(demands)
        for constraint in constraints:
            path = split_key(constraint[0].key)
            before = demands.get(path, Demand())
            if constraint in before.constraints:
                continue
            demands[path] = before._replace(constraints=(*before.constraints, constraint))
            changed = [] if before.constraints and self._accepts(path, before.value, [constraint]) else [path]
            if constraint[1] and not before.needs_value:
                # The values on the way to this path must be mappings now.
                changed += [path[:size] for size in range(1, len(path)) if path[:size] in demands]
            for place in changed:
                known = demands[place].constraints
                demands[place] = Demand(known, self._simplest(place, known, keys_below(place, demands)))
        return demands

    def _simplest(self, path: Path, constraints: tuple[Constraint, ...], keys: Mapping[str, Any]) -> Any:
        """As `value`; remembers values and conflicts, since branches share most constraints."""
        question = path, frozenset(constraints), tuple(keys)
        if question not in self._known:
            try:
                self._known[question] = self.value(path, constraints, keys, pick_simplest)
            except Conflict as conflict:
                self._known[question] = conflict.with_traceback(None)
        if isinstance(known := self._known[question], Conflict):
            raise known
        return known

    def value(self, path: Path, constraints: Sequence[Constraint], keys: Mapping[str, Any], pick: Pick) -> Any:
        """Find a JSON value, a Fork, or ABSENT for a path. Raises Conflict if there is none.

        If there are `keys`, a mapping with them must be part of the value.
        """
        if not keys and path not in ENVELOPE and self._accepts(path, ABSENT, constraints):
            return ABSENT
        if not keys or path not in ENVELOPE:
            for value in self._proposals(path, constraints, keys, pick):
                if self._accepts(path, value, constraints):
                    return value
        raise Conflict(path, constraints, keys)

    def _proposals(
        self, path: Path, constraints: Sequence[Constraint], keys: Mapping[str, Any], pick: Pick
    ) -> Iterator[Any]:
        if path in ENVELOPE:
            yield from (value for value in propose(constraints, pick) if type(value) in ENVELOPE[path])
            return
        values: list[Any] = [dict(keys)] if keys else []
        in_list = pick(6) == 5
        yield from values or ([value] if in_list else value for value in propose(constraints, pick))
        # Some element of a list meets the other constraints: `not a!=1` holds for [1, 2].
        for_all = [constraint for constraint in constraints if is_for_all(constraint)]
        questions = [[one, *for_all] for one in constraints if one not in for_all]
        for question in questions:
            if not values or not self._accepts(path, values, question[:1]):
                fitting = (value for value in propose(question, pick) if self._accepts(path, [value], question))
                values += islice(fitting, 1)
        yield values
        if len(path) > 1 and not keys:
            fork = Fork()
            for question in questions:
                shapes = (shape for value in propose(question, pick) for shape in (value, [value]))
                fork += islice((shape for shape in shapes if self._accepts(path, shape, question)), 1)
            yield fork

    def _accepts(self, path: Path, value: Any, constraints: Sequence[Constraint]) -> bool:
        self._spend(len(constraints))
        return fits(nested(path, value), constraints)

    def _spend(self, tests: int) -> None:
        self._tests_left -= tests
        if self._tests_left < 0:
            raise Undecided("the search reached its limit")


def pick_simplest(_: int) -> int:
    """Pick index 0."""
    return 0


def is_for_all(constraint: Constraint) -> bool:
    """Whether a constraint applies to all values at its path; otherwise one value must meet it."""
    condition, wanted = constraint
    return wanted is comparison_of(condition.operator, condition.value, condition.dialect).negated


def propose(constraints: Sequence[Constraint], pick: Pick) -> Iterator[Any]:
    """Propose JSON values other than lists; the caller tests them.

    Values of the kind that the first condition suggests come first: 10 before "10" for `n=10`.
    """
    conditions = [condition for condition, _ in sorted(constraints, key=lambda constraint: not constraint[1])]
    positive = [condition for condition, wanted in constraints if wanted and not is_for_all((condition, wanted))]
    numbers, texts, others = _numbers(conditions, pick), _texts(conditions, positive, pick), _others(conditions)
    leading = conditions[0]
    if leading.quoted or (leading.value not in CONSTANTS and parse_number(leading.value) is None):
        kinds = [texts, numbers, others]
    else:
        kinds = [others, texts, numbers] if leading.value in CONSTANTS else [numbers, texts, others]
    return chain.from_iterable(kinds[1:] + kinds[:1] if pick(4) == 3 else kinds)


def _numbers(conditions: Iterable[Condition], pick: Pick) -> Iterator[int | float]:
    """The numbers in the conditions, numbers near them, and numbers between them."""
    denoted = dict.fromkeys(parse_number(condition.value) for condition in conditions if not condition.quoted)
    numbers = [number for number in denoted if number is not None]
    step = 1 + pick(_MAX_STEP)
    for number in numbers:
        yield from (number, number + step, number - step)
    exact = sorted(number for number in numbers if abs(number) <= _MAX_EXACT)
    for low, high in pairwise(exact):
        middle = (low + high) / 2
        yield from (int(middle), int(middle) + 1, middle)
    for number in numbers:
        yield from (number + 1, number - 1)
    for number in exact:
        yield from (number + 0.5, number - 0.5, nextafter(number, inf), nextafter(number, -inf))
    yield from (0, len(numbers) + 1)


def _texts(conditions: Iterable[Condition], positive: Iterable[Condition], pick: Pick) -> Iterator[str]:
    """Strings: the literals; and a prefix, the required substrings and a suffix, with fillers between them."""
    heads, tails, parts = [""], [""], dict[str, None]()
    for condition in positive:
        text = condition.value
        if condition.operator != "=":
            continue
        if condition.dialect is Dialect.FTRACK:
            if text.endswith("*"):
                parts[text[:-1]] = None
        elif text[:1] == text[-1:] == "*":
            parts[text[1:-1]] = None
        elif text.endswith("*"):
            heads.append(text[:-1])
        elif text.startswith("*"):
            tails.append(text[1:])
    literals = [condition.value for condition in conditions]
    head, tail = max(heads, key=len), max(tails, key=len)
    if not (head or tail or parts):
        yield from (text for text in literals if "*" not in {text[:1], text[-1:]})
    unused = next(c for c in map(chr, range(ord("a"), 0x110000)) if not any(c in text for text in literals))
    fillers = (_WORDS[pick(len(_WORDS))], *_WORDS, "!", "~", unused)
    # What sorts just before or after a literal starts with it, with its beginning, or with a lower last character.
    near = [text[:-1] for text in literals]
    near += [text[:-1] + chr(ord(text[-1]) - 1) for text in literals if text and 0 < ord(text[-1]) <= 0xD800]
    for start, filler in product((head, *heads, *literals, *near), fillers):
        text = start + filler
        for part in parts:
            if part not in text and part not in tail:
                text += part + filler
        # The text may already end with the beginning of the suffix: `ab*` and `*ba` accept "aba".
        overlap = next(size for size in range(len(tail), -1, -1) if text.endswith(tail[:size]))
        yield text + tail[overlap:]
        yield text + tail


def _others(conditions: Sequence[Condition]) -> Iterator[Any]:
    literals = [condition.value for condition in conditions]
    yield from (CONSTANTS[text] for text in literals if text in CONSTANTS)
    yield from (True, False, None, {})
    yield from ({text.rstrip("*"): 0} for text in literals)
    for condition in conditions:
        comparison = comparison_of(condition.operator, condition.value, condition.dialect)
        yield from comparison.example_values(operand_of(comparison, condition.value, condition.quoted))
