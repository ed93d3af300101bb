"""`ftrack_api.event.expression`: expressions in ftrack's classes and words, read and tested by rxhub.

What `Parser` reads is rxhub's tree in ftrack's dialect, dressed as ftrack's nodes. What is built by hand, perhaps with
values that no text denotes or with nodes of a program's own, is tested as ftrack does it, but never raises.
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
    """Reads subscriptions."""

    def __init__(self) -> None:
        self._operators = _OPERATORS

    def parse(self, expression: str) -> Expression:
        """The expression that a text denotes; the empty text denotes one that always matches.

        Raises:
            ParseError: if it denotes none.
        """
        try:
            return _dressed(parse(expression, Dialect.FTRACK))
        except ExpressionError as error:
            raise refusal(expression, error) from error


def refusal(expression: str, error: ExpressionError) -> exception.ParseError:
    """The error that ftrack's parser raises for a text, with rxhub's explanation."""
    refused = exception.ParseError(f"Failed to parse: {expression}. {error}")
    refused.text, refused.position = error.text, error.position
    refused.expected, refused.hint = error.expected, error.hint
    return refused


class Expression:
    """Whatever can be tested; itself, what always matches."""

    def __str__(self) -> str:
        return f"<{type(self).__name__}>"

    __repr__ = __str__

    def match(self, candidate: Anything) -> bool:
        """Whether the candidate satisfies this expression."""
        return True


class All(Expression):
    """Matches what all of its expressions match; without any, always."""

    def __init__(self, expressions: Iterable[Expression] | None = None) -> None:
        self._expressions = list(expressions or [])

    def __str__(self) -> str:
        return f"<{type(self).__name__} [{' '.join(map(str, self._expressions))}]>"

    def match(self, candidate: Anything) -> bool:
        return all(expression.match(candidate) for expression in self._expressions)


class Any(Expression):
    """Matches what any of its expressions matches; without any, never."""

    def __init__(self, expressions: Iterable[Expression] | None = None) -> None:
        self._expressions = list(expressions or [])

    def __str__(self) -> str:
        return f"<{type(self).__name__} [{' '.join(map(str, self._expressions))}]>"

    def match(self, candidate: Anything) -> bool:
        return any(expression.match(candidate) for expression in self._expressions)


class Not(Expression):
    """Matches what its expression does not."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._expression}>"

    def match(self, candidate: Anything) -> bool:
        return not self._expression.match(candidate)


class Condition(Expression):
    """Compares what stands at a dotted key with a value.

    Args:
        key: the path.
        operator: a function of the module `operator`.
        value: what the found value is compared with. A text that ends with `*` means containment, with `operator.eq`.
    """

    _read: tree.Condition | None = None  # what a text denoted, if it was read from one

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
        if self._read is not None:
            return self._read.matches(candidate)
        try:
            value = candidate
            for step in self._key.split("."):
                value = value[step]
            if self._operator is operator.eq and isinstance(self._value, str) and self._value[-1:] == self._wildcard:
                return bool(self._value[:-1] in value)
            return bool(self._operator(value, self._value))
        except Exception:
            # A key is missing, or the two cannot be compared.
            return False


def _dressed(node: tree.Expression) -> Expression:
    match node:
        case tree.And(children):
            return All(map(_dressed, children))
        case tree.Or(children):
            return Any(map(_dressed, children))
        case tree.Not(child):
            return Not(_dressed(child))
        case tree.Condition(key, sign, value):
            condition = Condition(key, _OPERATORS[sign], value)
            condition._read = node  # pyright: ignore[reportPrivateUsage]
            return condition
        case _:
            return Expression()
