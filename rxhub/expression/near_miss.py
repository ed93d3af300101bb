"""Find misspelled keys in subscriptions, such as `topc=…`, which are valid but match nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, cast

from rxhub.expression.ast import And, Condition, Expression, Not, Or
from rxhub.expression.step_budget import current_budget

__all__ = ["ENVELOPE", "MAX_KEYS", "closest_name", "known_keys", "misspelled_keys", "misspelling_warning"]

ENVELOPE = ("topic", "id", "data", "source", "target", "sent", "in_reply_to_event")
"""The keys of an event's envelope. An event from the wire may have others."""

MAX_KEYS = 1_000
"""The maximum number of names that are collected from candidates."""

_MAX_HOLDERS = 1_000
_MIN_SIMILARITY = 0.75  # the part of the letters that two names share
_MIN_SIMILARITY_OF_THREE = 0.6  # one of three letters may differ
_MIN_PREFIX_LENGTH = 4
# Longer names are not compared: the time grows with the square of the length.
_MAX_LENGTH = 100


def misspelling_warning(expression: Expression) -> str:
    """A warning about the keys that are similar to keys of an event but different; empty if there are none."""
    hints = "; ".join(f"{key!r}: did you mean {meant!r}?" for key, meant in misspelled_keys(expression, ENVELOPE))
    said = f"The subscription {str(expression)!r} has a key that events usually do not have."
    return hints and f"{said} {hints}"


def misspelled_keys(expression: Expression, known: Iterable[str]) -> list[tuple[str, str]]:
    """The keys whose first step is similar to a known name, with a suggestion: `[("date.x", "data.x")]`."""
    names = tuple(known)
    keys: dict[str, str] = {}
    pending = [expression]
    while pending:
        match pending.pop():
            case Condition(key):
                first, dot, rest = key.partition(".")
                if key not in keys and first not in names and (meant := closest_name(first, names)):
                    keys[key] = f"{meant}{dot}{rest}"
            case And(children) | Or(children):
                pending += reversed(children)
            case Not(child):
                pending.append(child)
            case _:
                pass
    return [*keys.items()]


def known_keys(holders: Iterable[object]) -> dict[str, None]:
    """The string keys of the mappings among the holders, in order; about `MAX_KEYS` at most."""
    keys: dict[str, None] = {}
    for holder in islice(holders, _MAX_HOLDERS):
        if issubclass(type(holder), Mapping):
            try:
                some = islice(cast("Mapping[Any, Any]", holder), MAX_KEYS)
                keys |= dict.fromkeys(key for key in some if type(key) is str)
            except Exception:
                continue  # it cannot be read
        if len(keys) > MAX_KEYS:
            break
    return keys


def closest_name(name: str, known: Iterable[str]) -> str:
    """The known name that is most similar, apart from case and separators; empty if there is none.

    A name that starts with this one and is at most twice as long is similar, too: `in_reply_to_event` to `in_reply_to`.
    """
    plain = _plain(name)
    if not 1 < len(plain) <= _MAX_LENGTH:
        return ""
    from difflib import get_close_matches  # most subscriptions have no unknown key

    names = {_plain(each): each for each in reversed([*known])}
    if (budget := current_budget()) is not None:
        budget.spend(sum(10 + 3 * len(plain) * min(len(plain), len(other)) for other in names))
    close = [plain[::-1]] if len(plain) == 2 and plain[::-1] in names else []
    if not close:
        near = [each for each in names if abs(len(each) - len(plain)) <= (1 if min(len(each), len(plain)) < 6 else 2)]
        close = get_close_matches(plain, near, 1, _MIN_SIMILARITY if len(plain) > 3 else _MIN_SIMILARITY_OF_THREE)
    if not close and len(plain) >= _MIN_PREFIX_LENGTH:
        close = [other for other in names if other.startswith(plain) and len(other) <= 2 * len(plain)]
    return names[close[0]] if close else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
