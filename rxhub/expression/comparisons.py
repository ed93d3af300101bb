"""The comparison operators: one table, which the lexer, the evaluator, the compiler, the index and the tests read.

To add an operator, add a row to `OPERATORS`. The rows below it are the wildcards, which `=` selects by its literal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from functools import lru_cache
from math import isfinite
from numbers import Complex, Number, Real
from operator import ge, gt, le, lt
from typing import Any, Final, NamedTuple, TypeAlias, assert_never, cast

from rxhub.expression.sorted_index import SortedIndex
from rxhub.expression.step_budget import current_budget

__all__ = [
    "CONSTANTS",
    "INTERPRETED",
    "MAX_CACHED_LENGTH",
    "OPERATORS",
    "AccessMethod",
    "Comparison",
    "Dialect",
    "Operand",
    "comparison_of",
    "operand_of",
    "parse_number",
]

CONSTANTS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None}
"""What these literals denote without quotes, besides their text."""

MAX_CACHED_LENGTH = 500
"""Characters of a text that caches keep: a client may send texts of a hundred thousand."""

INTERPRETED = "{itself}"
"""The template of a comparison that is not compiled."""

_NUMBER = r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_MAX_DIGITS = 4_000
_DIGITS_AT_ONCE = 500  # less than the lowest limit that sys.set_int_max_str_digits() accepts
# Python searches these strings in time that may grow with the product of both lengths.
_SHORT_TO_SEARCH = 30_000


class Dialect(Enum):
    """What a `*` means; the rest of the language is the same in both dialects.

    Attributes:
        RXHUB: `a*` starts with, `*a` ends with, `*a*` contains, `*` is present and not null, `**` is any string.
        FTRACK: as in ftrack's Python client, a trailing `*` means containment, and any other `*` is literal.
    """

    RXHUB = "rxhub"
    FTRACK = "ftrack"

    __hash__ = object.__hash__  # members are unique, and the hash of Enum is slow Python code

    def __repr__(self) -> str:
        return f"Dialect.{self.name}"


class AccessMethod(IntEnum):
    """How the index finds the conditions that hold for a value, the most selective way first."""

    EQUALITY = 0
    """By the value."""
    PREFIX = 1
    """By each beginning of a string."""
    RANGE = 2
    """In a sorted list of literals."""
    SCAN = 3
    """By testing one condition after the other: they hold for nearly every value."""


class Operand(NamedTuple):
    """The literal of a condition, without the `*` of a wildcard."""

    text: str
    quoted: bool
    number: int | float | None

    @property
    def form(self) -> str:
        """What it denotes: "number", "true", "false", "null" or "text"."""
        if self.number is not None:
            return "number"
        return "text" if self.quoted or self.text not in CONSTANTS else self.text


# Three times as fast as `Operand(…)`.
_new_operand: Callable[[type[Operand], tuple[str, bool, int | float | None]], Operand] = cast("Any", tuple).__new__
_Find: TypeAlias = Callable[[SortedIndex[Any], Any], list[Any]]


class Comparison(NamedTuple):
    """What an operator asks of the values at a path.

    Attributes:
        holds: tests one value. It may raise what the value raises, and return an object that has no truth value.
        templates: the test as Python source, by the form of the operand; "text" is the default, and without it the
            condition is interpreted. `v` is the value after `{value}`; `{0}` is the text, `{1}` the number; `{itself}`
            interprets the condition, `{other}` does so if `v` is none of JSON's scalars.
        access: how the index finds such conditions.
        examples: strings that it holds for; `{}` is the text.
        step: what to add to the number for a number that it holds for; None if there is none.
        operand: the part of the literal that values are compared with.
        find: for `AccessMethod.RANGE`, the items of a sorted index whose literals a value meets.
        negated: the condition holds if there are values, and `holds` is true for none of them.
        whole_lists: a list at the end of the path is one value; otherwise its items are the values.
    """

    holds: Callable[[Any, Operand], Any]
    templates: Mapping[str, str]
    access: AccessMethod
    examples: tuple[str, ...]
    step: int | None = None
    operand: slice = slice(None)
    find: _Find | None = None
    negated: bool = False
    whole_lists: bool = False

    def template(self, operand: Operand) -> str:
        return self.templates.get(operand.form) or self.templates.get("text", INTERPRETED)

    def example_values(self, operand: Operand) -> list[Any]:
        """Values that it holds for, the most natural one first."""
        numbers = [] if self.step is None or operand.number is None else [operand.number + self.step]
        return numbers + [example.format(operand.text) for example in self.examples]


def comparison_of(operator: str, literal: str, dialect: Dialect) -> Comparison:
    """The row of an operator, or of the wildcard that its literal is."""
    if operator == "=" and (literal[:1] == "*" or literal[-1:] == "*"):
        match dialect:
            case Dialect.RXHUB:
                return _wildcard(literal)
            case Dialect.FTRACK:
                return _CONTAINS_ITEM if literal[-1] == "*" else OPERATORS[operator]
            case _:
                assert_never(dialect)
    return OPERATORS[operator]


def _wildcard(literal: str) -> Comparison:
    if literal == "*":
        return _PRESENT
    if literal == "**":
        return _ANY_STRING
    if literal[-1] != "*":
        return _ENDS_WITH
    return _CONTAINS if literal[0] == "*" else _STARTS_WITH


def operand_of(comparison: Comparison, literal: str, quoted: bool) -> Operand:
    """What values are compared with."""
    number = None if quoted else parse_number(literal)
    return _new_operand(Operand, (literal[comparison.operand], quoted, number))


def parse_number(text: str) -> int | float | None:
    """The number that a bare literal denotes: what JSON reads as a number, at most 4,000 digits, finite.

    An exact integer, or the nearest double where there is a `.` or an exponent; None if it denotes no number.
    """
    return _parse_number(text) if len(text) <= MAX_CACHED_LENGTH else _parse_number.__wrapped__(text)


@lru_cache(maxsize=4_096)
def _parse_number(text: str) -> int | float | None:
    match = re.fullmatch(_NUMBER, text)
    if match is None or sum(map(str.isdigit, text)) > _MAX_DIGITS:
        return None
    if match[1] or match[2]:
        number = float(text)
        return number if isfinite(number) else None
    digits = text.lstrip("-")
    whole = 0
    for start in range(0, len(digits), _DIGITS_AT_ONCE):
        chunk = digits[start : start + _DIGITS_AT_ONCE]
        whole = whole * 10 ** len(chunk) + int(chunk)
    return -whole if text[0] == "-" else whole


# The evaluators. Strings, numbers and lists are recognized by their type, not by what a proxy says of itself.


def _equals(value: object, operand: Operand) -> Any:
    kind = type(value)
    if kind is str:
        return value == operand.text
    if value is None or kind is bool:
        return not operand.quoted and operand.text == ("null" if value is None else "true" if value else "false")
    if _is_number(kind):
        return operand.number is not None and value == operand.number
    return value == operand.text


def _is_number(kind: type) -> bool:
    if kind is int or kind is float:
        return True
    return kind is not bool and issubclass(kind, Number) and (issubclass(kind, Real) or not issubclass(kind, Complex))


def _is_present(value: object, _: Operand) -> bool:
    return value is not None


def _is_string(value: object, _: Operand) -> bool:
    return issubclass(type(value), str)


# Called as functions of `str`: the methods of a subclass are not trusted.


def _starts_with(value: object, operand: Operand) -> bool:
    return issubclass(type(value), str) and str.startswith(cast("str", value), operand.text)


def _ends_with(value: object, operand: Operand) -> bool:
    return issubclass(type(value), str) and str.endswith(cast("str", value), operand.text)


def _contains(value: object, operand: Operand) -> bool:
    if not issubclass(type(value), str):
        return False
    string = cast("str", value)
    if (budget := current_budget()) is not None:
        budget.spend(_search_steps(str.__len__(string), len(operand.text)))
    return str.__contains__(string, operand.text)


def _search_steps(length: int, part: int) -> int:
    """The steps of a search in a string of some length."""
    steps = length >> 5
    if length < _SHORT_TO_SEARCH or length < 3 * part:
        steps += length * max(0, min(part, length - part)) // 500
    return steps


def _contains_item(value: object, operand: Operand) -> Any:
    """The wildcard of ftrack's client: `text in value`.

    Only values with a `__contains__` are asked: for others Python would iterate, which would use up an iterator, or
    never end.
    """
    return hasattr(type(value), "__contains__") and operand.text in cast("Any", value)


# Equality is tried before the type: the most frequent path then asks for one type less.
_EQUAL: Final = "({value}) == {0} or v.__class__ is not str and "
_UNEQUAL: Final = "v != {0} if type({value}) is str else "
_IF_STRING: Final = " if type({value}) is str else {other}"


def _ordering(token: str, order: Callable[[Any, Any], Any], find: _Find, example: str, step: int) -> Comparison:
    def holds(value: object, operand: Operand) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return False
        if _is_number(kind):
            return operand.number is not None and order(value, operand.number)
        return order(value, operand.text)

    number = (
        f"v {token} {{1}} if (t := type({{value}})) is int or t is float "
        f"else v {token} {{0}} if t is str else {{other}}"
    )
    text = f"v {token} {{0}}{_IF_STRING}"
    return Comparison(holds, {"text": text, "number": number}, AccessMethod.RANGE, (example,), step, find=find)


OPERATORS: Final[Mapping[str, Comparison]] = {
    "=": Comparison(
        _equals,
        {
            "text": f"{_EQUAL}{{other}}",
            "number": f"{_EQUAL}(v == {{1}} if type(v) in numbers else {{other}})",
            **{
                text: f"({{value}}) is {value} or v == {{0}} or v.__class__ is not str and {{other}}"
                for text, value in CONSTANTS.items()
            },
        },
        AccessMethod.EQUALITY,
        ("{}",),
        0,
    ),
    "!=": Comparison(
        _equals,
        {
            "text": f"{_UNEQUAL}type(v) in atoms or {{itself}}",
            "number": (
                "v != {0} if (t := type({value})) is str else v != {1} if t in numbers else t in atoms or {itself}"
            ),
            **{
                text: f"{_UNEQUAL}v is not {value} if type(v) in atoms else {{itself}}"
                for text, value in CONSTANTS.items()
            },
        },
        AccessMethod.SCAN,
        ("{}x", ""),
        1,
        negated=True,
    ),
    ">=": _ordering(">=", ge, SortedIndex[Any].at_most, "{}", 0),
    "<=": _ordering("<=", le, SortedIndex[Any].at_least, "{}", 0),
    ">": _ordering(">", gt, SortedIndex[Any].below, "{}x", 1),
    "<": _ordering("<", lt, SortedIndex[Any].above, "", -1),
}

_PRESENT = Comparison(
    _is_present, {"text": "v is not None if type({value}) in atoms else {itself}"}, AccessMethod.SCAN, ("x", "")
)
_ANY_STRING = Comparison(_is_string, {"text": "type({value}) is str or {other}"}, AccessMethod.SCAN, ("x", ""))
_STARTS_WITH = Comparison(
    _starts_with,
    {"text": f"v.startswith({{0}}){_IF_STRING}"},
    AccessMethod.PREFIX,
    ("{}x", "{}"),
    operand=slice(None, -1),
)
_ENDS_WITH = Comparison(
    _ends_with, {"text": f"v.endswith({{0}}){_IF_STRING}"}, AccessMethod.SCAN, ("x{}", "{}"), operand=slice(1, None)
)
_CONTAINS = Comparison(
    _contains,
    # A search in a long string is counted by the interpreter.
    {"text": f"({{0}} in v if len(v) <= 256 else {{itself}}){_IF_STRING}"},
    AccessMethod.SCAN,
    ("x{}x", "{}"),
    operand=slice(1, -1),
)
_CONTAINS_ITEM = Comparison(
    _contains_item,
    {"text": f"({{0}} in v if len(v) <= 256 else {{itself}}){_IF_STRING}"},
    AccessMethod.SCAN,
    ("x{}x", "{}"),
    operand=slice(None, -1),
    whole_lists=True,
)
