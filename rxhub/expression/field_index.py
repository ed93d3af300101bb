"""The tables of one key: they map the values of a candidate to the buckets whose condition holds.

Values with a comparison of their own (a subclass of `str`, a `Decimal`, a version object) are tested by one condition
after the other. Only values whose exact type is `str`, `int`, `float`, `bool` or `NoneType` are looked up: strings by
the text of a literal, others by what it denotes besides. Bools have keys of their own, since `{1: …}[True]` finds an
entry.

Readers do not lock. They do single look-ups in dictionaries whose keys are compared without running Python code, and
take tuples and copies that C code makes in one step; a writer changes one of these at a time. So a reader sees every
bucket that stays, and a bucket that is being added or removed either before or after the change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, assert_never

from rxhub.expression.comparisons import CONSTANTS, AccessMethod, Operand, comparison_of, operand_of
from rxhub.expression.evaluate import split_key, values_at
from rxhub.expression.sorted_index import SortedIndex
from rxhub.expression.step_budget import current_budget

if TYPE_CHECKING:
    from rxhub.expression.ast import Condition

__all__ = ["FieldIndex"]

_LOOKUP = 6  # steps for each value
_MISSING: Any = object()
_type: Callable[[object], type] = type


class _Testable(Protocol):
    """A bucket."""

    def holds(self, candidate: object) -> bool: ...


B = TypeVar("B", bound=_Testable)


class _Bounds(NamedTuple, Generic[B]):
    """The literals of one ordering operator."""

    operator: str
    find: Callable[[SortedIndex[Any], Any], list[Any]]
    texts: SortedIndex[B]
    numbers: SortedIndex[B]


class FieldIndex(Generic[B]):
    """All buckets whose condition has one key.

    Attributes:
        key: the dotted path.
        texts: the buckets of equalities whose literal denotes only its text, by that text.
        has_more: whether there are other buckets.
    """

    __slots__ = (
        "_ascending_lengths",
        "_bounds",
        "_constants",
        "_denoted",
        "_lengths",
        "_path",
        "_prefixes",
        "_ranges",
        "has_more",
        "key",
        "texts",
    )

    def __init__(self, key: str) -> None:
        self.key = key
        self.texts: dict[str, B] = {}
        self.has_more = False
        self._path = split_key(key)
        self._constants: dict[str, B] = {}  # equalities whose literal denotes more than its text, by the text
        self._denoted: dict[Any, tuple[B, ...]] = {}  # the same by what they denote: `10` and `10.0` are two
        self._prefixes: dict[str, B] = {}
        self._lengths: dict[int, int] = {}  # how many prefixes have each length
        self._ascending_lengths: tuple[int, ...] = ()  # the same lengths, for readers
        self._ranges: dict[tuple[str, str, bool], B] = {}  # by operator, text and whether it denotes a number
        self._bounds: tuple[_Bounds[B], ...] = ()  # the same, sorted, for readers

    def __len__(self) -> int:
        return len(self.texts) + len(self._constants) + len(self._prefixes) + len(self._ranges)

    def get(self, condition: Condition) -> B | None:
        table, key, _ = self._slot(condition)
        return table.get(key)

    def put(self, bucket: B, condition: Condition) -> None:
        """Add the bucket of a condition that has none yet."""
        table, key, operand = self._slot(condition)
        table[key] = bucket
        if table is self._constants:
            denoted = _denoted(operand)
            self._denoted[denoted] = (*self._denoted.get(denoted, ()), bucket)
        elif table is self._prefixes:
            self._count_length(len(key), 1)
        elif table is self._ranges:
            bounds = self._bounds_of(condition)
            bounds.texts.add(operand.text, bucket)
            if operand.number is not None:
                bounds.numbers.add(operand.number, bucket)
        self.has_more = len(self) > len(self.texts)

    def drop(self, bucket: B, condition: Condition) -> None:
        table, key, operand = self._slot(condition)
        del table[key]
        if not table:
            table.clear()  # a dictionary keeps its size when its keys are deleted one by one
        if table is self._constants:
            denoted = _denoted(operand)
            if others := tuple(other for other in self._denoted[denoted] if other is not bucket):
                self._denoted[denoted] = others
            else:
                del self._denoted[denoted]
        elif table is self._prefixes:
            self._count_length(len(key), -1)
        elif table is self._ranges:
            bounds = self._bounds_of(condition)
            bounds.texts.remove(operand.text, bucket)
            if operand.number is not None:
                bounds.numbers.remove(operand.number, bucket)
            if not bounds.texts:
                self._bounds = tuple(other for other in self._bounds if other is not bounds)
        self.has_more = len(self) > len(self.texts)

    def search(self, candidate: Any) -> Sequence[B]:
        """The buckets whose condition holds for a candidate, each once."""
        value: Any = candidate
        for step in self._path:
            kind = _type(value)
            if kind is not dict:
                return self._search_any(candidate)
            try:
                value = value.get(step, _MISSING)
            except Exception:  # a key of the candidate that refuses to be compared
                return self._search_any(candidate)
            if value is _MISSING:
                return ()
        kind = _type(value)
        if kind is str:
            if self.has_more:
                return self._search_text(value)
            bucket = self.texts.get(value)
            return () if bucket is None else (bucket,)
        if kind is int or kind is float:
            return self._search_number(value)
        if value is None:
            return self._denoted.get(None, ())
        if kind is bool:
            return self._denoted.get((value,), ())
        if kind is dict:  # equals no string, and has no order
            return ()
        return self._search_any(candidate)

    def _search_text(self, value: str) -> list[B]:
        buckets: list[B] = []
        for table in (self.texts, self._constants):
            bucket = table.get(value)
            if bucket is not None:
                buckets.append(bucket)
        budget = current_budget() if self._ascending_lengths else None
        for length in self._ascending_lengths:
            if length > len(value):
                break
            if budget is not None:
                budget.spend(2 + (length >> 6))
            bucket = self._prefixes.get(value[:length])
            if bucket is not None:
                buckets.append(bucket)
        for bounds in self._bounds:
            buckets += bounds.find(bounds.texts, value)
        return buckets

    def _search_number(self, value: float) -> Sequence[B]:
        equal = self._denoted.get(value, ())
        # NaN has no place in a sorted list.
        if not self._bounds or value != value:
            return equal
        buckets = list(equal)
        for bounds in self._bounds:
            buckets += bounds.find(bounds.numbers, value)
        return buckets

    def _search_any(self, candidate: object) -> Sequence[B]:
        """As `search`, where the path has lists or other mappings, or ends at a value with a comparison of its own."""
        found: dict[B, None] = {}
        budget = current_budget()
        for value in values_at(candidate, self._path):
            kind = _type(value)
            if kind is str:
                buckets = self._search_text(value)
            elif kind is int or kind is float:
                buckets = self._search_number(value)
            elif value is None or kind is bool:
                buckets = self._denoted.get(None if value is None else (value,), ())
            elif kind is dict:
                continue
            else:
                return [bucket for bucket in self._buckets() if bucket.holds(candidate)]
            if budget is not None:
                budget.spend(_LOOKUP + len(buckets))
            found |= dict.fromkeys(buckets)
        return list(found)

    def _buckets(self) -> list[B]:
        return [*self.texts.values(), *self._constants.values(), *self._prefixes.values(), *self._ranges.values()]

    def _slot(self, condition: Condition) -> tuple[dict[Any, B], Any, Operand]:
        """The table of the bucket of a condition, its key there, and the operand of the condition."""
        comparison = comparison_of(condition.operator, condition.value, condition.dialect)
        operand = operand_of(comparison, condition.value, condition.quoted)
        match comparison.access:
            case AccessMethod.EQUALITY:
                return self.texts if operand.form == "text" else self._constants, operand.text, operand
            case AccessMethod.PREFIX:
                return self._prefixes, operand.text, operand
            case AccessMethod.RANGE:
                return self._ranges, (condition.operator, operand.text, operand.number is not None), operand
            case AccessMethod.SCAN:
                raise ValueError(f"No table finds {condition}.")
            case _:
                assert_never(comparison.access)

    def _count_length(self, length: int, difference: int) -> None:
        lengths = self._lengths
        known = len(lengths)
        lengths[length] = lengths.get(length, 0) + difference
        if not lengths[length]:
            del lengths[length]
        if len(lengths) != known:
            self._ascending_lengths = tuple(sorted(lengths))

    def _bounds_of(self, condition: Condition) -> _Bounds[B]:
        for bounds in self._bounds:
            if bounds.operator == condition.operator:
                return bounds
        find = comparison_of(condition.operator, condition.value, condition.dialect).find
        assert find is not None, condition
        bounds = _Bounds[B](condition.operator, find, SortedIndex(), SortedIndex())
        self._bounds = (*self._bounds, bounds)
        return bounds


def _denoted(operand: Operand) -> Any:
    """What a literal denotes besides its text, as a key of `_denoted`."""
    if operand.number is not None:
        return operand.number
    value = CONSTANTS[operand.text]
    return None if value is None else (value,)
