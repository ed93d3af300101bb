"""Split a subscription into tokens: conditions, `and`, `or`, `not` and parentheses.

The lexer has two states, each with one pattern: before an operand (a condition, with `not`s and opening parentheses
before it) and after one. `diagnostics` explains texts that do not match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rxhub.errors import ExpressionError
from rxhub.expression.ast import Condition, Expression, Or, condition_as_read
from rxhub.expression.comparisons import Dialect
from rxhub.expression.diagnostics import not_a_continuation, not_an_item, not_an_operand, unclosed
from rxhub.expression.tokens import AND, BARE, IN, ITEM, KEY, NOT, OPERATOR, OR, QUOTED

__all__ = ["Lexer", "ParseLimits"]

_BEFORE = re.compile(
    rf"""\s*+(?:(?P<NOT>{NOT})|(?P<OPEN>\()|(?P<KEY>{KEY})\s*+(?:"""
    rf"""(?P<OPERATOR>{OPERATOR})\s*+(?:(?P<BARE>{BARE})|(?P<QUOTED>{QUOTED}))|(?P<LIST>{IN}\s*+\()))"""
)
_AFTER = re.compile(rf"\s*+(?:(?P<AND>{AND})|(?P<OR>{OR})|(?P<CLOSE>\))|(?P<END>\Z))")
_ITEM = re.compile(rf"\s*+(?:(?P<BARE>{ITEM})|(?P<QUOTED>{QUOTED}))\s*+(?P<MORE>[,)])")


class ParseLimits(NamedTuple):
    """The limits of one text; see `parse`."""

    length: int
    conditions: int
    depth: int


class Lexer:
    """Splits one text, once. Raises ExpressionError if it is invalid or exceeds a limit."""

    __slots__ = ("_conditions", "_dialect", "_limits", "_open", "_position", "_text")

    def __init__(self, text: str, dialect: Dialect, limits: ParseLimits) -> None:
        if len(text) > limits.length:
            raise ExpressionError(
                f"The subscription has {len(text)} characters; the limit is {limits.length}.",
                hint="Raise the limit with max_length.",
            )
        self._text = text
        self._dialect = dialect
        self._limits = limits
        self._position = 0
        self._conditions = 0
        self._open: list[str] = []  # the `not`s and parentheses that are not closed yet

    def tokens(self) -> Iterator[tuple[str, Expression | None]]:
        """The tokens in order: the name of a terminal of the grammar and, for a condition, its tree.

        Parentheses are balanced.
        """
        while True:
            match, kind = self._next(_BEFORE, not_an_operand)
            while kind == "NOT" or kind == "OPEN":
                self._begin(kind, match.start(kind))
                yield kind, None
                match, kind = self._next(_BEFORE, not_an_operand)

            yield "CONDITION", self._membership(match) if kind == "LIST" else self._condition(match)
            self._end_nots()

            match, kind = self._next(_AFTER, self._not_a_continuation)
            while kind == "CLOSE":
                if not self._open:
                    raise not_a_continuation(self._text, match.start(kind))
                yield kind, None
                self._open.pop()
                self._end_nots()
                match, kind = self._next(_AFTER, self._not_a_continuation)

            if kind == "END":
                if self._open:
                    raise unclosed(self._text)
                return
            yield kind, None

    def _next(
        self, pattern: re.Pattern[str], mistake: Callable[[str, int], ExpressionError]
    ) -> tuple[re.Match[str], str]:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise mistake(self._text, self._position)
        self._position = match.end()
        return match, match.lastgroup or ""

    def _not_a_continuation(self, text: str, position: int) -> ExpressionError:
        return not_a_continuation(text, position, nested="OPEN" in self._open)

    def _begin(self, kind: str, position: int) -> None:
        self._open.append(kind)
        limit = self._limits.depth
        if len(self._open) > limit:
            raise ExpressionError(
                f"More than {limit} parentheses and `not`s are nested.",
                self._text,
                position,
                hint="Nest less, or raise the limit with max_depth.",
            )

    def _end_nots(self) -> None:
        while self._open and self._open[-1] == "NOT":
            self._open.pop()

    def _condition(self, match: re.Match[str]) -> Expression:
        self._count(match)
        key, operator, bare, quoted = match.group("KEY", "OPERATOR", "BARE", "QUOTED")
        return self._read(key, operator, bare, quoted)

    def _read(self, key: str, operator: str, bare: str | None, quoted: str) -> Condition:
        if bare is not None:
            return condition_as_read(key, operator, bare, False, self._dialect)
        return condition_as_read(key, operator, quoted[1:-1], True, self._dialect)

    def _membership(self, match: re.Match[str]) -> Expression:
        key = match["KEY"]
        conditions: list[Condition] = []
        more = True
        while more:
            match, _ = self._next(_ITEM, not_an_item)
            self._count(match)
            bare, quoted, sign = match.group("BARE", "QUOTED", "MORE")
            conditions.append(self._read(key, "=", bare, quoted))
            more = sign == ","
        return conditions[0] if len(conditions) == 1 else Or(tuple(conditions))

    def _count(self, match: re.Match[str]) -> None:
        self._conditions += 1
        limit = self._limits.conditions
        if self._conditions > limit:
            raise ExpressionError(
                f"The subscription has more than {limit} conditions.",
                self._text,
                match.start(),
                hint="Each value of an `in` counts as one. Raise the limit with max_conditions.",
            )
