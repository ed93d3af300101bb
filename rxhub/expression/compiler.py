"""Tree to function: an expression as the Python that one would have written by hand.

The theory of operation:

- The generated function is the fast road for what events are made of: exact `dict`s on the way, exact `str`, `int`,
  `float`, `bool` or None at the end. Whatever else it meets it hands to the condition itself (`Condition.matches`),
  so that lists, other mappings, version objects and the like have one meaning, which is written once.
- A key that is missing raises KeyError, which costs more than looking would, but is rare, and `try` is free. In a plain
  conjunction the answer is then False; otherwise the tree gives it.
- `v.__class__` costs a third of `type(v)`. A proxy may lie there, but only about being a dict or a text: the dict it
  stands for is entered, as `isinstance` would have it, and a text is compared in the same way as what is none.
- Equality is tried before the type is asked: the most frequent way through asks for one type less. This believes a
  list or a number of a class of its own that claims to equal a text.
- A shape is a tree without its constants. The source of a shape is compiled once, with placeholders for strings and
  numbers; each expression gets a copy of that code with its own strings and numbers in it. So no text of a user ever
  gets into a source. Constants in the code are a tenth faster than in a closure, and a copy takes microseconds, not a
  tenth of a millisecond.
- Only strings and numbers are put into the code. Conditions, which only slow paths ask, are in a closure: the language
  promises nothing for other objects in `co_consts`, and the first free-threaded builds of Python 3.13 crashed on them.
- A free-threaded build interns the constants of a code object and never frees them. There, strings and numbers are
  variables of the closure as well.
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
from rxhub.expression.comparisons import comparison_of, operand_of
from rxhub.expression.dialect import Dialect
from rxhub.expression.evaluate import split_key
from rxhub.expression.parser import as_tree

__all__ = ["compile", "compile_tree", "shapes_compiled"]

# A tree that is deeper or larger is interpreted: Python's own compiler recurses, and takes its time.
_MOST_LEVELS = 16
_MOST_CONSTANTS = 320
_IN_CODE = not get_config_var("Py_GIL_DISABLED")

Shape: TypeAlias = tuple[Any, ...]
"""`("and", shapes)`, `("or", shapes)` or `("not", shapes)`; of a condition its template, the number of steps of its
path and whether the first step is `id`."""

# The outer function is never called: its variables are those of the closure.
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
    "Event": Event,
    "Exception": Exception,
    "KeyError": KeyError,
    "atoms": frozenset({str, int, float, bool, type(None)}),
    "dict": dict,
    "float": float,
    "empty": {},
    "get": vars(dict)["get"],
    "int": int,
    "isinstance": isinstance,
    "len": len,
    "numbers": frozenset({int, float}),
    "str": str,
    "type": type,
}


def compile(expression: str | Expression, dialect: Dialect = Dialect.RXHUB) -> Callable[[Mapping[str, Any]], bool]:
    """Make a function that tells whether a candidate matches.

    Args:
        expression: a subscription, or its tree.
        dialect: what a `*` in the text means; a tree knows its own.

    Returns:
        A function that answers as `Expression.matches` does, many times as fast. Like it, it never raises.

    Raises:
        ExpressionError: if the text is no subscription.
    """
    return compile_tree(as_tree(expression, dialect))


def compile_tree(tree: Expression) -> Callable[[object], bool]:
    """Make the function of a tree, in some microseconds once its shape is known."""
    if tree.depth > _MOST_LEVELS or isinstance(tree, Everything):
        return tree.matches
    constants: list[object] = [tree]
    shape = _shape(tree, constants)
    if len(constants) > _MOST_CONSTANTS:
        return tree.matches
    code, places = _template(shape, _IN_CODE)
    if places:
        filled = list(code.co_consts)
        for place, number in places:
            filled[place] = constants[number]
        code = code.replace(co_consts=tuple(filled))
    # Beside the constants as a whole, a variable of the closure has the number of its constant in its name.
    cells = [CellType(constants if name == "constants" else constants[int(name[1:])]) for name in code.co_freevars]
    return cast("Callable[[object], bool]", FunctionType(code, _NAMES, closure=tuple(cells)))


def _shape(node: Expression, constants: list[object]) -> Shape:
    """The shape of a tree; its constants are put behind those that are there, in the order in which it is written."""
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
            raise TypeError(f"{type(node).__name__} is no part of a tree.")


@lru_cache(maxsize=1_024)
def _template(shape: Shape, in_code: bool) -> tuple[CodeType, tuple[tuple[int, int], ...]]:
    """The code of a shape, and which of its constants stands for which of an expression's.

    Args:
        shape: of the tree.
        in_code: whether strings and numbers are constants of the code; else they are variables of the closure.
    """
    numbers = count(1)  # the first constant is the tree
    test = _source(shape, numbers, "'@{}'" if in_code else "c{}")
    variables = [] if in_code else [f"c{number}" for number in range(next(numbers))]
    source = _FUNCTION.format(
        closure=", ".join(["constants", *variables]),
        test=test,
        # An event makes its id when it is first asked for `fields`, which takes longer than most expressions.
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
    """How many shapes Python's own compiler was called for: each takes up to two milliseconds."""
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
    """Whether one condition that fails, for a missing key say, makes the whole fail."""
    return shape[0] not in {"or", "not"} and (
        shape[0] != "and" or all(child[0] not in {"and", "or", "not"} for child in shape[1])
    )
