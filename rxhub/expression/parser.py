"""Text to tree: the words are read one by one, and lark nests them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, cast

from rxhub.errors import ExpressionError
from rxhub.expression.ast import And, Everything, Expression, Not, Or
from rxhub.expression.dialect import Dialect

if TYPE_CHECKING:
    from lark import Lark, Token

__all__ = ["as_tree", "parse"]


def parse(
    text: str,
    dialect: Dialect = Dialect.RXHUB,
    *,
    max_length: int = 131_072,
    max_conditions: int = 2_000,
    max_depth: int = 50,
) -> Expression:
    """Read a subscription, in time proportional to its length.

    The limits keep a text that comes from a stranger from costing more than a fraction of a second.

    Args:
        text: the subscription; blank, it matches everything.
        dialect: what a `*` in a value means.
        max_length: characters at most.
        max_conditions: conditions at most; each value of an `in (…)` counts as one.
        max_depth: parentheses and `not`s open at once, at most.

    Returns:
        The tree. `str()` of it parses to an equal tree.

    Raises:
        ExpressionError: if the text is no subscription, or exceeds a limit.
    """
    if not isinstance(text, str):
        hint = 'It comes before the function: @hub.on("topic=studio.*").' if callable(text) else ""
        raise ExpressionError(f"A subscription is text, but {type(text).__name__} was found.", hint=hint)
    if not isinstance(dialect, Dialect):
        raise ExpressionError(f"There is no dialect {dialect!r}.", expected="a member of Dialect")
    text = str.__str__(text)  # a subclass may have its own idea of slicing
    # Here, not above: the patterns of words cost a program more to start with than to import on first use.
    from rxhub.expression.lexer import Lexer, ParseLimits

    reader = Lexer(text, dialect, ParseLimits(max_length, max_conditions, max_depth))
    if not text or text.isspace():
        return Everything()
    words = list(reader.words())
    # Nearly all subscriptions in use are one condition, or conditions joined by one word. They need no nesting, and
    # a program that has no others never imports lark, which takes longer than all of rxhub.
    kinds = {kind for kind, _ in words}
    trees = [tree for _, tree in words if tree is not None]
    if kinds == {"CONDITION"}:
        return trees[0]
    if kinds == {"CONDITION", "AND"}:
        return And(trees)
    if kinds == {"CONDITION", "OR"}:
        return Or(trees)
    return cast("Any", _nesting()).parse(words)


def as_tree(expression: str | Expression, dialect: Dialect) -> Expression:
    """The tree of a subscription, or the tree that was given.

    Programs use the same few subscriptions again and again; short ones are remembered.
    """
    if isinstance(expression, Expression):
        return expression
    if type(expression) is str and len(expression) <= _SHORT:
        return _remembered(expression, dialect)
    return parse(expression, dialect)


_SHORT = 500  # characters, so that what is remembered stays below a few megabytes
_remembered = lru_cache(maxsize=1_024)(parse)


@cache
def _nesting() -> Lark:
    """The parser of nested words, made on first use."""
    from importlib.resources import files

    from lark import Lark, Token
    from lark.lexer import Lexer

    class Given(Lexer):
        """Hands on the words, which were read already."""

        __future_interface__ = 1  # lark 1.2 and 1.3 then both call `lex` with these arguments

        def __init__(self, configuration: object) -> None:
            pass

        def lex(self, lexer_state: Any, parser_state: Any) -> Iterator[Token]:
            for kind, tree in lexer_state.text:
                if tree is None:
                    yield signs[kind]
                else:
                    token = Token("CONDITION", "")
                    token.value = tree
                    yield token

    signs = {kind: Token(f"_{kind}", "") for kind in ("AND", "OR", "NOT", "OPEN", "CLOSE")}
    grammar = files("rxhub.expression").joinpath("grammar.lark").read_text("utf-8")
    return Lark(
        grammar, start="disjunction", parser="lalr", lexer=Given, transformer=_Builder(), maybe_placeholders=False
    )


class _Builder:
    """One method for each rule of the grammar."""

    def disjunction(self, children: list[Expression]) -> Expression:
        return Or(tuple(children))

    def conjunction(self, children: list[Expression]) -> Expression:
        return And(tuple(children))

    def negation(self, children: list[Expression]) -> Expression:
        return Not(children[0])

    def condition(self, tokens: list[Token]) -> Expression:
        return tokens[0].value
