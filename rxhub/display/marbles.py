"""A recorded stream as a marble diagram: a line of time, and a marble for each thing that happened.

Streams may be long. Marbles that would cover each other are drawn as one with a number; so neither the size of the
drawing nor what a browser has to do depends on how much was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rxhub.display.page import Drawing, Note, Page
from rxhub.text.safe_repr import escape_html, one_line

__all__ = ["Lane", "marbles", "recorded"]

_MOST_LANES = 16
_MOST_LABELS = 8  # told of one marble when the mouse is over it
_WIDTH, _HEIGHT, _LEFT, _RADIUS = 760, 30, 190, 9
_LETTERS = 60
_DIGITS = 100


class Lane(NamedTuple):
    """One stream.

    Attributes:
        name: stands before its line.
        points: `(time, label)` pairs; times are numbers of one unit for all lanes.
        end: when it completed or failed, not before its last point; None if it did neither.
        failed: whether it ended by an error.
    """

    name: str
    points: Iterable[tuple[float, str]]
    end: float | None = None
    failed: bool = False


def recorded(points: Iterable[tuple[float, str]], title: str = "recorded", unit: str = "s") -> Page:
    """Draw one recording as a stream for each label, in the order in which they first came.

    Args:
        points: `(time, label)` pairs, such as the topics of events and when these came.
        title: what was recorded.
        unit: of the times.
    """
    lanes: dict[str, list[tuple[float, str]]] = {}
    for time, label in points:
        lanes.setdefault(label, []).append((time, label))
    return marbles(title, [Lane(label, of_label) for label, of_label in lanes.items()], unit)


class _Marble(NamedTuple):
    place: float  # from 0 to 1
    labels: list[str]
    number: int


def marbles(title: str, lanes: Iterable[Lane], unit: str = "s", chips: Iterable[str] = ()) -> Page:
    """Draw streams one below the other, on one scale of time.

    Args:
        title: what was recorded.
        lanes: the first 16 are drawn.
        unit: of the times.
        chips: what else is to be known at a glance.
    """
    all_lanes = [(lane, sorted(lane.points, key=lambda point: point[0])) for lane in lanes]
    drawn = all_lanes[:_MOST_LANES]
    times = [time for _, points in drawn for time, _ in (*points[:1], *points[-1:])]
    times += [lane.end for lane, _ in drawn if lane.end is not None]
    if not times:
        return Page(title, chips, [Note("nothing was recorded")])
    begin, end = min(times), max(times)
    told = [*chips, f"{_time(end - begin)} {unit}", f"{sum(len(points) for _, points in all_lanes)} recorded"]
    rows = [(lane, points, _gathered(points, begin, end)) for lane, points in drawn]
    parts = [Drawing(_svg(rows, begin, end, unit), _letters(rows, begin, end, unit))]
    more = len(all_lanes) - len(drawn)
    return Page(title, told, [*parts, Note(f"… and {more} more")] if more else parts)


_Rows = Sequence[tuple[Lane, Sequence[tuple[float, str]], Sequence[_Marble]]]


def _gathered(points: Sequence[tuple[float, str]], begin: float, end: float) -> list[_Marble]:
    """Marbles that do not cover each other."""
    apart = 2 * _RADIUS / (_WIDTH - _LEFT)
    found: list[_Marble] = []
    for time, label in points:
        place = _place(time, begin, end)
        if found and place - found[-1].place < apart:
            last = found[-1]
            if last.number < _MOST_LABELS:
                last.labels.append(label)
            found[-1] = last._replace(number=last.number + 1)
        else:
            found.append(_Marble(place, [label], 1))
    return found


def _place(time: float, begin: float, end: float) -> float:
    return (time - begin) / (end - begin) if end > begin else 0.0


def _time(time: float) -> str:
    return f"{time:.4g}"


def _svg(rows: _Rows, begin: float, end: float, unit: str) -> str:
    height = _HEIGHT * len(rows) + 22
    parts = [f'<svg width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" role="img">']
    for number, (lane, _, found) in enumerate(rows):
        y = _HEIGHT * number + _HEIGHT // 2
        parts.append(f'<text x="0" y="{y + 4}">{escape_html(one_line(lane.name, 26))}</text>')
        parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{_WIDTH - 6}" y2="{y}" style="stroke:var(--rx-faint)"/>')
        parts += [_marble(marble, y) for marble in found]
        if lane.end is not None:
            parts.append(_end(_x(_place(lane.end, begin, end)), y, lane.failed))
    y = height - 6
    parts.append(f'<text x="{_LEFT}" y="{y}" style="fill:var(--rx-faint)">{_time(begin)} {escape_html(unit)}</text>')
    parts.append(
        f'<text x="{_WIDTH}" y="{y}" text-anchor="end" style="fill:var(--rx-faint)">'
        f"{_time(end)} {escape_html(unit)}</text>"
    )
    return "".join([*parts, "</svg>"])


def _end(x: float, y: int, failed: bool) -> str:
    if failed:
        path = f"M{x - 6} {y - 6}L{x + 6} {y + 6}M{x - 6} {y + 6}L{x + 6} {y - 6}"
        return f'<path d="{path}" style="stroke:var(--rx-no);stroke-width:2"/>'
    return f'<line x1="{x}" y1="{y - 11}" x2="{x}" y2="{y + 11}" style="stroke:var(--rx-ink);stroke-width:2"/>'


def _marble(marble: _Marble, y: int) -> str:
    x = _x(marble.place)
    more = marble.number - len(marble.labels)
    told = "\n".join([*(one_line(label, _DIGITS) for label in marble.labels), *([f"… {more} more"] if more else [])])
    inside = (
        str(marble.number) if 1 < marble.number < 1000 else "…" if marble.number > 1 else _initial(marble.labels[0])
    )
    return (
        f"<g><title>{escape_html(told)}</title>"
        f'<circle cx="{x}" cy="{y}" r="{_RADIUS}" style="fill:var(--rx-soft);stroke:var(--rx-key);stroke-width:1.5"/>'
        f'<text x="{x}" y="{y + 4}" text-anchor="middle" style="font-size:10px">{escape_html(inside)}</text></g>'
    )


def _x(place: float) -> float:
    return round(_LEFT + _RADIUS + place * (_WIDTH - _LEFT - 3 * _RADIUS), 1)


def _initial(label: str) -> str:
    """What fits into a marble: a short label, else nothing of it."""
    return label if len(label) <= 2 and label.isprintable() else ""


def _letters(rows: _Rows, begin: float, end: float, unit: str) -> list[str]:
    width = min(24, max(len(one_line(lane.name, 24)) for lane, _, _ in rows))
    lines: list[str] = []
    for lane, points, _ in rows:
        line = ["-"] * (_LETTERS + 1)
        counts: dict[int, int] = {}
        for time, label in points:
            place = round(_place(time, begin, end) * _LETTERS)
            counts[place] = counts.get(place, 0) + 1
            line[place] = (_initial(label)[:1] or "o") if counts[place] == 1 else str(min(9, counts[place]))
        if lane.end is not None:
            place = max([round(_place(lane.end, begin, end) * _LETTERS), *(taken + 1 for taken in counts)])
            line[place:] = "#" if lane.failed else "|"
        lines.append(f"{one_line(lane.name, 24).ljust(width)}  {''.join(line)}")
    scale = f"{_time(begin)} {unit}".ljust(_LETTERS - 6)
    return [*lines, f"{' ' * width}  {scale}{_time(end)} {unit}"]
