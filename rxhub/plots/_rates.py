"""The number of events of each topic over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from math import ceil, floor
from typing import Any

from rxhub.event import Event
from rxhub.plots.chart import Plot, empty_plot, plot
from rxhub.text.layout import format_table
from rxhub.text.safe_repr import one_line

__all__ = ["rates"]

_INTERVALS = (*(unit * n for unit in (0.001, 0.01, 0.1) for n in (1, 2, 5)), 1, 2, 5, 10, 15, 30)
_LONG_INTERVALS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
_MAX_INTERVALS = 60
_MAX_DRAWN = 2_000
_MAX_TOPICS = 8
_MAX_LABEL_LENGTH = 36
_SPARKS = " ▁▂▃▄▅▆▇█"


def rates(
    events: Iterable[tuple[float | datetime, Event | str]], interval: float | None = None, title: str = "rates"
) -> Plot:
    """Draw how many events of each topic came in each interval.

    Args:
        events: pairs of a time and an event or a label, such as a `Recording`. Times are seconds, or aware datetimes.
        interval: the seconds of an interval. Default: 60 intervals at most.
        title: the title.

    Returns:
        The plot. The eight most frequent topics have a colour each; the others share one.

    Raises:
        ValueError: if the interval is not above 0, or so short that there are more than 2,000 intervals.
        MissingDependency: without the extra `plot`.
    """
    points: list[tuple[float, str]] = []
    are_dates = False
    for time, event in events:
        are_dates = isinstance(time, datetime)
        seconds = time.timestamp() if isinstance(time, datetime) else time
        points.append((seconds, str(event.fields.get("topic", "")) if isinstance(event, Event) else event))
    if not points:
        return empty_plot(title, "no events")
    first, last = min(points)[0], max(points)[0]
    step = _interval_of(last - first) if interval is None else interval
    if not step > 0 or (last - first) / step > _MAX_DRAWN:
        raise ValueError(
            f"rates(interval={interval!r}) is not valid for {last - first:g} s of events: use a number above 0 that "
            f"makes at most {_MAX_DRAWN:,} intervals, or leave it out."
        )
    begin = floor(first / step)
    names = _names(Counter(label for _, label in points))
    counts = Counter((names[label], floor(time / step) - begin) for time, label in points)
    number = floor(last / step) - begin + 1
    totals: Counter[str] = Counter()
    for (name, _), count in counts.items():
        totals[name] += count
    ordered = [name for name, _ in totals.most_common()]
    rows = [
        (name, str(totals[name]), f"{max(own)}", _sparkline(own))
        for name in ordered
        for own in [[counts[name, place] for place in range(number)]]
    ]
    per = _per(step)
    lines = format_table(("topic", "events", f"most {per}", ""), rows)
    scale = 1000 if are_dates else 1  # Vega's times are milliseconds
    data = [
        {
            "begin": (begin + place) * step * scale,
            "end": (begin + place + 1) * step * scale,
            "events": count,
            "topic": name,
        }
        for (name, place), count in counts.items()
    ]
    chips = [f"{len(points)} events", per]
    return plot(title, chips, lines, data, _chart(ordered, per, are_dates, (begin * step, (begin + number) * step)))


def _chart(names: list[str], per: str, are_dates: bool, times: tuple[float, float]) -> dict[str, Any]:
    time: dict[str, Any] = (
        {"type": "temporal", "scale": {"type": "utc"}, "title": "UTC"}
        if are_dates
        else {"type": "quantitative", "scale": {"domain": times, "nice": False}, "title": "seconds"}
    )
    return {
        "height": 160,
        "mark": {"type": "bar", "orient": "vertical", "binSpacing": 0.5},
        "encoding": {
            "x": {"field": "begin", "axis": {"grid": False, "labelOverlap": True}, **time},
            "x2": {"field": "end"},
            "y": {"field": "events", "type": "quantitative", "stack": "zero", "title": f"events {per}"},
            "color": {
                "field": "topic",
                "type": "nominal",
                "sort": names,
                "scale": {"domain": names, "scheme": "tableau10"},
            },
        },
    }


def _interval_of(seconds: float) -> float:
    for step in (*_INTERVALS, *_LONG_INTERVALS):
        if seconds / step < _MAX_INTERVALS:
            return step
    return 86400.0 * ceil(seconds / 86400 / _MAX_INTERVALS)


def _names(totals: Counter[str]) -> dict[str, str]:
    """The name that each label is drawn with."""
    names: dict[str, str] = {}
    for place, (label, _) in enumerate(totals.most_common()):
        is_other = place >= _MAX_TOPICS and len(totals) > _MAX_TOPICS + 1
        names[label] = "(other topics)" if is_other else one_line(label, _MAX_LABEL_LENGTH) or "(no topic)"
    return names


def _per(step: float) -> str:
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if step >= seconds and step % seconds == 0:
            return f"per {step // seconds:g} {unit}"
    return f"per {step:g} s"


def _sparkline(counts: list[int]) -> str:
    width = ceil(len(counts) / _MAX_INTERVALS)
    sums = [sum(counts[place : place + width]) for place in range(0, len(counts), width)]
    return "".join(_SPARKS[ceil(8 * each / max(sums))] for each in sums)
