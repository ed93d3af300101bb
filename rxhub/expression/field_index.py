"""The tables of one path: from the values that a candidate has there to the buckets whose condition holds.

Each bucket stands for one condition. The tables only hasten what they could also find by testing one condition
after the other, and that is what happens when a value is met whose comparison is its own: a subclass of `str`, a
`Decimal`, a version object. Only values whose exact type is `str`, `int`, `float`, `bool` or `NoneType` are hashed.

A literal may denote more than its text: a bare `10` is the text "10" and the number 10, a bare `true` is the text
and the bool. A text is looked up under what is written, any other value under what is denoted; bools have keys of
their own, since `{1: …}[True]` would hit.

Readers do not lock. A reader does single look-ups in dictionaries whose keys are compared without running Python
code, takes tuples and copies that C code makes in one go; a writer changes one of these at a time. So a reader
sees a bucket before or after its coming or going, and every bucket that stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rxhub.expression.access_path import AccessKind, access_kind
from rxhub.expression.evaluate import parse_number, split_key, values_at
from rxhub.expression.sorted_index import SortedIndex
from rxhub.expression.step_budget import current_budget

if TYPE_CHECKING:
    from rxhub.expression.ast import Condition
    from rxhub.expression.index_tree import Bucket

__all__ = ["FieldIndex"]

_LOOKUP = 6  # steps for each value
_MISSING: Any = object()
_type: Callable[[object], type] = type
_TEXT_ONLY: Any = object()
_WORDS: dict[str, Any] = {"null": None, "true": (True,), "false": (False,)}


class _Bounds(NamedTuple):
    """The literals of one operator."""

    operator: str
    texts: SortedIndex[Bucket]
    numbers: SortedIndex[Bucket]


class FieldIndex:
    """All buckets whose condition has one key.

    Attributes:
        key: the dotted path.
        texts: by the text of an equality that denotes nothing but this text.
        has_more: whether there is any other bucket than these.
    """

    __slots__ = (
        "_ascending_lengths",
        "_bounds",
        "_denoted",
        "_lengths",
        "_path",
        "_prefixes",
        "_ranges",
        "_spelled",
        "has_more",
        "key",
        "texts",
    )

    def __init__(self, key: str) -> None:
        self.key = key
        self.texts: dict[str, Bucket] = {}
        self.has_more = False
        self._path = split_key(key)
        self._spelled: dict[str, Bucket] = {}  # by the text of an equality that denotes more
        self._denoted: dict[Any, tuple[Bucket, ...]] = {}  # the same by what they denote: `10` and `10.0` are two
        self._prefixes: dict[str, Bucket] = {}
        self._lengths: dict[int, int] = {}  # of the prefixes: how many have each
        self._ascending_lengths: tuple[int, ...] = ()  # the same, as readers see them
        self._ranges: dict[tuple[str, str, bool], Bucket] = {}  # by operator, text and whether it denotes a number
        self._bounds: tuple[_Bounds, ...] = ()  # the same, ascending

    def __len__(self) -> int:
        return len(self.texts) + len(self._spelled) + len(self._prefixes) + len(self._ranges)

    def at(self, condition: Condition) -> Bucket | None:
        """The bucket of a condition, or of one that means the same."""
        table, key = self._place(condition)
        return table.get(key)

    def put(self, bucket: Bucket, condition: Condition) -> None:
        """Add the bucket of a condition that has none yet."""
        table, key = self._place(condition)
        table[key] = bucket
        if table is self._spelled:
            denoted = _denoted(condition)
            self._denoted[denoted] = (*self._denoted.get(denoted, ()), bucket)
        elif table is self._prefixes:
            self._count_length(len(key), 1)
        elif table is self._ranges:
            bounds = self._bounds_of(condition.operator)
            bounds.texts.add(condition.value, bucket)
            if (number := _number(condition)) is not None:
                bounds.numbers.add(number, bucket)
        self.has_more = len(self) > len(self.texts)

    def drop(self, bucket: Bucket, condition: Condition) -> None:
        """Remove the bucket of a condition."""
        table, key = self._place(condition)
        del table[key]
        if not table:
            table.clear()  # a dictionary keeps its size when its keys go one by one
        if table is self._spelled:
            denoted = _denoted(condition)
            if others := tuple(other for other in self._denoted[denoted] if other is not bucket):
                self._denoted[denoted] = others
            else:
                del self._denoted[denoted]
        elif table is self._prefixes:
            self._count_length(len(key), -1)
        elif table is self._ranges:
            bounds = self._bounds_of(condition.operator)
            bounds.texts.remove(condition.value, bucket)
            if (number := _number(condition)) is not None:
                bounds.numbers.remove(number, bucket)
            if not bounds.texts:
                self._bounds = tuple(other for other in self._bounds if other is not bounds)
        self.has_more = len(self) > len(self.texts)

    def reached(self, candidate: Any) -> Sequence[Bucket]:
        """The buckets whose condition holds for a candidate, each once."""
        value: Any = candidate
        for step in self._path:
            kind = _type(value)
            if kind is not dict:
                return self._reached_by_any(candidate)
            try:
                value = value.get(step, _MISSING)
            except Exception:  # a key of the candidate that refuses to be compared
                return self._reached_by_any(candidate)
            if value is _MISSING:
                return ()
        kind = _type(value)
        if kind is str:
            if self.has_more:
                return self._reached_by_text(value)
            bucket = self.texts.get(value)
            return () if bucket is None else (bucket,)
        if kind is int or kind is float:
            return self._reached_by_number(value)
        if value is None:
            return self._denoted.get(None, ())
        if kind is bool:
            return self._denoted.get((value,), ())
        if kind is dict:  # equals no text, and has no order
            return ()
        return self._reached_by_any(candidate)

    def _reached_by_text(self, value: str) -> list[Bucket]:
        buckets: list[Bucket] = []
        for table in (self.texts, self._spelled):
            bucket = table.get(value)
            if bucket is not None:
                buckets.append(bucket)
        work = current_budget() if self._ascending_lengths else None
        for length in self._ascending_lengths:
            if length > len(value):
                break
            if work is not None:
                work.spend(2 + (length >> 6))
            bucket = self._prefixes.get(value[:length])
            if bucket is not None:
                buckets.append(bucket)
        for operator, texts, _ in self._bounds:
            buckets += _within(texts, operator, value)
        return buckets

    def _reached_by_number(self, value: float) -> Sequence[Bucket]:
        equal = self._denoted.get(value, ())
        # What is not a number would come to stand anywhere in a sorted range.
        if not self._bounds or value != value:
            return equal
        buckets = list(equal)
        for operator, _, numbers in self._bounds:
            buckets += _within(numbers, operator, value)
        return buckets

    def _reached_by_any(self, candidate: object) -> Sequence[Bucket]:
        """The same where lists or other mappings stand on the path, or a value that compares in its own way."""
        reached: dict[Bucket, None] = {}
        work = current_budget()
        for value in values_at(candidate, self._path):
            kind = _type(value)
            if kind is str:
                buckets = self._reached_by_text(value)
            elif kind is int or kind is float:
                buckets = self._reached_by_number(value)
            elif value is None or kind is bool:
                buckets = self._denoted.get(None if value is None else (value,), ())
            elif kind is dict:
                continue
            else:
                return [bucket for bucket in self._buckets() if bucket.holds(candidate)]
            if work is not None:
                work.spend(_LOOKUP + len(buckets))
            reached |= dict.fromkeys(buckets)
        return list(reached)

    def _buckets(self) -> list[Bucket]:
        return [
            *self.texts.values(),
            *self._spelled.values(),
            *self._prefixes.values(),
            *self._ranges.values(),
        ]

    def _place(self, condition: Condition) -> tuple[dict[Any, Bucket], Any]:
        """The table in which the bucket of a condition stands, and its key there."""
        match access_kind(condition):
            case AccessKind.EQUALITY:
                return self.texts if _denoted(condition) is _TEXT_ONLY else self._spelled, condition.value
            case AccessKind.PREFIX:
                return self._prefixes, condition.value[:-1]
            case _:
                return self._ranges, (condition.operator, condition.value, _number(condition) is not None)

    def _count_length(self, length: int, difference: int) -> None:
        lengths = self._lengths
        known = len(lengths)
        lengths[length] = lengths.get(length, 0) + difference
        if not lengths[length]:
            del lengths[length]
        if len(lengths) != known:
            self._ascending_lengths = tuple(sorted(lengths))

    def _bounds_of(self, operator: str) -> _Bounds:
        for bounds in self._bounds:
            if bounds.operator == operator:
                return bounds
        bounds = _Bounds(operator, SortedIndex(), SortedIndex())
        self._bounds = (*self._bounds, bounds)
        return bounds


def _within(buckets: SortedIndex[Bucket], operator: str, value: str | float) -> list[Bucket]:
    """Those whose literal the value is in order with."""
    if operator[0] == ">":
        return buckets.until(value, inclusive=operator == ">=")
    return buckets.since(value, inclusive=operator == "<=")


def _number(condition: Condition) -> int | float | None:
    return None if condition.quoted else parse_number(condition.value)


def _denoted(condition: Condition) -> Any:
    """What a literal denotes beside its text, as a key of `_denoted`."""
    if condition.quoted:
        return _TEXT_ONLY
    if condition.value in _WORDS:
        return _WORDS[condition.value]
    number = parse_number(condition.value)
    return _TEXT_ONLY if number is None else number
