"""Describe the differences between the expected and the actual stream, and between values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from string import ascii_letters, digits
from typing import Any, NamedTuple, TypeAlias, cast

from rxhub.event import Event
from rxhub.redaction import REDACTED, redacted
from rxhub.testing.diagram import COMPLETED, FAILED, Moment, diagram_of
from rxhub.text.safe_repr import safe_repr

__all__ = ["Frame", "OneOf", "describe_difference", "same"]

_MAX_MOMENTS = 40
_MAX_ROWS = 12
_MAX_VALUES = 16
_BEFORE = 3

_Path: TypeAlias = tuple[Any, ...]

_NOTHING: Any = object()
_MAX_DIFFERENCES = 3
_MAX_VISITED = 10_000
_WIDTH = 60


class Frame(NamedTuple):
    """One notification: its time in seconds, `next`, `|` or `#`, and the value or error."""

    seconds: float
    mark: str
    value: Any


class OneOf(NamedTuple):
    """Matches any of these events."""

    events: tuple[Event, ...]


def same(wanted: Sequence[Frame], found: Sequence[Frame]) -> bool:
    """Whether the streams are equal; marks other than `|` and `#` stand for values."""
    return len(wanted) == len(found) and all(map(_same, wanted, found))


def _same(wanted: Frame, found: Frame) -> bool:
    if wanted.seconds != found.seconds:
        return False
    if wanted.mark == FAILED:
        error = wanted.value
        alike = error is None or (type(error) is type(found.value) and str(error) == str(found.value))
        return found.mark == FAILED and alike
    if wanted.mark == COMPLETED:
        return found.mark == COMPLETED
    return found.mark == "next" and _is(wanted.value, found.value)


def _is(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, OneOf):
        return any(equal(event, value) for event in wanted.events)
    return equal(wanted, value)


def describe_difference(wanted: Sequence[Frame], found: Sequence[Frame], values: Mapping[str, Any], tick: float) -> str:
    """Show both streams as diagrams, their differences by time, and the values of the characters."""
    letters = _Letters(values)
    lettered = [f._replace(mark=letters.of(f.value)) if f.mark == "next" else f for f in found]
    rows, used = _differences_by_time(wanted, lettered)
    return "\n".join(
        [
            f"  expected  {_diagram(wanted, tick)}",
            f"  found     {_diagram(lettered, tick)}",
            "  (- expected, + found)",
            *rows,
            *_not_comparable(wanted, lettered),
            *letters.legend(used),
        ]
    )


def _diagram(frames: Sequence[Frame], tick: float) -> str:
    text = diagram_of([Moment(f.seconds, f.mark) for f in frames[:_MAX_MOMENTS]], tick)
    further = len(frames) - _MAX_MOMENTS
    return f"{text} … and {further:,} more frames" if further > 0 else text


def _differences_by_time(wanted: Sequence[Frame], found: Sequence[Frame]) -> tuple[list[str], set[str]]:
    """The differences by time, starting shortly before the first one, and the shown marks."""
    rows: list[tuple[float, str, str]] = []
    left: dict[tuple[float, str], int] = {}
    for frame in found:
        left[frame[:2]] = left.get(frame[:2], 0) + 1
    for frame in wanted:
        both = left.get(frame[:2], 0) > 0
        if both:
            left[frame[:2]] -= 1
        rows.append((frame.seconds, " " if both else "-", frame.mark))
    rows += [(at, "+", mark) for (at, mark), times in left.items() for _ in range(times)]
    rows.sort(key=lambda row: row[0])
    skipped = max(0, len(list(takewhile(lambda row: row[1] == " ", rows))) - _BEFORE)
    if skipped == len(rows) - _BEFORE:
        skipped = 0  # only values differ, not characters
    shown_rows = rows[skipped : skipped + _MAX_ROWS]
    further = len(rows) - skipped - len(shown_rows)
    lines = [f"    … {skipped:,} frames as expected"] if skipped else []
    lines += [f"  {sign} {_seconds(at):>10}  {mark}" for at, sign, mark in shown_rows]
    lines += [f"    … and {further:,} more frames"] if further else []
    return lines, {mark for _, _, mark in shown_rows}


def _not_comparable(wanted: Sequence[Frame], found: Sequence[Frame]) -> list[str]:
    """The values that cannot be compared with the expected ones."""
    lines: list[str] = []
    for expected, frame in zip(wanted, found, strict=False):
        if expected.value is frame.value or {COMPLETED, FAILED} & {expected.mark, frame.mark}:
            continue
        try:
            bool(expected.value == frame.value)
        except Exception as error:
            why = f"{type(error).__name__}: {safe_repr(str(error))}"
            lines.append(f"  at {_seconds(frame.seconds)}, {frame.mark} cannot be compared with {expected.mark}: {why}")
    return lines[:_MAX_VALUES]


class _Letters:
    """Characters for actual values: those of equal expected values, and new ones."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._free = [c for c in ascii_letters[::-1] + digits if c not in self._values]

    def of(self, value: Any) -> str:
        for letter, known in self._values.items():
            if _is(known, value):
                return letter
        if isinstance(value, str) and len(value) == 1 and value not in self._values:
            letter = value
        else:
            letter = self._free.pop(0) if self._free else "?"
        if letter != "?":
            self._values[letter] = value
        return letter

    def legend(self, used: set[str]) -> list[str]:
        """The values of the characters, and the differences of values with the same representation."""
        lines: list[str] = []
        looks: dict[str, tuple[str, Any]] = {}
        marks = {mark: mark for mark in sorted(used) if mark not in (COMPLETED, FAILED, "?")}
        meant = [(letter, value) for letter, value in (self._values | marks | self._values).items() if letter in used]
        looks_like = {_shown(_known(value)) for _, value in meant}
        meant = [
            (letter, value)
            for letter, value in meant
            # A character that stands for itself is listed only where it is ambiguous: '1' and 1.
            if not (type(value) is str and value == letter) or letter.isdigit() or letter in looks_like
        ]
        for letter, value in meant[:_MAX_VALUES]:
            known = _known(value)
            text = _shown(known)
            lines.append(f"  {'     ' if lines else 'where'} {letter} = {text}")
            twin, other = looks.setdefault(text, (letter, known))
            if twin != letter and not equal(known, other):
                first, *more = differences(known, other)
                lines += [f"            unlike {twin}, {first}", *[f"              {line}" for line in more]]
        further = len(meant) - _MAX_VALUES
        return [*lines, f"        … and {further:,} more values"] if further > 0 else lines


