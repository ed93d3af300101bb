"""Marble diagrams as text, as RxJS writes them.

A character is a moment. `-` nothing happens, any other character is a value, `(ab)` are several at one moment, `|` the
completion, `#` an error, and `^` the moment 0 of a hot source. ` 9ms `, ` 3s `, ` 2m ` and ` 1h `, apart by blanks, are
time that passes; other blanks mean nothing. As in RxJS a group takes as many moments as it has characters. In a
subscription diagram `^` is the subscription and `!` its end.

A word of a number and letters is time that passes, and so none of another unit; values that look like one are written
apart, `5 x`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

__all__ = ["COMPLETED", "FAILED", "Moment", "SubscriptionSpan", "diagram_of", "parse_diagram", "parse_span"]

COMPLETED = "|"
FAILED = "#"
_TIME = re.compile(r"(?:^|(?<=\s))(\d+(?:\.\d+)?)(ms|s|m|h)(?=\s|$)")
_LIKE_TIME = re.compile(r"(?:^|(?<=\s))\d[\d.]*[^\W\d_]+(?=\s|$)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Moment(NamedTuple):
    """What a diagram says of one moment: after how many seconds, and which mark."""

    seconds: float
    mark: str


class SubscriptionSpan(NamedTuple):
    """From when to when, in seconds, something is subscribed; None is to the end."""

    begin: float
    end: float | None = None


def parse_diagram(text: str, tick: float, hot: bool = False) -> tuple[list[Moment], float]:
    """The moments of a diagram, and its length in seconds.

    Args:
        text: the diagram.
        tick: seconds that a character takes.
        hot: whether it has a `^`: only a source that does not wait for anybody has anything before the moment 0.

    Raises:
        ValueError: if it is no diagram; the text says where.
    """
    moments: list[Moment] = []
    seconds, place = 0.0, 0
    zero: float | None = None
    group: float | None = None
    ended = False
    while place < len(text):
        character = text[place]
        passing = _TIME.match(text, place)
        if passing and group is not None:
            raise _wrong(text, place, "no time passes in a group")
        if passing:
            seconds += float(passing[1]) * _SECONDS[passing[2]]
            place = passing.end()
            continue
        if malformed := _LIKE_TIME.match(text, place):
            raise _no_time(text, place, malformed[0])
        place += 1
        if character.isspace():
            continue
        if character == "(" and group is None:
            group = seconds
        elif character == ")" and group is not None:
            group = None
        elif character == "^" and hot and group is None and zero is None:
            zero = seconds
        elif character == "^":
            why = "there is one `^`, outside of groups" if hot else "only marbles.hot(…) has a `^`, the moment 0"
            raise _wrong(text, place - 1, why)
        elif character in "()!":
            raise _wrong(text, place - 1, f"{character!r} cannot stand here")
        elif character != "-":
            if ended:
                raise _wrong(text, place - 1, "nothing comes after the end")
            ended = character in {COMPLETED, FAILED}
            moments.append(Moment(seconds if group is None else group, character))
        elif group is not None:
            raise _wrong(text, place - 1, "no time passes in a group")
        seconds += tick
    if group is not None:
        raise _wrong(text, len(text), "the group has no `)`")
    zero = zero or 0.0
    return [Moment(_rounded(at - zero), mark) for at, mark in moments], _rounded(seconds - zero)


def parse_span(text: str, tick: float) -> SubscriptionSpan:
    """A subscription diagram: `^` and `!`, or one of them.

    Raises:
        ValueError: if it is none.
    """
    begin: float | None = None
    end: float | None = None
    seconds, place = 0.0, 0
    while place < len(text):
        if passing := _TIME.match(text, place):
            seconds += float(passing[1]) * _SECONDS[passing[2]]
            place = passing.end()
            continue
        if malformed := _LIKE_TIME.match(text, place):
            raise _no_time(text, place, malformed[0])
        character, place = text[place], place + 1
        if character.isspace():
            continue
        if character == "^" and begin is None and end is None:
            begin = _rounded(seconds)
        elif character == "!" and end is None:
            end = _rounded(seconds)
        elif character != "-":
            raise _wrong(text, place - 1, f"a subscription is made of `-`, one `^` and one `!`, not {character!r}")
        seconds += tick
    return SubscriptionSpan(begin or 0.0, end)


def diagram_of(moments: list[Moment], tick: float) -> str:
    """The diagram of moments: on the grid of ticks where they stand on it, else with the time that passes."""
    by_time: dict[float, str] = {}
    for seconds, mark in moments:
        by_time[seconds] = by_time.get(seconds, "") + mark
    text, now = "", 0.0
    for seconds, marks in by_time.items():
        ticks = _rounded((seconds - now) / tick)
        if 0 <= ticks <= 20 and ticks == int(ticks):
            text += "-" * int(ticks)
        else:
            # After a group, which takes several moments, the next one may be in its past: no diagram has that.
            text += f" {_rounded(seconds - now) * 1000:g}ms "
        shown = marks if len(marks) == 1 else f"({marks})"
        text += shown
        now = _rounded(seconds + len(shown) * tick)
    return text.strip() or "-"


def _no_time(text: str, place: int, word: str) -> ValueError:
    return _wrong(text, place, f"{word!r} is no time: its units are ms, s, m and h, as in ` 30m `")


def _wrong(text: str, place: int, why: str) -> ValueError:
    return ValueError(f"This is no marble diagram: {why}.\n  {text}\n  {' ' * place}^")


def _rounded(seconds: Any) -> float:
    return round(float(seconds), 6)
