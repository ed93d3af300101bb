"""The nodes of a parsed subscription: immutable, hashable, printable, and able to test a candidate.

For every tree, `parse(str(tree), dialect) == tree` (with limits that admit a tree of its size). So nodes reject what no
text denotes, and equality distinguishes what the text distinguishes: `a="1"` is not `a=1`.

An index may hold a million conditions. So a node holds only what was written, and equal keys share one string.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from operator import is_
from sys import intern
from typing import Any, Self, cast, final

from rxhub.errors import ExpressionError
from rxhub.expression.comparisons import OPERATORS, Dialect
from rxhub.expression.evaluate import holds, split_key
from rxhub.expression.tokens import BARE, ITEM, KEY, QUOTED
from rxhub.redaction.preview import is_secret_path
from rxhub.redaction.strings import REDACTED
from rxhub.text.displayable import Displayable

__all__ = ["And", "Condition", "Everything", "Expression", "Not", "Or", "condition_as_read"]

_pattern = cache(re.compile)  # compiled on first use, for a fast import
_set = object.__setattr__

# Beyond about 140 levels Python's recursion limit breaks `==`, `repr`, pickle and `deepcopy`.
_MAX_LEVELS = 120


class Expression(Displayable):
    """A parsed subscription: one node and its subtree."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """Levels of the tree, this node included."""
        return 1

    def matches(self, candidate: object) -> bool:
        """Whether this expression holds for a candidate, usually a nested mapping. Never raises."""
        raise NotImplementedError

    def without_secrets(self) -> Expression:
        """The expression with `***` for literals that are compared with secrets (`rxhub.redaction.secrets`)."""
        return self

    # Frozen by hand: creating four dataclasses would take a tenth of the import time of rxhub.

    def _parts(self) -> tuple[Any, ...]:
        """The fields that are compared."""
        return ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._parts() == cast("Expression", other)._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Cannot set {name!r}: an expression is immutable. Build another one.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Cannot delete {name!r}: an expression is immutable. Build another one.")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        dialect = "" if _dialect(self) is Dialect.RXHUB else f", {_dialect(self)!r}"
        return f"parse({str(self)!r}{dialect})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in self.__match_args__)


@final
class Everything(Expression):
    """The empty subscription: it matches everything."""

    __slots__ = ()

    def matches(self, candidate: object) -> bool:
        return True

    def __str__(self) -> str:
        return ""


@final
class Condition(Expression):
    """A comparison of the values at a path with a literal.

    Args:
        key: dotted path, such as `data.application.version`.
        operator: a key of `rxhub.expression.comparisons.OPERATORS`, such as `=`.
        value: the literal as it is written, without its quotes.
        quoted: whether it is quoted; then it denotes only a string, never a number, a bool or null.
        dialect: what a `*` in it means.

    Raises:
        ExpressionError: if no text denotes such a condition.
    """

    __slots__ = ("dialect", "key", "operator", "quoted", "value")
    __match_args__ = ("key", "operator", "value", "quoted", "dialect")

    key: str
    operator: str
    value: str
    quoted: bool
    dialect: Dialect

    def __init__(
        self, key: str, operator: str, value: str, quoted: bool = False, dialect: Dialect = Dialect.RXHUB
    ) -> None:
        key, operator, value = _plain(key, "key"), _plain(operator, "operator"), _plain(value, "value")
        if _pattern(KEY).fullmatch(key) is None:
            raise ExpressionError(
                f"{_quoted(key)} is not a valid key.",
                expected="letters, digits, `_`, `.`, `-`, not beginning with `not.`",
            )
        if operator not in OPERATORS:
            raise ExpressionError(f"{_quoted(operator)} is not an operator.", expected=f"one of {' '.join(OPERATORS)}")
        if quoted:
            _quotes(value)
        elif _pattern(BARE).fullmatch(value) is None:
            raise ExpressionError(
                f"The value {_quoted(value)} needs quotes.", hint="Build the condition with quoted=True."
            )
        if not isinstance(dialect, Dialect):
            raise ExpressionError(f"{_quoted(str(dialect))} is not a dialect.", expected="a member of Dialect")
        _fill(self, key, operator, value, bool(quoted), dialect)

    def _parts(self) -> tuple[Any, ...]:
        return self.key, self.operator, self.value, self.quoted, self.dialect

    def matches(self, candidate: object) -> bool:
        return holds(self, candidate)

    def without_secrets(self) -> Condition:
        if not is_secret_path(split_key(self.key)):
            return self
        return Condition(self.key, self.operator, REDACTED, True, self.dialect)

    def __str__(self) -> str:
        blank = "" if self.operator in {"=", "!="} else " "
        return f"{self.key}{blank}{self.operator}{blank}{self._literal}"

    @property
    def _literal(self) -> str:
        if not self.quoted:
            return self.value
        quote = _quotes(self.value)
        return f"{quote}{self.value}{quote}"


def condition_as_read(key: str, operator: str, value: str, quoted: bool, dialect: Dialect) -> Condition:
    """A condition that the lexer has read, which needs no checks."""
    condition = object.__new__(Condition)
    _fill(condition, key, operator, value, quoted, dialect)
    return condition


def _fill(condition: Condition, key: str, operator: str, value: str, quoted: bool, dialect: Dialect) -> None:
    # Equal keys and equal operators share one string.
    _set(condition, "key", intern(key))
    _set(condition, "operator", intern(operator))
    _set(condition, "value", value)
    _set(condition, "quoted", quoted)
    _set(condition, "dialect", dialect)


class _Junction(Expression):
    __slots__ = ("_depth", "children")
    __match_args__ = ("children",)

    children: tuple[Expression, ...]
    _depth: int

    def _parts(self) -> tuple[Any, ...]:
        return self.children

    @property
    def depth(self) -> int:
        return self._depth

    def __init__(self, children: Iterable[Expression]) -> None:
        children = tuple(children)
        if len(children) < 2:
            raise ExpressionError(
                f"{type(self).__name__} needs at least two expressions, but {len(children)} were given."
            )
        _set(self, "children", children)
        _set(self, "_depth", _levels_above(children))

    def without_secrets(self) -> Expression:
        children = [child.without_secrets() for child in self.children]
        return self if all(map(is_, children, self.children)) else type(self)(children)


@final
class And(_Junction):
    """Holds if all of its children, at least two, hold."""

    __slots__ = ()

    def matches(self, candidate: object) -> bool:
        for child in self.children:
            if not child.matches(candidate):
                return False
        return True

    def __str__(self) -> str:
        return " and ".join([_operand(child) for child in self.children])


@final
class Or(_Junction):
    """Holds if any of its children, at least two, holds. `key in (a, b)` is `key=a or key=b`."""

    __slots__ = ()

    def matches(self, candidate: object) -> bool:
        for child in self.children:
            if child.matches(candidate):
                return True
        return False

    def __str__(self) -> str:
        return self._membership() or " or ".join(
            [str(child) if isinstance(child, And) else _operand(child) for child in self.children]
        )

    def _membership(self) -> str:
        """The text `key in (…)` if it denotes this node, else an empty string."""
        first = self.children[0]
        if not isinstance(first, Condition) or first.dialect is not Dialect.RXHUB:
            return ""  # ftrack's client and server do not know `in`
        literals: list[str] = []
        for child in self.children:
            if not (isinstance(child, Condition) and child.key == first.key and child.operator == "="):
                return ""
            if not child.quoted and _pattern(ITEM).fullmatch(child.value) is None:
                return ""
            literals.append(child._literal)  # pyright: ignore[reportPrivateUsage]
        return f"{first.key} in ({', '.join(literals)})"


@final
class Not(Expression):
    """Holds if its child does not."""

    __slots__ = ("_depth", "child")
    __match_args__ = ("child",)

    child: Expression
    _depth: int

    def _parts(self) -> tuple[Any, ...]:
        return (self.child,)

    @property
    def depth(self) -> int:
        return self._depth

    def __init__(self, child: Expression) -> None:
        _set(self, "_depth", _levels_above((child,)))
        _set(self, "child", child)

    def matches(self, candidate: object) -> bool:
        return not self.child.matches(candidate)

    def without_secrets(self) -> Expression:
        child = self.child.without_secrets()
        return self if child is self.child else Not(child)

    def __str__(self) -> str:
        return f"not {_operand(self.child)}"


def _operand(node: Expression) -> str:
    """The text of a node as an operand of `and` or `not`."""
    text = str(node)
    if isinstance(node, And) or (isinstance(node, Or) and not node._membership()):  # pyright: ignore[reportPrivateUsage]
        return f"({text})"
    return text


def _levels_above(children: tuple[Expression, ...]) -> int:
    levels = 1
    dialects: set[Dialect] = set()
    for child in children:
        if not isinstance(child, Expression):
            raise ExpressionError(f"The nodes of a tree must be expressions, but {type(child).__name__} was given.")
        if isinstance(child, Everything):
            raise ExpressionError("The empty subscription cannot be part of another one.")
        levels = max(levels, child.depth)
        dialects.add(_dialect(child))
    if len(dialects) > 1:
        raise ExpressionError("The conditions of a tree must have the same dialect, but two were found.")
    if levels >= _MAX_LEVELS:
        raise ExpressionError(f"A tree has at most {_MAX_LEVELS} levels.", hint="Use one And or Or with many children.")
    return levels + 1


def _dialect(node: Expression) -> Dialect:
    while not isinstance(node, Condition):
        if isinstance(node, _Junction):
            node = node.children[0]
        elif isinstance(node, Not):
            node = node.child
        else:
            return Dialect.RXHUB
    return node.dialect


def _quotes(value: str) -> str:
    """The kind of quotes that a value can be written in; raises ExpressionError if there is none."""
    for quote in ('"', "'"):
        if _pattern(QUOTED).fullmatch(f"{quote}{value}{quote}"):
            return quote
    raise ExpressionError(
        f"The value {_quoted(value)} cannot be quoted.",
        expected="a value without `\"` or without `'` that does not end in a single backslash",
    )


def _plain(text: object, role: str) -> str:
    if type(text) is str:
        return text
    if not isinstance(text, str):
        raise ExpressionError(
            f"The {role} must be a string, but {type(text).__name__} was given.",
            hint='Write it as in a subscription: "10", not 10.',
        )
    return str.__str__(text)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
