"""The values at a path, and whether a condition holds for them: the reference that all faster forms are tested against.

- The candidate is not trusted. Its `==`, `<`, `in` and `[]` may raise, or return an object without a truth value.
- Strings, numbers and lists are recognized by their type. Only for mappings is the `__class__` of a proxy believed.
- Nothing recurses: a candidate may contain itself, or be ten thousand levels deep.
- After a RecursionError with room on the stack, the comparison caused it. Otherwise it is passed on to the caller, so
  that no `not` turns a full stack into a match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Protocol, cast

from rxhub.event import Event
from rxhub.expression.comparisons import MAX_CACHED_LENGTH, Comparison, Dialect, Operand, comparison_of, operand_of
from rxhub.expression.step_budget import INTERPRETED, VALUE, current_budget

__all__ = ["holds", "split_key", "tested_values", "values_at"]

_LISTS: Any = (list, tuple)
_MISSING: Any = object()
# The types' own iterators: those of a subclass may never end.
_list_items: Callable[[Any], Iterator[Any]] = vars(list)["__iter__"]
_tuple_items: Callable[[Any], Iterator[Any]] = vars(tuple)["__iter__"]
_SPARE_FRAMES = 100


class _Condition(Protocol):
    """What is read of a `Condition`."""

    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def quoted(self) -> bool: ...
    @property
    def dialect(self) -> Dialect: ...


def split_key(key: str) -> tuple[str, ...]:
    """The steps of a dotted key. Conditions with one key share one tuple."""
    return _path(key) if len(key) <= MAX_CACHED_LENGTH else tuple(key.split("."))


@lru_cache(maxsize=4_096)
def _path(key: str) -> tuple[str, ...]:
    return tuple(key.split("."))


def values_at(candidate: object, path: tuple[str, ...], whole: bool = False) -> Iterator[Any]:
    """The values at a path, in the order of the candidate.

    Lists and tuples on the path are searched, each once per position on the path. A list at the end of the path is one
    value if `whole`.
    """
    end = len(path)
    budget = current_budget()
    # The lists being searched, innermost last, and the position of each on the path.
    lists: list[tuple[Iterator[Any], int]] = [(iter((candidate,)), 0)]
    # Keeps the lists alive: a mapping may create its values on access, and the id of a freed list is used again.
    visited: dict[tuple[int, int], Any] = {}
    while lists:
        items, start = lists[-1]
        for item in items:
            value: object = item
            position = start
            while True:
                kind: type = type(value)
                if kind is not dict and issubclass(kind, _LISTS) and not (whole and position == end):
                    if (id(value), position) not in visited:
                        visited[id(value), position] = value
                        inner = list(_list_items(value) if issubclass(kind, list) else _tuple_items(value))
                        if budget is not None:
                            budget.spend(VALUE * len(inner))
                        lists.append((iter(inner), position))
                    break
                if position == end:
                    yield value
                    break
                if budget is not None:
                    budget.spend(VALUE)
                value = _step(value, kind, path[position])
                if value is _MISSING:
                    break
                position += 1
            if lists[-1][0] is not items:
                break  # search the list that was just opened
        else:
            lists.pop()


def _step(value: object, kind: type, key: str) -> Any:
    """The value of a key, without calling `__missing__`, which would make a defaultdict grow."""
    try:
        if kind is dict:
            return cast("dict[str, Any]", value).get(key, _MISSING)
        if isinstance(value, Event):
            return value.fields.get(key, _MISSING)
        if isinstance(value, Mapping) and key in value:
            return cast("Mapping[str, Any]", value)[key]
    except Exception as error:
        _raise_if_stack_is_full(error)
    return _MISSING


def _raise_if_stack_is_full(error: Exception) -> None:
    """Raise a RecursionError again if the stack of the caller is full."""
    if isinstance(error, RecursionError):
        _recurse(_SPARE_FRAMES)


def _recurse(levels: int) -> None:
    if levels:
        _recurse(levels - 1)


def holds(condition: _Condition, candidate: object) -> bool:
    """Whether a condition holds for a candidate. Never raises."""
    budget = current_budget()
    if budget is not None:
        # Long keys and literals are not cached.
        budget.spend(INTERPRETED + (len(condition.key) + len(condition.value) >> 4))
    comparison, operand = _resolved(condition)
    test = comparison.holds
    if budget is not None and len(condition.value) > MAX_CACHED_LENGTH:
        test = partial(_counted, test=test, steps=len(condition.value) >> 6)
    values = values_at(candidate, split_key(condition.key), comparison.whole_lists)
    if comparison.negated:
        return _none_holds(values, test, operand)
    for value in values:
        try:
            if test(value, operand):
                return True
        except Exception as error:
            _raise_if_stack_is_full(error)
    return False


def tested_values(condition: _Condition, candidate: object) -> Iterator[Any]:
    """The values that a condition is tested with."""
    comparison, _ = _resolved(condition)
    return values_at(candidate, split_key(condition.key), comparison.whole_lists)


def _none_holds(values: Iterator[Any], test: Callable[[Any, Operand], Any], operand: Operand) -> bool:
    """Whether there is a value, and the test holds for none; a test that raises counts as holding."""
    is_present = False
    for value in values:
        is_present = True
        try:
            if test(value, operand):
                return False
        except Exception as error:
            _raise_if_stack_is_full(error)
            return False
    return is_present


def _counted(value: object, operand: Operand, test: Callable[[Any, Operand], Any], steps: int) -> Any:
    if (budget := current_budget()) is not None:
        budget.spend(steps)
    return test(value, operand)


def _resolved(condition: _Condition) -> tuple[Comparison, Operand]:
    resolve = _resolve if len(condition.value) <= MAX_CACHED_LENGTH else _resolve.__wrapped__
    return resolve(condition.operator, condition.value, condition.quoted, condition.dialect)


@lru_cache(maxsize=4_096)
def _resolve(operator: str, literal: str, quoted: bool, dialect: Dialect) -> tuple[Comparison, Operand]:
    comparison = comparison_of(operator, literal, dialect)
    return comparison, operand_of(comparison, literal, quoted)
