"""What a condition means: the values that stand at a path, and how each compares with a literal.

This is the plain reading of the language, and the oracle that compiled expressions, the index and explanations are
tested against. Three rules hold all over this file:

- Nothing of the candidate is trusted. Its `==`, `<`, `in` and `[]` may raise, or answer with something that has no
  truth value; each is called under a guard for `Exception`.
- A list, a text or a number is what has that type. Only for mappings what a proxy says of itself is believed.
- Nothing recurses. A candidate may contain itself, or be ten thousand levels deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from math import isfinite
from numbers import Complex, Number, Real
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any

from rxhub.event import Event
from rxhub.expression.dialect import Dialect

if TYPE_CHECKING:
    from rxhub.expression.tree import Condition

__all__ = ["found", "holds", "is_containment", "numeral", "path_of"]

_MISSING: Any = object()
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {">=": ge, "<=": le, ">": gt, "<": lt}
_NUMERAL = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MOST_DIGITS = 4_000
_CHUNK = 500  # digits: fewer than the least that sys.set_int_max_str_digits() can be set to


@lru_cache(maxsize=4_096)
def path_of(key: str) -> tuple[str, ...]:
    """The steps of a dotted key. Many conditions share one key, and so one tuple."""
    return tuple(key.split("."))


def found(candidate: object, path: tuple[str, ...], whole: bool = False) -> Iterator[Any]:
    """The values at a path, in the order of the candidate.

    Lists and tuples are walked through wherever they stand; each is visited once per position on the path, whatever
    refers to it.

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
        if issubclass(type(value), (list, tuple)) and not (whole and position == end):
            if (id(value), position) not in visited:
                visited[id(value), position] = value
                waiting.extend([(item, position) for item in _items(value)][::-1])
        elif position == end:
            yield value
        else:
            below = _step(value, path[position])
            if below is not _MISSING:
                waiting.append((below, position + 1))


def _items(value: Any) -> Iterable[Any]:
    """What a list holds, past any `__iter__` of a subclass, which may never end."""
    return list.__iter__(value) if issubclass(type(value), list) else tuple.__iter__(value)


def _step(value: Any, key: str) -> Any:
    """What a mapping holds under a key, past any `__missing__`: asking a defaultdict would make it grow."""
    kind = type(value)
    try:
        if issubclass(kind, dict):
            return dict.get(value, key, _MISSING)
        if issubclass(kind, Event):
            return value.fields.get(key, _MISSING)
        return value[key] if isinstance(value, Mapping) and key in value else _MISSING
    except Exception:  # noqa: BLE001
        return _MISSING


def holds(condition: Condition, candidate: object) -> bool:
    """Whether a condition holds for a candidate. Never raises."""
    values = found(candidate, path_of(condition.key), is_containment(condition))
    if condition.operator == "!=":
        return _differs(values, condition.value, condition.quoted)
    for value in values:
        try:
            if _satisfies(value, condition):
                return True
        except Exception:  # noqa: BLE001, S112
            continue
    return False


def is_containment(condition: Condition) -> bool:
    """Whether this is the wildcard of ftrack's client, which tests a list at the end of the path as a whole."""
    return condition.operator == "=" and condition.dialect is Dialect.FTRACK and condition.value[-1:] == "*"


def _satisfies(value: Any, condition: Condition) -> bool:
    """Whether a value satisfies any operator but `!=`. May raise whatever the value raises."""
    text, quoted = condition.value, condition.quoted
    order = _ORDERS.get(condition.operator)
    if order is not None:
        return _in_order(value, order, text, quoted)
    if is_containment(condition):
        return _contains(value, text[:-1])
    if condition.dialect is Dialect.RXHUB and "*" in {text[:1], text[-1:]}:
        return _resembles(value, text)
    return _equals(value, text, quoted)


def _differs(values: Iterator[Any], text: str, quoted: bool) -> bool:
    """Whether there is a value, and none equals the literal; a comparison that raises spoils it."""
    present = False
    for value in values:
        present = True
        try:
            if _equals(value, text, quoted):
                return False
        except Exception:  # noqa: BLE001
            return False
    return present


def _equals(value: Any, text: str, quoted: bool) -> bool:
    if value is None or type(value) is bool:
        return not quoted and text == ("null" if value is None else "true" if value else "false")
    if _is_number(value):
        number = None if quoted else numeral(text)
        return number is not None and bool(value == number)
    return bool(value == text)


def _in_order(value: Any, order: Callable[[Any, Any], Any], text: str, quoted: bool) -> bool:
    if value is None or type(value) is bool:
        return False
    if _is_number(value):
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

    Only what has an `in` of its own is asked: without one, Python would run through the value, and an iterator
    would be used up, or never end.
    """
    return hasattr(type(value), "__contains__") and bool(part in value)


def _is_number(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return False
    return issubclass(kind, Number) and not (issubclass(kind, Complex) and not issubclass(kind, Real))


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
