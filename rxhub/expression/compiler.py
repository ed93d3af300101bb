"""Compile an expression to the Python function that one would write by hand.

- The function handles the usual values: exact `dict`s on the path, and an exact `str`, `int`, `float`, `bool` or None
  at its end. It passes everything else to `Condition.matches`, so that one place handles lists and other mappings.
- `v.__class__` costs a third of `type(v)`. A proxy may only pretend to be a dict, which is entered as with
  `isinstance`, or a string, which is compared like any other value.
- The source of a shape, a tree without its constants, is compiled once, with placeholders for strings and numbers; each
  expression gets a copy of the code with its own constants, so no user's text gets into source code. Constants in the
  code are 10 % faster than closure variables, and a copy takes microseconds instead of 0.1 ms.
- Conditions, which only slow paths use, are in a closure: the first free-threaded builds of 3.13 crashed on other
  objects in `co_consts`. Those builds never free constants, so there strings and numbers are closure variables, too.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import count
from sysconfig import get_config_var
from types import CellType, CodeType, FunctionType
from typing import Any, TypeAlias, cast

from rxhub.event import Event
from rxhub.expression.ast import And, Condition, Everything, Expression, Not, Or
from rxhub.expression.comparisons import Dialect, comparison_of, operand_of
from rxhub.expression.evaluate import split_key
from rxhub.expression.parser import as_tree

__all__ = ["compile", "compile_tree", "shapes_compiled"]

# Deeper or larger trees are interpreted: Python's compiler recurses, and is slow.
_MAX_LEVELS = 16
_MAX_CONSTANTS = 320
_IN_CODE = not get_config_var("Py_GIL_DISABLED")

Shape: TypeAlias = tuple[Any, ...]
"""`("and", shapes)`, `("or", shapes)` or `("not", shapes)`; of a condition its template, the number of steps of its
path and whether the first step is `id`."""

# The outer function is never called: it declares the closure variables.
_FUNCTION = """\
def outer({closure}):
    def matches(candidate):
        try:
            if candidate.__class__ is not dict:
                if not isinstance(candidate, Event):
                    return constants[0].matches(candidate)
                candidate = candidate.{fields}
            if {test}:
                return True
            return False
        except KeyError:
            return {missing}
        except Exception:
            return constants[0].matches(candidate)
"""

_NAMES: dict[str, Any] = {
    "atoms": frozenset({str, int, float, bool, type(None)}),
    "numbers": frozenset({int, float}),
    **{name.__name__: name for name in (Event, Exception, KeyError, dict, float, int, isinstance, len, str, type)},
}


def compile(expression: str | Expression, dialect: Dialect = Dialect.RXHUB) -> Callable[[Mapping[str, Any]], bool]:
    """Compile an expression to a function with the result of `Expression.matches`, many times faster. It never raises.

    Args:
        expression: a subscription, or its tree.
        dialect: what a `*` in the text means; a tree has its own.

    Raises:
        ExpressionError: if the text is not a valid subscription.
    """
    return compile_tree(as_tree(expression, dialect))


def compile_tree(tree: Expression) -> Callable[[object], bool]:
    """Compile a tree; this takes microseconds once its shape is known."""
    if tree.depth > _MAX_LEVELS or isinstance(tree, Everything):
        return tree.matches
    constants: list[object] = [tree]
    shape = _shape(tree, constants)
    if len(constants) > _MAX_CONSTANTS:
        return tree.matches
    code, places = _template(shape, _IN_CODE)
    if places:
        filled = list(code.co_consts)
        for place, number in places:
            filled[place] = constants[number]
        code = code.replace(co_consts=tuple(filled))
    # A closure variable is the list of all constants, or has the number of its constant in its name.
    cells = [CellType(constants if name == "constants" else constants[int(name[1:])]) for name in code.co_freevars]
    return cast("Callable[[object], bool]", FunctionType(code, _NAMES, closure=tuple(cells)))


def _shape(node: Expression, constants: list[object]) -> Shape:
    """The shape of a tree; its constants are appended in the order of the text."""
    match node:
        case Condition(key, operator, text, quoted, dialect):
            path = split_key(key)
            comparison = comparison_of(operator, text, dialect)
            operand = operand_of(comparison, text, quoted)
            constants += (*path, operand.text, operand.number, node)
            return comparison.template(operand), len(path), path[0] == "id"
        case And(children):
            return "and", tuple([_shape(child, constants) for child in children])
        case Or(children):
            return "or", tuple([_shape(child, constants) for child in children])
        case Not(child):
            return "not", (_shape(child, constants),)
        case _:
            raise TypeError(f"{type(node).__name__} is not a node of a tree.")


@lru_cache(maxsize=1_024)
def _template(shape: Shape, in_code: bool) -> tuple[CodeType, tuple[tuple[int, int], ...]]:
    """The code of a shape, and pairs of an index into its constants and the number of the expression's constant.

    Strings and numbers are constants of the code if `in_code`, else closure variables.
    """
    numbers = count(1)  # the first constant is the tree
    test = _source(shape, numbers, "'@{}'" if in_code else "c{}")
    variables = [] if in_code else [f"c{number}" for number in range(next(numbers))]
    source = _FUNCTION.format(
        closure=", ".join(["constants", *variables]),
        test=test,
        # An event creates its id when `fields` is first read, which takes longer than most expressions.
        fields="fields" if _reads_id(shape) else "_fields",
        missing="False" if _is_conjunction(shape) else "constants[0].matches(candidate)",
    )
    code = builtins.compile(source, "<subscription>", "exec")
    for _ in range(2):  # the outer function, and the inner one
        code = next(constant for constant in code.co_consts if isinstance(constant, CodeType))
    places = [
        (place, int(constant[1:]))
        for place, constant in enumerate(code.co_consts)
        if isinstance(constant, str) and constant[:1] == "@"
    ]
    return code, tuple(places)


def shapes_compiled() -> int:
    """The number of shapes that Python's compiler has compiled; each takes up to 2 ms."""
    return _template.cache_info().misses


def _source(shape: Shape, numbers: Iterator[int], placeholder: str) -> str:
    kind = shape[0]
    if kind in {"and", "or"}:
        return "(" + f" {kind} ".join([_source(child, numbers, placeholder) for child in shape[1]]) + ")"
    if kind == "not":
        return f"(not {_source(shape[1][0], numbers, placeholder)})"
    *steps, text, number = [placeholder.format(next(numbers)) for _ in range(shape[1] + 2)]
    itself = f"constants[{next(numbers)}].matches(candidate)"
    holders = ["candidate", *["v"] * (len(steps) - 1)]
    *above, value = [f"v := {holder}[{step}]" for holder, step in zip(holders, steps, strict=True)]
    test = kind.format(text, number, value=value, itself=itself, other=f"type(v) not in atoms and {itself}")
    if not above:
        return f"({test})"
    entered = " and ".join([f"({step}).__class__ is dict" for step in above])
    return f"(({test}) if {entered} else {itself})"


def _reads_id(shape: Shape) -> bool:
    return any(map(_reads_id, shape[1])) if shape[0] in {"and", "or", "not"} else shape[2]


def _is_conjunction(shape: Shape) -> bool:
    """Whether the whole fails if one condition fails, for example because its key is missing."""
    return shape[0] not in {"or", "not"} and (
        shape[0] != "and" or all(child[0] not in {"and", "or", "not"} for child in shape[1])
    )
