"""The distribution of the latencies of callbacks, or of anything else that takes time."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from math import floor, log10, sqrt
from typing import Any

from rxhub.dispatching.delivery import Delivery
from rxhub.display.renderers import duration
from rxhub.plots.chart import Plot, callback_label, empty_plot, plot
from rxhub.text.layout import format_table
from rxhub.text.names import callback_name

__all__ = ["latencies"]

_MAX_ROWS = 30
_BINS_PER_DECADE = 10
_SHORTEST_S = 1e-7


def latencies(measured: Iterable[Delivery | tuple[float, str]], title: str = "latencies") -> Plot:
    """Draw the distribution of the latencies of each callback, on a logarithmic scale.

    The darker a column, the more calls took that long. The two marks of a row are the median and the 99th percentile.

    Args:
        measured: deliveries, for example from `hub.deliveries`, or pairs of seconds and a label.
        title: the title.

    Returns:
        The plot of the 30 callbacks that took the longest time in total.

    Raises:
        MissingDependency: without the extra `plot`.
    """
    by_label: dict[str, array[float]] = {}
    for seconds, label in _pairs(measured):
        by_label.setdefault(callback_label(label), array("d")).append(max(seconds, _SHORTEST_S))
    if not by_label:
        return empty_plot(title, "no latencies: hub.deliveries had no observer, or no callback ran")
    ordered = sorted(by_label.items(), key=lambda item: -sum(item[1]))
    rows: list[tuple[str, ...]] = []
    data: list[dict[str, Any]] = []
    for label, values in ordered[:_MAX_ROWS]:
        times = sorted(values)
        median, p90, p99 = (times[floor((len(times) - 1) * share)] for share in (0.5, 0.9, 0.99))
        rows.append((label, str(len(times)), *map(duration, (median, p90, p99, times[-1]))))
        data += [{"callback": label, "begin": time, "mark": mark} for time, mark in ((median, "p50"), (p99, "p99"))]
        bins = Counter(floor(log10(time) * _BINS_PER_DECADE) for time in times)
        most = max(bins.values())
        data += [
            {
                "callback": label,
                "begin": 10 ** (place / _BINS_PER_DECADE),
                "end": 10 ** ((place + 1) / _BINS_PER_DECADE),
                # Not in proportion: single slow calls must be visible.
                "share": 0.15 + 0.75 * sqrt(count / most),
            }
            for place, count in bins.items()
        ]
    more = len(by_label) - len(rows)
    chips = [f"{sum(map(len, by_label.values()))} calls", f"{more} more callbacks not shown" if more else ""]
    lines = format_table(("callback", "calls", "p50", "p90", "p99", "max"), rows)
    return plot(title, chips, lines, data, _CHART)


def _pairs(measured: Iterable[Delivery | tuple[float, str]]) -> Iterable[tuple[float, str]]:
    for item in measured:
        if isinstance(item, Delivery):
            for outcome in item.outcomes:
                if outcome.latency is not None:
                    yield outcome.latency, callback_name(outcome.subscriber.callback)
        else:
            yield item


_CHART: dict[str, Any] = {
    "height": {"step": 26},
    "encoding": {
        "y": {
            "field": "callback",
            "type": "ordinal",
            "sort": None,
            "title": None,
            "axis": {"grid": False, "ticks": False, "domain": False, "labelPadding": 8},
        },
        "x": {
            "field": "begin",
            "type": "quantitative",
            "title": None,
            "scale": {"type": "log", "nice": False},
            "axis": {
                "labelExpr": "format(datum.value, '~s') + 's'",
                "values": [10.0**power for power in range(-7, 8)],
                "labelOverlap": True,
            },
        },
    },
    "layer": [
        {
            "transform": [{"filter": "isValid(datum.end)"}],
            "mark": {"type": "bar", "height": 16, "color": "var(--rx-key)"},
            "encoding": {"x2": {"field": "end"}, "opacity": {"field": "share", "type": "quantitative", "scale": None}},
        },
        {
            "transform": [{"filter": "isValid(datum.mark)"}],
            "mark": {"type": "tick", "thickness": 2, "size": 20, "color": "var(--rx-ink)"},
        },
    ],
}
