"""What a condition means: the values that stand at a path, and how each compares with a literal.

This is the plain reading of the language, and the oracle that compiled expressions, the index and explanations are
tested against. Three rules hold all over this file:

- Nothing of the candidate is trusted. Its `==`, `<`, `in` and `[]` may raise, or answer with something that has no
  truth value; each is called under a guard for `Exception`.
- A list, a text or a number is what has that type. Only for mappings what a proxy says of itself is believed.
- Nothing recurses. A candidate may contain itself, or be ten thousand levels deep.

RecursionError is an `Exception`, too. Where a comparison raises it, that is the comparison's own fault only if there is
room on the stack once it has returned; else it goes on to the caller, and no `not` turns a full stack into a match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from math import isfinite
from numbers import Complex, Number, Real
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from rxhub.event import Event
from rxhub.expression.dialect import Dialect
from rxhub.expression.step_budget import INTERPRETED, VALUE, current_budget

if TYPE_CHECKING:
    from rxhub.expression.ast import Condition

__all__ = ["holds", "parse_number", "split_key", "tested_values", "values_at"]

_Test: TypeAlias = Callable[[Any], Any]

_LISTS: Any = (list, tuple)
_MISSING: Any = object()
# The types' own iterators: those of a subclass may never end.
_list_items: Callable[[Any], Iterator[Any]] = vars(list)["__iter__"]
_tuple_items: Callable[[Any], Iterator[Any]] = vars(tuple)["__iter__"]
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {">=": ge, "<=": le, ">": gt, "<": lt}
_NUMERAL = r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_MOST_DIGITS = 4_000
_CHUNK = 500  # digits: fewer than the least that sys.set_int_max_str_digits() can be set to


_LONGEST = 500  # characters of what is remembered: a stranger's texts may be a hundred thousand long
_ROOM = 100  # frames
# Python searches these in time that may grow with the product of both lengths.
_SHORT_TO_SEARCH = 30_000


def split_key(key: str) -> tuple[str, ...]:
    """The steps of a dotted key. Many conditions share one key, and so one tuple."""
    return _path(key) if len(key) <= _LONGEST else tuple(key.split("."))


@lru_cache(maxsize=4_096)
def _path(key: str) -> tuple[str, ...]:
    return tuple(key.split("."))


def values_at(candidate: object, path: tuple[str, ...], whole: bool = False) -> Iterator[Any]:
    """The values at a path, in the order of the candidate.

    Lists and tuples are walked through wherever they stand; each is visited once per position on the path, whatever
    refers to it.

    Args:
        candidate: what the expression is tested against.
        path: the steps, each the key of a mapping.
        whole: yield a list at the end of the path as one value.
    """
    end = len(path)
    work = current_budget()
    # The lists that are open, innermost last, and the position of each on the path.
    lists: list[tuple[Iterator[Any], int]] = [(iter((candidate,)), 0)]
    # The lists themselves are kept: a mapping may make its values when asked, and a freed one's id comes again.
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
                        if work is not None:
                            work.spend(VALUE * len(inner))
                        lists.append((iter(inner), position))
                    break
                if position == end:
                    yield value
                    break
                if work is not None:
                    work.spend(VALUE)
                value = _step(value, kind, path[position])
                if value is _MISSING:
                    break
                position += 1
            if lists[-1][0] is not items:
                break  # into the list that was opened
        else:
            lists.pop()


def _step(value: object, kind: type, key: str) -> Any:
    """What a mapping holds under a key, past any `__missing__`: asking a defaultdict would make it grow."""
    try:
        if kind is dict:
            return cast("dict[str, Any]", value).get(key, _MISSING)
        if isinstance(value, Event):
            return value.fields.get(key, _MISSING)
        if isinstance(value, Mapping) and key in value:
            return cast("Mapping[str, Any]", value)[key]
    except Exception as error:
        _let_pass_if_full(error)
    return _MISSING


def _let_pass_if_full(error: Exception) -> None:
    """Raise RecursionError again if it is the stack of whoever called that is full."""
    if isinstance(error, RecursionError):
        _go_down(_ROOM)


def _go_down(levels: int) -> None:
    if levels:
        _go_down(levels - 1)


def holds(condition: Condition, candidate: object) -> bool:
    """Whether a condition holds for a candidate. Never raises."""
    work = current_budget()
    if work is not None:
        # A long key is split, and a long literal read, each time.
        work.spend(INTERPRETED + (len(condition.key) + len(condition.value) >> 4))
    test, whole = _test_of(condition)
    values = values_at(candidate, split_key(condition.key), whole)
    if work is not None and len(condition.value) > _LONGEST:
        test = partial(_counted, test=test, steps=len(condition.value) >> 6)
    if condition.operator == "!=":
        return _differs(values, test)
    for value in values:
        try:
            if test(value):
                return True
        except Exception as error:
            _let_pass_if_full(error)
    return False


def tested_values(condition: Condition, candidate: object) -> Iterator[Any]:
    """The values that a condition looks at."""
    _, whole = _test_of(condition)
    return values_at(candidate, split_key(condition.key), whole)


def _differs(values: Iterator[Any], equals: _Test) -> bool:
    """Whether there is a value, and none equals the literal; a comparison that raises spoils it."""
    present = False
    for value in values:
        present = True
        try:
            if equals(value):
                return False
        except Exception as error:
            _let_pass_if_full(error)
            return False
    return present


def _counted(value: object, test: _Test, steps: int) -> Any:
    """Test a value against a long literal."""
    if (work := current_budget()) is not None:
        work.spend(steps)
    return test(value)


def _test_of(condition: Condition) -> tuple[_Test, bool]:
    make = _test if len(condition.value) <= _LONGEST else _test.__wrapped__
    return make(condition.operator, condition.value, condition.quoted, condition.dialect)


@lru_cache(maxsize=4_096)
def _test(operator: str, text: str, quoted: bool, dialect: Dialect) -> tuple[_Test, bool]:
    """What a value is asked, for `!=` whether it equals the literal; and whether a list is asked as a whole.

    The test may raise whatever the value raises, and answer with what has no truth value.
    """
    number = None if quoted else parse_number(text)
    if operator in _ORDERS:
        return partial(_in_order, order=_ORDERS[operator], text=text, number=number), False
    if operator == "=" and dialect is Dialect.FTRACK and text[-1:] == "*":
        return partial(_contains, part=text[:-1]), True
    if operator == "=" and dialect is Dialect.RXHUB and "*" in {text[:1], text[-1:]}:
        return partial(_resembles, text=text), False
    return partial(_equals, text=text, quoted=quoted, number=number), False


def _equals(value: object, text: str, quoted: bool, number: float | None) -> Any:
    kind = type(value)
    if kind is str:
        return value == text
    if value is None or kind is bool:
        return not quoted and text == ("null" if value is None else "true" if value else "false")
    if _is_number(kind):
        return number is not None and value == number
    return value == text


def _in_order(value: object, order: Callable[[Any, Any], Any], text: str, number: float | None) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return False
    if _is_number(kind):
        return number is not None and order(value, number)
    return order(value, text)


def _resembles(value: object, text: str) -> bool:
    """The wildcards of rxhub: prefix, suffix, part; `*` anything but null, `**` any string."""
    if text == "*":
        return value is not None
    if not issubclass(type(value), str):
        return False
    # Through `str` itself: a subclass's own methods have no say in what its text begins with.
    string = cast("str", value)
    if text[-1] != "*":
        return str.endswith(string, text[1:])
    if text[0] != "*":
        return str.startswith(string, text[:-1])
    if (work := current_budget()) is not None:
        work.spend(_search(str.__len__(string), len(text) - 2))
    return str.__contains__(string, text[1:-1])


def _search(length: int, part: int) -> int:
    """The steps of a search for a part in a string, both given by their lengths."""
    steps = length >> 5
    if length < _SHORT_TO_SEARCH or length < 3 * part:
        steps += length * max(0, min(part, length - part)) // 500
    return steps


def _contains(value: object, part: str) -> Any:
    """The wildcard of ftrack's client: `part in value`.

    Only what has an `in` of its own is asked: without one, Python would run through the value, and an iterator
    would be used up, or never end.
    """
    kind = type(value)
    return hasattr(kind, "__contains__") and part in cast("Any", value)


def _is_number(kind: type) -> bool:
    if kind is int or kind is float:
        return True
    return kind is not bool and issubclass(kind, Number) and (issubclass(kind, Real) or not issubclass(kind, Complex))


def parse_number(text: str) -> int | float | None:
    """The number that a bare text denotes: what JSON reads as a number, at most 4,000 digits, finite.

    An exact integer, or the nearest double where there is a `.` or an exponent; None if the text is no number.
    """
    return _numeral(text) if len(text) <= _LONGEST else _numeral.__wrapped__(text)


@lru_cache(maxsize=4_096)
def _numeral(text: str) -> int | float | None:
    match = re.fullmatch(_NUMERAL, text)
    if match is None or sum(map(str.isdigit, text)) > _MOST_DIGITS:
        return None
    if match[1] or match[2]:
        number = float(text)
        return number if isfinite(number) else None
    digits = text.lstrip("-")
    whole = 0
    for start in range(0, len(digits), _CHUNK):
        chunk = digits[start : start + _CHUNK]
        whole = whole * 10 ** len(chunk) + int(chunk)
    return -whole if text[0] == "-" else whole
