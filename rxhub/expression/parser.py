"""Parse a subscription: the lexer splits it into tokens, and lark nests them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, cast

from rxhub.errors import ExpressionError
from rxhub.expression.ast import And, Everything, Expression, Not, Or
from rxhub.expression.comparisons import Dialect

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
    """Parse a subscription, in time proportional to its length. `str()` of the result parses to an equal tree.

    With the default limits, an untrusted text costs at most a fraction of a second.

    Args:
        text: the subscription; a blank one matches everything.
        dialect: what a `*` in a value means.
        max_length: the maximum number of characters.
        max_conditions: the maximum number of conditions; each value of `in (…)` counts as one.
        max_depth: the maximum number of nested parentheses and `not`s.

    Raises:
        ExpressionError: if the text is not a valid subscription, or exceeds a limit.
    """
    if not isinstance(text, str):
        hint = 'Put it before the function: @hub.on("topic=studio.*").' if callable(text) else ""
        raise ExpressionError(f"A subscription must be a string, but {type(text).__name__} was given.", hint=hint)
    if not isinstance(dialect, Dialect):
        raise ExpressionError(f"{dialect!r} is not a dialect.", expected="a member of Dialect")
    text = str.__str__(text)  # a subclass may override slicing
    # On first use: compiling the patterns takes long.
    from rxhub.expression.lexer import Lexer, ParseLimits

    lexer = Lexer(text, dialect, ParseLimits(max_length, max_conditions, max_depth))
    if not text or text.isspace():
        return Everything()
    tokens = list(lexer.tokens())
    # Most subscriptions are one condition, or conditions joined by one keyword. They need no nesting, and a program
    # without others never imports lark, which takes longer than importing rxhub.
    kinds = {kind for kind, _ in tokens}
    trees = [tree for _, tree in tokens if tree is not None]
    if kinds == {"CONDITION"}:
        return trees[0]
    if kinds == {"CONDITION", "AND"}:
        return And(trees)
    if kinds == {"CONDITION", "OR"}:
        return Or(trees)
    return cast("Any", _nesting()).parse(tokens)


def as_tree(expression: str | Expression, dialect: Dialect) -> Expression:
    """The tree of a subscription; a tree is returned unchanged. Trees of short subscriptions are cached."""
    if isinstance(expression, Expression):
        return expression
    if type(expression) is str and len(expression) <= _MAX_CACHED_LENGTH:
        return _cached(expression, dialect)
    return parse(expression, dialect)


_MAX_CACHED_LENGTH = 500  # characters: the cache stays below a few megabytes
_cached = lru_cache(maxsize=1_024)(parse)


@cache
def _nesting() -> Lark:
    from importlib.resources import files

    from lark import Lark, Token
    from lark.lexer import Lexer

    class Given(Lexer):
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
    """Builds the tree: one method for each rule of the grammar."""

    def disjunction(self, children: list[Expression]) -> Expression:
        return Or(tuple(children))

    def conjunction(self, children: list[Expression]) -> Expression:
        return And(tuple(children))

    def negation(self, children: list[Expression]) -> Expression:
        return Not(children[0])

    def condition(self, tokens: list[Token]) -> Expression:
        return tokens[0].value
