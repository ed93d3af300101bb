"""Reading a subscription into its tree, in linear time, with errors that help."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from rxhub.errors import ExpressionError
from rxhub.expression.dialect import Dialect
from rxhub.expression.grammar import GRAMMAR
from rxhub.expression.tree import And, Condition, Everything, Expression, Not, Or

if TYPE_CHECKING:
    from lark import Lark, Token

__all__ = ["parse"]


def parse(
    text: str,
    dialect: Dialect = Dialect.RXHUB,
    *,
    max_length: int = 131_072,
    max_conditions: int = 2_000,
    max_depth: int = 50,
) -> Expression:
    """Read a subscription.

    The limits keep a text from a stranger from costing more than a second or a stack overflow.

    Args:
        text: the subscription; empty or blank matches everything.
        dialect: what a `*` means.
        max_length: characters at most.
        max_conditions: conditions at most; each value of an `in` counts.
        max_depth: parentheses and `not`s open at once, at most.

    Returns:
        The tree. `str()` of it parses to the same tree again.

    Raises:
        ExpressionError: if the text is no subscription, or exceeds a limit.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ExpressionError(f"A subscription is text, but {type(text).__name__} was found.")
    text = str.__str__(text)
    if len(text) > max_length:
        raise ExpressionError(
            f"The subscription has {len(text)} characters; at most {max_length} are read.",
            hint="Raise the limit with parse(..., max_length=...).",
        )
    from lark.exceptions import UnexpectedCharacters, UnexpectedInput

    reading = _reader(dialect).parse_interactive(text)
    opened = 0
    nots = [0]  # those open in each open parenthesis
    conditions = 0
    token: Token | None = None
    try:
        for token in reading.iter_parse():
            kind = token.type
            if kind in {"_NOT", "_OPEN"}:
                opened += 1
                if opened > max_depth:
                    raise ExpressionError(
                        f"More than {max_depth} parentheses and `not`s are open at once.",
                        text,
                        token.start_pos or 0,
                        hint="Write it flatter, or raise the limit with parse(..., max_depth=...).",
                    )
                if kind == "_NOT":
                    nots[-1] += 1
                else:
                    nots.append(0)
            elif kind in {"BARE", "QUOTED", "ITEM", "_CLOSE"}:
                if kind != "_CLOSE":
                    conditions += 1
                    if conditions > max_conditions:
                        raise ExpressionError(
                            f"The subscription has more than {max_conditions} conditions.",
                            text,
                            token.start_pos or 0,
                            hint="Raise the limit with parse(..., max_conditions=...).",
                        )
                elif len(nots) > 1:
                    nots.pop()
                    opened -= 1
                opened -= nots[-1]
                nots[-1] = 0
        return reading.feed_eof(token)
    except UnexpectedInput as error:
        position = error.pos_in_stream or 0
        if not isinstance(error, UnexpectedCharacters) and error.token.type == "$END":
            position = len(text)
        raise ExpressionError("cannot read", text, position) from None


@cache
def _reader(dialect: Dialect) -> Lark:
    """The parser of a dialect. Made on first use: lark takes longer to import than the rest of rxhub."""
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", lexer="contextual", transformer=_Builder(dialect), maybe_placeholders=False)


class _Builder:
    """Builds the tree while the text is read: one method for each rule of the grammar."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def everything(self, _: list[Any]) -> Expression:
        return Everything()

    def disjunction(self, children: list[Expression]) -> Expression:
        return Or(tuple(children))

    def conjunction(self, children: list[Expression]) -> Expression:
        return And(tuple(children))

    def negation(self, children: list[Expression]) -> Expression:
        return Not(children[0])

    def bare(self, tokens: list[Token]) -> Expression:
        key, operator, value = tokens
        return Condition(key.value, operator.value, value.value, False, self._dialect)

    def quoted(self, tokens: list[Token]) -> Expression:
        key, operator, value = tokens
        return Condition(key.value, operator.value, value.value[1:-1], True, self._dialect)

    def membership(self, tokens: list[Token]) -> Expression:
        key, *items = tokens
        conditions = tuple(
            Condition(key.value, "=", item.value[1:-1], True, self._dialect)
            if item.type == "QUOTED"
            else Condition(key.value, "=", item.value, False, self._dialect)
            for item in items
        )
        return conditions[0] if len(conditions) == 1 else Or(conditions)
