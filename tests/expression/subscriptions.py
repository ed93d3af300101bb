"""Strategies for the index: trees that often share conditions, and candidates that often meet them."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from rxhub.event import Event
from rxhub.expression import And, Condition, Dialect, Everything, Expression, Not, Or

__all__ = ["Text", "Unwilling", "Version", "candidates", "trees"]


class Text(str):
    """A text of a type of its own."""

    __slots__ = ()


class Version:
    """Compares with texts in its own way, as the version objects of real payloads do."""

    def __init__(self, *parts: int) -> None:
        self.parts = parts

    def _of(self, other: object) -> tuple[int, ...]:
        return tuple(int(part) for part in str(other).split("."))

    def __eq__(self, other: object) -> bool:
        return self.parts == self._of(other)

    def __lt__(self, other: object) -> bool:
        return self.parts < self._of(other)

    def __ge__(self, other: object) -> bool:
        return self.parts >= self._of(other)

    __hash__ = None  # type: ignore[assignment]


class Unwilling:
    """Refuses to be compared, asked or hashed."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("not with me")

    def __lt__(self, other: object) -> bool:
        raise ValueError("not with me")

    __hash__ = None  # type: ignore[assignment]


_KEYS = ["topic", "a", "a.b", "source.user.username", "n", "id"]
_LITERALS = ["x", "y", "xy", "1", "1.0", "10", "1e1", "-0", "null", "true", "false", "007", "9007199254740993"]
_PATTERNS = ["x*", "xy*", "1*", "*", "**", "*x", "*x*", "x*y", "x**"]
_HUGE = 2**53

_VALUES: list[Any] = [
    *("x", "y", "xy", "xyz", "x*y", "x*", "1", "10", "null", "true", "", "xx"),
    *(0, 1, 10, -1, _HUGE, _HUGE + 1, 10**400, True, False, None),
    *(0.0, -0.0, 1.0, 10.0, 9.5, float(_HUGE), float("nan"), float("inf")),
    *(Text("x"), Text("10"), Decimal(10), Decimal("NaN"), Fraction(1), 1j, b"x", Version(1), Version(10), Unwilling()),
]


# Functions that draw, since strategies that are spelled out in others make their repr grow beyond reason.
@st.composite
def _values(draw: st.DrawFn) -> Any:
    return draw(st.sampled_from(_VALUES))


@st.composite
def _conditions(draw: st.DrawFn, dialect: Dialect) -> Condition:
    operator = draw(st.sampled_from(["=", "=", "=", "=", "!=", ">", ">=", "<", "<="]))
    value = draw(st.sampled_from([*_LITERALS, *_LITERALS, *_PATTERNS]))
    return Condition(draw(st.sampled_from(_KEYS)), operator, value, draw(st.integers(0, 4)) == 0, dialect)


def trees(dialect: Dialect) -> st.SearchStrategy[Expression]:
    """Expressions of one dialect."""
    return st.one_of(
        st.just(Everything()),
        st.recursive(
            _conditions(dialect),
            lambda children: st.one_of(
                st.lists(children, min_size=2, max_size=3).map(And),
                st.lists(children, min_size=2, max_size=3).map(Or),
                children.map(Not),
            ),
            max_leaves=8,
        ),
    )


@st.composite
def _nested(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    lists = st.lists(values, max_size=3)
    return draw(st.one_of(values, lists, lists.map(tuple), lists.map(_set_of_texts), st.lists(lists, max_size=2)))


def _set_of_texts(items: list[Any]) -> frozenset[Any]:
    """A value that is no list, though one can walk through it."""
    return frozenset(item for item in items if type(item) is str)


_found = _nested(_values())
_users = st.fixed_dictionaries({}, optional={"user": _nested(st.fixed_dictionaries({}, optional={"username": _found}))})


@st.composite
def _fields(draw: st.DrawFn) -> dict[str, Any]:
    optional = {
        "topic": st.one_of(_values(), _found),
        "a": st.one_of(_found, _nested(st.fixed_dictionaries({"b": _found}))),
        "n": _found,
        "source": _nested(_users),
        "id": _values(),
    }
    return draw(st.fixed_dictionaries({}, optional=optional))


def _cyclic(fields: dict[str, Any]) -> dict[str, Any]:
    loop: list[Any] = [fields.get("a")]
    loop.append(loop)
    return {**fields, "a": loop}


def candidates() -> st.SearchStrategy[Any]:
    """Dicts, events, other mappings, lists of them, and what is nothing of the kind."""
    return st.one_of(
        _fields(),
        _fields(),
        _fields().map(_cyclic),
        _fields().map(OrderedDict),
        _fields().map(MappingProxyType),
        st.builds(Event, st.sampled_from(["x", "y"]), id=st.none() | st.just("x"), source=_users),
        st.lists(_fields(), max_size=2),
        _values(),
    )
