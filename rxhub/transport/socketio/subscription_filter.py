"""The subscription that is sent to a server: a superset that every event server understands.

Servers other than rxhub's interpret the language differently: a `*` may mean "contains", lists may be read differently,
operators may be missing. So the server filters by one topic or one prefix of topics, or sends everything, and the hub
applies the whole subscription. An expression of ftrack's dialect is sent unchanged: it is written for ftrack's server.
"""

from __future__ import annotations

import re
from itertools import takewhile

from rxhub.expression import And, Condition, Dialect, Expression, Not, Or

__all__ = ["server_filter"]

_EVERYTHING = "topic=*"
# Needs no quotes with any known parser.
_BARE = re.compile(r"[A-Za-z0-9_./-]+")


def server_filter(expression: Expression) -> str:
    """A subscription that matches everything that `expression` matches, and possibly more."""
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
    """The topic, or (if the flag is true) the prefix of all topics, that can match; None for any."""
    match expression:
        case Condition("topic", "=", value, _, Dialect.RXHUB):
            head, star, tail = value.partition("*")
            if not star:
                return head, False
            # A star that is not at the end means something else.
            return (head, True) if head and not tail else None
        case And(children):
            topics = [topic for child in children if (topic := _topic(child)) is not None]
            # A topic is narrower than a prefix, and a longer prefix than a shorter one.
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
