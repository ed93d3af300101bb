"""Tree to function: an expression as the Python that one would have written by hand.

The theory of operation:

- The generated function is the fast road for what events are made of: exact `dict`s on the way, exact `str`, `int`,
  `float`, `bool` or None at the end. Whatever else it meets it hands to the condition itself (`Condition.matches`),
  or to the whole tree, so that lists, proxies, version objects and the like have one meaning, which is written once.
- The first step is `[]` on an exact dict. Each further one is `dict.get` itself: Python calls it as fast as a
  method, it refuses what is no dict with a TypeError, and it does not make a defaultdict grow.
- A key that is missing at the first step raises KeyError, which costs more than looking would, but is rare, and `try`
  is free. In a plain conjunction the answer is then False; otherwise the tree gives it.
- Equality is tried before the type is asked: the most frequent way through asks for one type less. This believes a
  list or a number of a class of its own that claims to equal a text.
- No text of the user gets into the source. The source is compiled once for each shape with placeholders in
  the places of constants, and every expression of that shape is a copy of the code with its own constants.
  Constants in the code are a tenth faster than in a closure, and a copy takes a microsecond instead of a hundred.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, cast

from rxhub.event import Event
from rxhub.expression.dialect import Dialect
from rxhub.expression.parser import parsed
from rxhub.expression.tree import And, Condition, Everything, Expression, Not, Or
from rxhub.expression.values import is_containment, numeral, path_of

__all__ = ["compile", "compile_tree"]

# Nested deeper, or with more conditions, a tree is interpreted: Python's own compiler recurses, and takes its time.
_MOST_LEVELS = 16
_MOST_CONDITIONS = 64

_NAMED = {"true": "True", "false": "False", "null": "None"}

_GLOBALS: dict[str, Any] = {
    "Event": Event,
    "Exception": Exception,
    "KeyError": KeyError,
    "atoms": frozenset({str, int, float, bool, type(None)}),
    "dict": dict,
    "empty": {},
    "float": float,
    "get": dict.get,
    "int": int,
    "isinstance": isinstance,
    "missing": object(),
    "numbers": frozenset({int, float}),
    "str": str,
    "type": type,
}

_SOURCE = """\
def matches(candidate):
    try:
        if candidate.__class__ is not dict:
            if not isinstance(candidate, Event):
                return {tree}.matches(candidate)
            candidate = candidate.{fields}
        if {test}:
            return True
        return False
    except KeyError:
        return {missing}
    except Exception:
        return {tree}.matches(candidate)