def _known(value: Any) -> Any:
    return value.events[0] if isinstance(value, OneOf) else value


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"


def _shown(value: Any) -> str:
    if isinstance(value, Event):
        return f"{value.get('topic')} {safe_repr(redacted(value.get('data')))}"
    return safe_repr(redacted(value))


def equal(one: Any, other: Any) -> bool:
    """Whether two values are identical or equal; False if they cannot be compared."""
    try:
        return one is other or bool(one == other)
    except Exception:
        return False


def differences(found: Any, wanted: Any) -> list[str]:
    """The first differences, such as `at data.x[2].y: 1, not 2`. Secrets are not shown."""
    lines: list[str] = []
    clean_found, clean_wanted = redacted(_plain(found)), redacted(_plain(wanted))
    for path, one, other in _find_differences(_plain(found), _plain(wanted)):
        if len(lines) == _MAX_DIFFERENCES:
            return [*lines, "and more differences"]
        if _is_secret(clean_found, path) or _is_secret(clean_wanted, path):
            lines.append(f"{_location(path)}: a different {REDACTED}, which is a secret")
        else:
            lines.append(_line(path, redacted(one), redacted(other)))
    return lines or ["they differ by their own =="]


def _plain(value: Any) -> Any:
    return cast("Any", value.fields) if isinstance(value, Event) else value


def _find_differences(found: object, wanted: object) -> Iterator[tuple[_Path, Any, Any]]:
    waiting: list[tuple[_Path, object, object]] = [((), found, wanted)]
    visited: set[tuple[int, int]] = set()
    while waiting and len(visited) < _MAX_VISITED:
        path, one, other = waiting.pop()
        try:
            below = _below(one, other)
        except Exception:
            below = None  # an incomplete mapping
        if below is None:
            if not equal(one, other):
                yield path, one, other
        elif (pair := (id(one), id(other))) not in visited:
            visited.add(pair)
            waiting.extend([((*path, step), left, right) for step, left, right in reversed(below)])


def _below(one: object, other: object) -> list[tuple[Any, Any, Any]] | None:
    """The items of two containers of the same kind in pairs; None for anything else."""
    kind = type(one)
    if kind is type(other) and issubclass(kind, (list, tuple)):
        items, others = cast("list[Any]", one), cast("list[Any]", other)
        return [(n, _item(items, n), _item(others, n)) for n in range(max(len(items), len(others)))]
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one and other:
        left, right = cast("Mapping[Any, Any]", one), cast("Mapping[Any, Any]", other)
        return [(key, left.get(key, _NOTHING), right.get(key, _NOTHING)) for key in dict.fromkeys([*left, *right])]
    return None


def _item(items: list[Any], number: int) -> Any:
    return items[number] if number < len(items) else _NOTHING


def _is_secret(clean: Any, path: _Path) -> bool:
    """Whether the value at a path was redacted."""
    for step in path:
        if clean is REDACTED:
            return True
        try:
            clean = clean[step]
        except (LookupError, TypeError):
            # Only one of the two has a value there.
            return False
    return clean is REDACTED


def _line(path: _Path, one: Any, other: Any) -> str:
    if isinstance(one, str) and isinstance(other, str) and safe_repr(one, _WIDTH) == safe_repr(other, _WIDTH):
        # Long strings with a common beginning.
        start = next((n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
        start = max(0, (start or min(len(one), len(other))) - 10)
        return f"{_location(path)}[{start}:]: {safe_repr(one[start:], _WIDTH)}, not {safe_repr(other[start:], _WIDTH)}"
    texts = [_shown_part(one), _shown_part(other)]
    if texts[0] == texts[1]:
        texts = [f"{text} ({type(value).__qualname__})" for text, value in zip(texts, (one, other), strict=True)]
    return f"{_location(path)}: {texts[0]}, not {texts[1]}"


def _shown_part(value: Any) -> str:
    return "nothing" if value is _NOTHING else safe_repr(value, _WIDTH)


def _location(path: _Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, str) and step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{safe_repr(step, 20)}]"
    return f"at {text}" if text else "as a whole"
