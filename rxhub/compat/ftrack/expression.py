"""`ftrack_api.event.expression`: ftrack's expression classes over rxhub's parser.

Nodes that a program builds itself match as in ftrack's client, except that they never raise.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any as Anything

from rxhub.compat.ftrack import exception
from rxhub.errors import ExpressionError
from rxhub.expression import Dialect, parse
from rxhub.expression import ast as tree

__all__ = ["All", "Any", "Condition", "Expression", "Not", "Parser"]

_OPERATORS: dict[str, Callable[[Anything, Anything], Anything]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class Parser:
    """Parses subscriptions."""

    def __init__(self) -> None:
        self._operators = _OPERATORS

    def parse(self, expression: str) -> Expression:
        """Parse an expression, or raise ParseError; the empty string matches everything."""
        try:
            return _wrapped(parse(expression, Dialect.FTRACK))
        except ExpressionError as error:
            failure = exception.ParseError(f"Failed to parse: {expression}. {error}")
            failure.text, failure.position = error.text, error.position
            failure.expected, failure.hint = error.expected, error.hint
            raise failure from error


class Expression:
    """Base of the expressions; matches everything."""

    def __str__(self) -> str:
        return f"<{type(self).__name__}>"

    __repr__ = __str__

    def match(self, candidate: Anything) -> bool:
        """Whether the candidate satisfies this expression."""
        return True


class _Group(Expression):
    def __init__(self, expressions: Iterable[Expression] | None = None) -> None:
        self._expressions = list(expressions or [])

    def __str__(self) -> str:
        return f"<{type(self).__name__} [{' '.join(map(str, self._expressions))}]>"


class All(_Group):
    """Matches if all expressions match."""

    def match(self, candidate: Anything) -> bool:
        return all(expression.match(candidate) for expression in self._expressions)


class Any(_Group):
    """Matches if any expression matches."""

    def match(self, candidate: Anything) -> bool:
        return any(expression.match(candidate) for expression in self._expressions)


class Not(Expression):
    """Matches if its expression does not."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._expression}>"

    def match(self, candidate: Anything) -> bool:
        return not self._expression.match(candidate)


class Condition(Expression):
    """Compares the value at a dotted key with a literal, by a function of the module `operator`.

    With `operator.eq`, a string that ends with `*` means containment.
    """

    _parsed: tree.Condition | None = None

    def __init__(self, key: str, operator: Anything, value: Anything) -> None:
        self._key = key
        self._operator = operator
        self._value = value
        self._wildcard = "*"
        self._operatorMapping = {function: sign for sign, function in _OPERATORS.items()}

    def __str__(self) -> str:
        sign = self._operatorMapping.get(self._operator, self._operator)
        return f"<{type(self).__name__} {self._key}{sign}{self._value}>"

    def match(self, candidate: Anything) -> bool:
        if self._parsed is not None:
            return self._parsed.matches(candidate)
        try:
            value = candidate
            for step in self._key.split("."):
                value = value[step]
            if self._operator is operator.eq and isinstance(self._value, str) and self._value[-1:] == self._wildcard:
                return bool(self._value[:-1] in value)
            return bool(self._operator(value, self._value))
        except Exception:
            # A key is missing, or the values cannot be compared.
            return False


def _wrapped(node: tree.Expression) -> Expression:
    match node:
        case tree.And(children):
            return All(map(_wrapped, children))
        case tree.Or(children):
            return Any(map(_wrapped, children))
        case tree.Not(child):
            return Not(_wrapped(child))
        case tree.Condition(key, sign, value):
            condition = Condition(key, _OPERATORS[sign], value)
            condition._parsed = node  # pyright: ignore[reportPrivateUsage]
            return condition
        case _:
            return Expression()
