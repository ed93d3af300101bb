"""Marble diagrams in the notation of RxJS.

Each character takes one tick:

- `-`: nothing happens.
- `(ab)`: several values at once; takes as many ticks as it has characters.
- `|`, `#`: completion, error.
- `^`: the start of the run in a hot source; the start of a subscription.
- `!`: the end of a subscription.
- `9ms`, `3s`, `2m`, `1h`: time, with a blank on each side.
- A blank is ignored.

Any other character is a value. A number that is followed by letters is always a time: write `5 x` for two values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["COMPLETED", "FAILED", "Moment", "SubscriptionSpan", "diagram_of", "parse_diagram", "parse_span"]

COMPLETED = "|"
FAILED = "#"
_TIME = re.compile(r"(?:^|(?<=\s))(\d+(?:\.\d+)?)(ms|s|m|h)(?=\s|$)")
_LIKE_TIME = re.compile(r"(?:^|(?<=\s))\d[\d.]*[^\W\d_]+(?=\s|$)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Moment(NamedTuple):
    """One mark of a diagram, and its time in seconds."""

    seconds: float
    mark: str


class SubscriptionSpan(NamedTuple):
    """A period of subscription in seconds; `end` is None if it lasts to the end."""

    begin: float
    end: float | None = None


def parse_diagram(text: str, tick: float, hot: bool = False) -> tuple[list[Moment], float]:
    """Parse a diagram into its moments and its length in seconds; `^` is allowed if it is `hot`.

    Raises a ValueError that shows the position if the diagram is invalid.
    """
    moments: list[Moment] = []
    seconds = 0.0
    zero: float | None = None
    group: float | None = None
    ended = False
    for place, character, time in _tokens(text):
        if group is not None and character in {"", "-"}:
            raise _error(text, place, "a group cannot contain time")
        if not character:
            seconds += time
            continue
        if character == "(" and group is None:
            group = seconds
        elif character == ")" and group is not None:
            group = None
        elif character == "^" and hot and group is None and zero is None:
            zero = seconds
        elif character == "^":
            reason = "only one `^` is allowed, outside groups" if hot else "only marbles.hot(…) can contain `^`"
            raise _error(text, place, reason)
        elif character in "()!":
            raise _error(text, place, f"{character!r} is not allowed here")
        elif character != "-":
            if ended:
                raise _error(text, place, "nothing can follow the end")
            ended = character in {COMPLETED, FAILED}
            moments.append(Moment(seconds if group is None else group, character))
        seconds += tick
    if group is not None:
        raise _error(text, len(text), "the group lacks `)`")
    zero = zero or 0.0
    return [Moment(_rounded(at - zero), mark) for at, mark in moments], _rounded(seconds - zero)


def parse_span(text: str, tick: float) -> SubscriptionSpan:
    """Parse a subscription diagram: `^` and `!`, or one of them. Raises as `parse_diagram`."""
    begin: float | None = None
    end: float | None = None
    seconds = 0.0
    for place, character, time in _tokens(text):
        if not character:
            seconds += time
            continue
        if character == "^" and begin is None and end is None:
            begin = _rounded(seconds)
        elif character == "!" and end is None:
            end = _rounded(seconds)
        elif character != "-":
            raise _error(text, place, f"a subscription consists of `-`, one `^` and one `!`, not {character!r}")
        seconds += tick
    return SubscriptionSpan(begin or 0.0, end)


def _tokens(text: str) -> Iterator[tuple[int, str, float]]:
    """Split a diagram into characters and times in seconds, each with its position; blanks are skipped."""
    place = 0
    while place < len(text):
        if passing := _TIME.match(text, place):
            yield place, "", float(passing[1]) * _SECONDS[passing[2]]
            place = passing.end()
            continue
        if malformed := _LIKE_TIME.match(text, place):
            reason = f"{malformed[0]!r} is not a valid time. Units are ms, s, m and h, as in ` 30m `"
            raise _error(text, place, reason)
        if not text[place].isspace():
            yield place, text[place], 0.0
        place += 1


def diagram_of(moments: list[Moment], tick: float) -> str:
    """Format moments as a diagram, with times where they are not on a tick."""
    by_time: dict[float, str] = {}
    for seconds, mark in moments:
        by_time[seconds] = by_time.get(seconds, "") + mark
    text, now = "", 0.0
    for seconds, marks in by_time.items():
        ticks = _rounded((seconds - now) / tick)
        if 0 <= ticks <= 20 and ticks == int(ticks):
            text += "-" * int(ticks)
        else:
            # A group takes several ticks, so the next moment can be before its end; no diagram can express that.
            text += f" {_rounded(seconds - now) * 1000:g}ms "
        shown = marks if len(marks) == 1 else f"({marks})"
        text += shown
        now = _rounded(seconds + len(shown) * tick)
    return text.strip() or "-"


def _error(text: str, place: int, reason: str) -> ValueError:
    return ValueError(f"Invalid marble diagram: {reason}.\n  {text}\n  {' ' * place}^")


def _rounded(seconds: Any) -> float:
    return round(float(seconds), 6)
