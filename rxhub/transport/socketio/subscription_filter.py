"""What a server is told of a subscription: a superset that any event server understands.

A server that is not rxhub's reads the language in its own way: a `*` may mean "contains", lists may be read
differently, some operators may not be there at all. It is therefore asked for one topic or one prefix of
topics, which all of them know, or for everything; the whole subscription is tested when the event has come.

An expression of ftrack's dialect is sent as it is: who writes that dialect means ftrack's server to read it.
"""

from __future__ import annotations

import re
from itertools import takewhile

from rxhub.expression import And, Condition, Dialect, Expression, Not, Or

__all__ = ["server_filter"]

_EVERYTHING = "topic=*"
# What every known parser takes without quotes.
_BARE = re.compile(r"[A-Za-z0-9_./-]+")


def server_filter(expression: Expression) -> str:
    """A subscription that matches whatever `expression` matches, and perhaps more."""
    if _of_ftrack(expression):
        return str(expression)
    topic = _topic(expression)
    if topic is None:
        return _EVERYTHING
    text, is_prefix = topic
    if not _BARE.fullmatch(text):
        return _EVERYTHING
    return f"topic={text}*" if is_prefix else f"topic={text}"


def _topic(expression: Expression) -> tuple[str, bool] | None:
    """The topic, or (if the flag is true) the beginning of all topics, that can match; None for any."""
    match expression:
        case Condition("topic", "=", value, _, Dialect.RXHUB):
            head, star, tail = value.partition("*")
            if not star:
                return head, False
            # A star elsewhere than at the end means more, or something else.
            return (head, True) if head and not tail else None
        case And(children):
            topics = [topic for child in children if (topic := _topic(child)) is not None]
            # One topic is narrower than any prefix, and the longer prefix narrower than the shorter.
            return min(topics, key=lambda topic: (topic[1], -len(topic[0])), default=None)
        case Or(children):
            return _common([_topic(child) for child in children])
        case _:
            return None


def _common(topics: list[tuple[str, bool] | None]) -> tuple[str, bool] | None:
    known = [topic for topic in topics if topic is not None]
    if len(known) < len(topics):
        return None
    if len(set(known)) == 1:
        return known[0]
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*[text for text, _ in known], strict=False))
    prefix = "".join([column[0] for column in columns])
    return (prefix, True) if prefix else None


def _of_ftrack(expression: Expression) -> bool:
    match expression:
        case Condition(dialect=dialect):
            return dialect is Dialect.FTRACK
        case And(children) | Or(children):
            return _of_ftrack(children[0])
        case Not(child):
            return _of_ftrack(child)
        case _:
            return False