"""


def compile(expression: str | Expression, dialect: Dialect = Dialect.RXHUB) -> Callable[[Mapping[str, Any]], bool]:
    """Make a function that tells whether a candidate matches.

    Args:
        expression: a subscription, or its tree.
        dialect: what a `*` in the text means; a tree knows its own.

    Returns:
        A function that answers as `Expression.matches` does, several times as fast. Like it, it never raises.

    Raises:
        ExpressionError: if the text is no subscription.
    """
    return compile_tree(parsed(expression, dialect))


def compile_tree(tree: Expression) -> Callable[[object], bool]:
    """Make the function of a tree. Building it costs some microseconds once its shape is known."""
    if isinstance(tree, Everything) or tree.depth > _MOST_LEVELS or _conditions(tree) > _MOST_CONDITIONS:
        return tree.matches
    writer = _Writer(tree)
    template, places = _template(writer.source())
    constants = list(template.co_consts)
    for place, number in places:
        constants[place] = writer.constants[number]
    return cast("Callable[[object], bool]", FunctionType(template.replace(co_consts=tuple(constants)), _GLOBALS))


@lru_cache(maxsize=1_024)
def _template(source: str) -> tuple[CodeType, tuple[tuple[int, int], ...]]:
    """The code of a shape, and which of its constants is which placeholder."""
    module = builtins.compile(source, "<subscription>", "exec")
    code = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    places = [
        (place, int(constant[1:]))
        for place, constant in enumerate(code.co_consts)
        if isinstance(constant, str) and constant[:1] == "@"
    ]
    return code, tuple(places)


def _conditions(tree: Expression) -> int:
    match tree:
        case And(children) | Or(children):
            return sum(map(_conditions, children))
        case Not(child):
            return _conditions(child)
        case _:
            return 1


class _Writer:
    """Writes the source of one tree and gathers its constants. The source is the same for all trees of a shape."""

    def __init__(self, tree: Expression) -> None:
        self._tree = tree
        self._reads_id = False
        self.constants: list[object] = []

    def source(self) -> str:
        tree = self._constant(self._tree)
        test = self._test(self._tree)
        return _SOURCE.format(
            tree=tree,
            test=test,
            # An event makes its id when first asked for `fields`.
            fields="fields" if self._reads_id else "_fields",
            missing="False" if _is_conjunction(self._tree) else f"{tree}.matches(candidate)",
        )

    def _constant(self, value: object) -> str:
        self.constants.append(value)
        return f"'@{len(self.constants) - 1}'"

    def _test(self, node: Expression) -> str:
        match node:
            case And(children):
                return "(" + " and ".join(map(self._test, children)) + ")"
            case Or(children):
                return "(" + " or ".join(map(self._test, children)) + ")"
            case Not(child):
                return f"(not {self._test(child)})"
            case Condition():
                return self._condition(node)
            case _:
                raise TypeError(f"{type(node).__name__} cannot be compiled.")

    def _condition(self, condition: Condition) -> str:
        first, *further = path_of(condition.key)
        self._reads_id |= first == "id"
        value = f"candidate[{self._constant(first)}]"
        for step in further[:-1]:
            value = f"get({value}, {self._constant(step)}, empty)"
        if further:
            value = f"get({value}, {self._constant(further[-1])}, missing)"
        return f"({self._comparison(condition, f'v := {value}', f'{self._constant(condition)}.matches(candidate)')})"

    def _comparison(self, condition: Condition, value: str, itself: str) -> str:
        """The test of the value at the end of the path, which it names `v`."""
        operator, text = condition.operator, condition.value
        present = "" if "missing" not in value else "v is not missing and "
        other = f"type(v) not in atoms and {present}{itself}"
        if is_containment(condition):
            return f"{self._constant(text[:-1])} in v if type({value}) is str else {other}"
        if operator == "=" and condition.dialect is Dialect.RXHUB and "*" in {text[:1], text[-1:]}:
            return self._wildcard(text, value, itself, other)

        literal = self._constant(text)
        number = None if condition.quoted else numeral(text)
        named = "" if condition.quoted else _NAMED.get(text, "")
        if operator == "=":
            if named:
                return f"({value}) is {named} or v == {literal} or v.__class__ is not str and {other}"
            if number is not None:
                other = f"(v == {self._constant(number)} if type(v) in numbers else {other})"
            return f"({value}) == {literal} or v.__class__ is not str and {other}"
        if operator == "!=":
            differs = f"v is not {named}" if named else "True"
            if number is not None:
                differs = f"(type(v) not in numbers or v != {self._constant(number)})"
            return f"v != {literal} if type({value}) is str else {differs} if type(v) in atoms else {present}{itself}"
        if number is None:
            return f"v {operator} {literal} if type({value}) is str else {other}"
        numeric = f"v {operator} {self._constant(number)} if type({value}) is int or type(v) is float"
        return f"{numeric} else v {operator} {literal} if type(v) is str else {other}"

    def _wildcard(self, text: str, value: str, itself: str, other: str) -> str:
        if text == "*":
            return f"v is not None if type({value}) in atoms else {itself}"
        if text == "**":
            return f"type({value}) is str or {other}"
        if text[-1] != "*":
            return f"v.endswith({self._constant(text[1:])}) if type({value}) is str else {other}"
        if text[0] != "*":
            return f"v.startswith({self._constant(text[:-1])}) if type({value}) is str else {other}"
        return f"{self._constant(text[1:-1])} in v if type({value}) is str else {other}"


def _is_conjunction(tree: Expression) -> bool:
    """Whether one condition that fails, for a missing key say, makes all fail."""
    return isinstance(tree, Condition) or (
        isinstance(tree, And) and all(isinstance(child, Condition) for child in tree.children)
    )
