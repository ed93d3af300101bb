"""The lag of consumer groups over time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from math import ceil
from typing import Any

from rxhub.plots.chart import Plot, empty_plot, plot
from rxhub.text.layout import format_table
from rxhub.text.safe_repr import one_line
from rxhub.transport.durable import GroupState

__all__ = ["lag"]

_MAX_GROUPS = 8
_MAX_LABEL_LENGTH = 36
_MAX_SPARKS = 60
_SPARKS = " ▁▂▃▄▅▆▇█"


def lag(measured: Iterable[tuple[float | datetime, Iterable[GroupState]]], title: str = "lag") -> Plot:
    """Draw how many events waited for each consumer group, over time.

    Args:
        measured: pairs of a time and the result of `hub.groups()` at that time. Times are seconds, or aware datetimes.
        title: the title.

    Returns:
        The plot of the eight groups whose lag was the largest.

    Raises:
        MissingDependency: without the extra `plot`.
    """
    series: dict[str, list[tuple[float, int]]] = {}
    are_dates = False
    times = 0
    for time, groups in measured:
        times += 1
        are_dates = isinstance(time, datetime)
        seconds = time.timestamp() if isinstance(time, datetime) else time
        for group in groups:
            series.setdefault(group.name, []).append((seconds, group.waiting))
    if not series:
        return empty_plot(title, "no groups")
    ordered = sorted(series.items(), key=lambda item: -max(waiting for _, waiting in item[1]))
    rows: list[tuple[str, ...]] = []
    data: list[dict[str, Any]] = []
    labels: list[str] = []
    scale = 1000 if are_dates else 1  # Vega's times are milliseconds
    for name, points in ordered[:_MAX_GROUPS]:
        points.sort()
        counts = [waiting for _, waiting in points]
        label = _label(name, labels)
        labels.append(label)
        rows.append((label, f"{counts[-1]}", f"{max(counts)}", _sparkline(counts)))
        data += [{"time": seconds * scale, "waiting": waiting, "group": label} for seconds, waiting in points]
    more = len(ordered) - len(rows)
    chips = [f"{times} measurements", f"{more} more groups not shown" if more else ""]
    lines = format_table(("group", "last", "most", ""), rows)
    return plot(title, chips, lines, data, _chart(labels, are_dates))


def _label(name: str, labels: list[str]) -> str:
    """A short name. Shortened names that are equal get a number, since each group is a line of its own."""
    short = label = one_line(name, _MAX_LABEL_LENGTH) or "(no name)"
    number = 1
    while label in labels:
        number += 1
        label = f"{short} ({number})"
    return label


def _chart(labels: list[str], are_dates: bool) -> dict[str, Any]:
    time: dict[str, Any] = (
        {"type": "temporal", "scale": {"type": "utc"}, "title": "UTC"}
        if are_dates
        else {"type": "quantitative", "scale": {"zero": False, "nice": False}, "title": "seconds"}
    )
    return {
        "height": 160,
        "mark": {"type": "line", "interpolate": "step-after", "point": True},
        "encoding": {
            "x": {"field": "time", "axis": {"grid": False, "labelOverlap": True}, **time},
            "y": {"field": "waiting", "type": "quantitative", "title": "waiting events", "axis": {"tickMinStep": 1}},
            "color": {
                "field": "group",
                "type": "nominal",
                "sort": labels,
                "scale": {"domain": labels, "scheme": "tableau10"},
            },
        },
    }


def _sparkline(counts: list[int]) -> str:
    """The largest count of each part, at most 60 of them."""
    width = ceil(len(counts) / _MAX_SPARKS)
    parts = [max(counts[place : place + width]) for place in range(0, len(counts), width)]
    return "".join(_SPARKS[ceil(8 * part / max(1, *parts))] for part in parts)
