"""Marble diagrams of recorded streams: a time line for each stream, and a marble for each item.

Marbles that would overlap are drawn as one marble with a number, so that the size of the drawing does not depend on the
length of the recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rxhub.display.page import Page, Part, remark
from rxhub.text.safe_repr import escape_html, one_line

__all__ = ["Lane", "marbles", "recorded"]

_MAX_LANES = 16
_MAX_LABELS = 8  # in the tooltip of a marble
_WIDTH, _HEIGHT, _LEFT, _RADIUS = 760, 30, 190, 9
_TEXT_WIDTH = 60
_MAX_LABEL_LENGTH = 100


class Lane(NamedTuple):
    """One stream.

    Attributes:
        name: the label of the line.
        points: `(time, label)` pairs; all lanes have the same unit of time.
        end: when it completed or failed, not before its last point; None if it did neither.
        failed: whether it ended with an error.
    """

    name: str
    points: Iterable[tuple[float, str]]
    end: float | None = None
    failed: bool = False


def recorded(points: Iterable[tuple[float, str]], title: str = "recorded", unit: str = "s") -> Page:
    """Draw a recording with one line for each label, in the order of their first items.

    Args:
        points: `(time, label)` pairs, such as the times and topics of events.
        title: the title.
        unit: the unit of the times.
    """
    lanes: dict[str, list[tuple[float, str]]] = {}
    for time, label in points:
        lanes.setdefault(label, []).append((time, label))
    return marbles(title, [Lane(label, of_label) for label, of_label in lanes.items()], unit)


class _Marble(NamedTuple):
    place: float  # from 0 to 1
    labels: list[str]
    number: int


class _Row(NamedTuple):
    lane: Lane
    points: Sequence[tuple[float, str]]
    marbles: Sequence[_Marble]


def marbles(title: str, lanes: Iterable[Lane], unit: str = "s", chips: Iterable[str] = ()) -> Page:
    """Draw streams with a common time scale.

    Args:
        title: the title.
        lanes: the streams; the first 16 are drawn.
        unit: the unit of the times.
        chips: further labels beside the title.
    """
    all_lanes = [(lane, sorted(lane.points, key=lambda point: point[0])) for lane in lanes]
    drawn = all_lanes[:_MAX_LANES]
    times = [time for _, points in drawn for time, _ in (*points[:1], *points[-1:])]
    times += [lane.end for lane, _ in drawn if lane.end is not None]
    if not times:
        return Page(title, chips, [remark("nothing was recorded")])
    scale = _Scale(min(times), max(times), unit)
    duration = f"{scale.end - scale.begin:.4g} {unit}"
    all_chips = [*chips, duration, f"{sum(len(points) for _, points in all_lanes)} recorded"]
    rows = [_Row(lane, points, _group(points, scale)) for lane, points in drawn]
    parts = [Part(_text_lines(rows, scale), _svg(rows, scale))]
    more = len(all_lanes) - len(drawn)
    return Page(title, all_chips, [*parts, remark(f"… and {more} more")] if more else parts)


class _Scale:
    """The times at both ends, as numbers and as labels."""

    def __init__(self, begin: float, end: float, unit: str) -> None:
        self.begin, self.end = begin, end
        self.first, self.last = f"{begin:.4g} {unit}", f"{end:.4g} {unit}"

    def place(self, time: float) -> float:
        """Return the place of a time, from 0 to 1."""
        return (time - self.begin) / (self.end - self.begin) if self.end > self.begin else 0.0


def _group(points: Sequence[tuple[float, str]], scale: _Scale) -> list[_Marble]:
    """Group points into marbles that do not overlap."""
    apart = 2 * _RADIUS / (_WIDTH - _LEFT)
    found: list[_Marble] = []
    for time, label in points:
        place = scale.place(time)
        if found and place - found[-1].place < apart:
            last = found[-1]
            if last.number < _MAX_LABELS:
                last.labels.append(label)
            found[-1] = last._replace(number=last.number + 1)
        else:
            found.append(_Marble(place, [label], 1))
    return found


def _svg(rows: Sequence[_Row], scale: _Scale) -> str:
    height = _HEIGHT * len(rows) + 22
    parts = [f'<svg width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" role="img">']
    for number, (lane, _, found) in enumerate(rows):
        y = _HEIGHT * number + _HEIGHT // 2
        parts.append(f'<text x="0" y="{y + 4}">{escape_html(one_line(lane.name, 26))}</text>')
        parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{_WIDTH - 6}" y2="{y}" style="stroke:var(--rx-faint)"/>')
        parts += [_marble(marble, y) for marble in found]
        if lane.end is not None:
            parts.append(_end(_x(scale.place(lane.end)), y, lane.failed))
    for x, anchor, label in ((_LEFT, "start", scale.first), (_WIDTH, "end", scale.last)):
        style = f'text-anchor="{anchor}" style="fill:var(--rx-faint)"'
        parts.append(f'<text x="{x}" y="{height - 6}" {style}>{escape_html(label)}</text>')
    return "".join([*parts, "</svg>"])


def _end(x: float, y: int, failed: bool) -> str:
    if failed:
        path = f"M{x - 6} {y - 6}L{x + 6} {y + 6}M{x - 6} {y + 6}L{x + 6} {y - 6}"
        return f'<path d="{path}" style="stroke:var(--rx-no);stroke-width:2"/>'
    return f'<line x1="{x}" y1="{y - 11}" x2="{x}" y2="{y + 11}" style="stroke:var(--rx-ink);stroke-width:2"/>'


def _marble(marble: _Marble, y: int) -> str:
    x, number = _x(marble.place), marble.number
    labels = [one_line(label, _MAX_LABEL_LENGTH) for label in marble.labels]
    if number > len(labels):
        labels.append(f"… {number - len(labels)} more")
    inside = _initial(marble.labels[0]) if number == 1 else str(number) if number < 1000 else "…"
    return (
        f"<g><title>{escape_html(chr(10).join(labels))}</title>"
        f'<circle cx="{x}" cy="{y}" r="{_RADIUS}" style="fill:var(--rx-soft);stroke:var(--rx-key);stroke-width:1.5"/>'
        f'<text x="{x}" y="{y + 4}" text-anchor="middle" style="font-size:10px">{escape_html(inside)}</text></g>'
    )


def _x(place: float) -> float:
    return round(_LEFT + _RADIUS + place * (_WIDTH - _LEFT - 3 * _RADIUS), 1)


def _initial(label: str) -> str:
    """The label, if it fits into a marble."""
    return label if len(label) <= 2 and label.isprintable() else ""


def _text_lines(rows: Sequence[_Row], scale: _Scale) -> list[str]:
    width = min(24, max(len(one_line(row.lane.name, 24)) for row in rows))
    lines: list[str] = []
    for lane, points, _ in rows:
        line = ["-"] * (_TEXT_WIDTH + 1)
        counts: Counter[int] = Counter()
        for time, label in points:
            place = round(scale.place(time) * _TEXT_WIDTH)
            counts[place] += 1
            line[place] = (_initial(label)[:1] or "o") if counts[place] == 1 else str(min(9, counts[place]))
        if lane.end is not None:
            place = max([round(scale.place(lane.end) * _TEXT_WIDTH), *(taken + 1 for taken in counts)])
            line[place:] = "#" if lane.failed else "|"
        lines.append(f"{one_line(lane.name, 24).ljust(width)}  {''.join(line)}")
    return [*lines, f"{' ' * width}  {scale.first.ljust(_TEXT_WIDTH - 6)}{scale.last}"]
