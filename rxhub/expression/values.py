"""What a condition means: the values that stand at a path, and how each compares with a literal.

This is the plain reading of the language, and the oracle that compiled expressions, the index and
explanations are tested against. Three rules hold all over this file:

- Nothing of the candidate is trusted. Its `==`, `<`, `in` and `[]` may raise, answer with something that has
  no truth value, or be slow; each is called in one place, under a guard for `Exception`.
- Types are asked with `type(value)`, never with `isinstance`, which would read `__class__` of lazy proxies.
- Nothing recurses. A candidate may contain itself, or be ten thousand levels deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from math import isfinite
from numbers import Complex, Number, Real
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any

from rxhub.event import Event
from rxhub.expression.dialect import Dialect

if TYPE_CHECKING:
    from rxhub.expression.tree import Condition

__all__ = ["found", "holds", "numeral", "path_of"]

_MISSING: Any = object()
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {">=": ge, "<=": le, ">": gt, "<": lt}
_NUMERAL = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MOST_DIGITS = 4_000
_CHUNK = 500  # digits; below the least that sys.set_int_max_str_digits() can be set to


@lru_cache(maxsize=4_096)
def path_of(key: str) -> tuple[str, ...]:
    """The steps of a dotted key. Many conditions share one key, and so one tuple."""
    return tuple(key.split("."))


def found(candidate: object, path: tuple[str, ...], whole: bool = False) -> Iterator[Any]:
    """The values at a path, in the order of the candidate.

    Lists and tuples are walked through wherever they stand; each is visited once per position on the path,
    whatever refers to it.

    Args:
        candidate: what the expression is tested against.
        path: the steps, each the key of a mapping.
        whole: yield a list at the end of the path as one value.
    """
    end = len(path)
    waiting: list[tuple[Any, int]] = [(candidate, 0)]
    # The lists themselves are kept: a mapping may make its values when asked, and a freed one's id comes again.
    visited: dict[tuple[int, int], Any] = {}
    while waiting:
        value, position = waiting.pop()
        kind = type(value)
        is_list = issubclass(kind, (list, tuple))
        if is_list and not (whole and position == end):
            if (id(value), position) not in visited:
                visited[id(value), position] = value
                items = list.__iter__(value) if issubclass(kind, list) else tuple.__iter__(value)
                waiting.extend([(item, position) for item in items][::-1])
        elif position == end:
            yield value
        else:
            entered = _step(value, kind, path[position])
            if entered is not _MISSING:
                waiting.append((entered, position + 1))


def _step(value: Any, kind: type, key: str) -> Any:
    try:
        if kind is dict:
            return value.get(key, _MISSING)
        if kind is Event:
            return value.fields.get(key, _MISSING)
        # `in` first: asking a defaultdict for a key that it lacks would make it grow.
        if issubclass(kind, Mapping) and key in value:
            return value[key]
    except Exception:
        pass
    return _MISSING


def holds(condition: Condition, candidate: object) -> bool:
    """Whether a condition holds for a candidate. Never raises."""
    text, quoted, operator = condition.value, condition.quoted, condition.operator
    whole = False
    test: Callable[[Any], bool]
    if operator == "!=":
        return _differs(found(candidate, path_of(condition.key)), text, quoted)
    if operator != "=":
        order = _ORDERS[operator]

        def test(value: Any) -> bool:
            return _in_order(value, order, text, quoted)
    elif condition.dialect is Dialect.FTRACK and text[-1:] == "*":
        whole = True
        part = text[:-1]

        def test(value: Any) -> bool:
            return _contains(value, part)
    elif condition.dialect is Dialect.RXHUB and (text[-1:] == "*" or text[:1] == "*"):

        def test(value: Any) -> bool:
            return _resembles(value, text)
    else:

        def test(value: Any) -> bool:
            return _equals(value, text, quoted)

    for value in found(candidate, path_of(condition.key), whole):
        try:
            if test(value):
                return True
        except Exception:
            continue
    return False


def _differs(values: Iterator[Any], text: str, quoted: bool) -> bool:
    """Whether there is a value, and none equals the literal; a comparison that raises spoils it."""
    present = False
    for value in values:
        present = True
        try:
            if _equals(value, text, quoted):
                return False
        except Exception:
            return False
    return present


def _equals(value: Any, text: str, quoted: bool) -> bool:
    kind = type(value)
    if kind is str:
        return value == text
    if value is None or kind is bool:
        return not quoted and text == ("null" if value is None else "true" if value else "false")
    if _is_number(kind):
        number = None if quoted else numeral(text)
        return number is not None and bool(value == number)
    return bool(value == text)


def _in_order(value: Any, order: Callable[[Any, Any], Any], text: str, quoted: bool) -> bool:
    kind = type(value)
    if kind is str:
        return order(value, text)
    if value is None or kind is bool:
        return False
    if _is_number(kind):
        number = None if quoted else numeral(text)
        return number is not None and bool(order(value, number))
    return bool(order(value, text))


def _resembles(value: Any, text: str) -> bool:
    """The wildcards of rxhub: prefix, suffix, part; `*` anything but null, `**` any string."""
    if text == "*":
        return value is not None
    if not issubclass(type(value), str):
        return False
    # Through `str` itself: a subclass's own methods have no say in what its text begins with.
    if text[-1] != "*":
        return str.endswith(value, text[1:])
    if text[0] != "*":
        return str.startswith(value, text[:-1])
    return str.__contains__(value, text[1:-1])


def _contains(value: Any, part: str) -> bool:
    """The wildcard of ftrack's client: `part in value`.

    Only what has an `in` of its own is asked: without one, Python would run through the value, and
    an iterator would be used up, or never end.
    """
    return hasattr(type(value), "__contains__") and bool(part in value)


def _is_number(kind: type) -> bool:
    return kind is int or kind is float or (issubclass(kind, Number) and not _is_complex(kind))


def _is_complex(kind: type) -> bool:
    return issubclass(kind, Complex) and not issubclass(kind, Real)


@lru_cache(maxsize=4_096)
def numeral(text: str) -> int | float | None:
    """The number that a bare text denotes: what JSON reads as a number, at most 4,000 digits, finite.

    An exact integer, or the nearest double where there is a `.` or an exponent; None if the text is no number.
    """
    match = _NUMERAL.fullmatch(text)
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
