"""A delivery over time: which callbacks ran when, for how long, and which one stopped the event."""

from __future__ import annotations

from typing import Any

from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.display.renderers import duration
from rxhub.plots.chart import Plot, callback_label, empty_plot, plot
from rxhub.text.layout import format_table
from rxhub.text.names import callback_name

__all__ = ["timeline"]

_MAX_ROWS = 60
_BAR_WIDTH = 40  # characters
_COLOURS = {
    "returned": "var(--rx-key)",
    "failed": "var(--rx-no)",
    "stopped the event": "var(--rx-stop)",
    "not reached": "var(--rx-faint)",
}


def timeline(delivery: Delivery) -> Plot:
    """Draw the callbacks of a delivery in order.

    The times of a delivery are known if `hub.deliveries` had an observer when the event was delivered. Callbacks that
    run on a scheduler may overlap with the others.

    Args:
        delivery: the delivery of an event, for example from `hub.deliveries`.

    Returns:
        The plot of the first 60 subscribers.

    Raises:
        ValueError: if the times of the delivery are not known.
        MissingDependency: without the extra `plot`.
    """
    outcomes = delivery.outcomes
    if outcomes and all(outcome.started is None for outcome in outcomes):
        raise ValueError(
            f"timeline({delivery!r}) has no times to draw, because hub.deliveries had no observer when the event was "
            "delivered. Subscribe to hub.deliveries, or watch the hub with rxhub.jupyter.watch, and publish again."
        )
    rows = [_row(delivery, number, outcome) for number, outcome in enumerate(outcomes[:_MAX_ROWS], 1)]
    for number, subscriber in enumerate(delivery.unreached, len(rows) + 1):
        if number <= _MAX_ROWS:
            label = _label(number, callback_name(subscriber.callback))
            rows.append({"callback": label, "begin": 0.0, "end": 0.0, "ended": "not reached", "note": "not reached"})
    title = str(delivery.event.fields.get("topic", "(no topic)"))
    if not rows:
        return empty_plot(title, "No subscription matched.")
    end = max(row["end"] for row in rows)
    more = len(outcomes) + len(delivery.unreached) - len(rows)
    chips = [
        f"{len(outcomes)} ran",
        duration(end / 1000) if end else "",
        f"stopped by {callback_name(delivery.stopped_by.callback)}" if delivery.stopped_by else "",
        "" if delivery.completed else "still open",
        f"{more} more not shown" if more else "",
    ]
    lines = format_table(("callback", "", ""), [(row["callback"], _bar(row, end), row["note"]) for row in rows])
    return plot(title, chips, lines, rows, _CHART)


def _row(delivery: Delivery, number: int, outcome: Outcome) -> dict[str, Any]:
    begin, latency = outcome.started or 0.0, outcome.latency or 0.0
    ended = "returned"
    if outcome.error is not None:
        ended = "failed"
    elif outcome.subscriber is delivery.stopped_by:
        ended = "stopped the event"
    note = duration(outcome.latency) if ended == "returned" else f"{duration(outcome.latency)}, {ended}"
    return {
        "callback": _label(number, callback_name(outcome.subscriber.callback)),
        "begin": begin * 1000,
        "end": (begin + latency) * 1000,
        "ended": ended,
        "note": note,
    }


def _label(number: int, name: str) -> str:
    """A label that no other row has."""
    return f"{number} {callback_label(name)}"


def _bar(row: dict[str, Any], end: float) -> str:
    if row["ended"] == "not reached":
        return ""
    begin, stop = (round(time / end * _BAR_WIDTH) if end else 0 for time in (row["begin"], row["end"]))
    return f"{' ' * min(begin, _BAR_WIDTH - 1)}{'█' * max(1, stop - begin)}"


_CALLBACK = {"field": "callback", "type": "ordinal", "sort": None, "title": None}
_AXIS = {"grid": False, "ticks": False, "domain": False, "labelPadding": 8}
_BEGIN = {"field": "begin", "type": "quantitative", "title": "ms", "axis": {"labelOverlap": True}}
_COLOUR = {
    "field": "ended",
    "type": "nominal",
    "scale": {"domain": list(_COLOURS), "range": list(_COLOURS.values())},
    "legend": None,
}
_CALLED = [{"filter": "datum.ended != 'not reached'"}]

_CHART: dict[str, Any] = {
    "height": {"step": 22},
    "encoding": {"y": {**_CALLBACK, "axis": _AXIS}, "color": _COLOUR},
    "layer": [
        {
            "transform": _CALLED,
            "mark": {"type": "bar", "height": 12},
            "encoding": {"x": _BEGIN, "x2": {"field": "end"}},
        },
        # Visible even if the bar is shorter than a pixel.
        {"transform": _CALLED, "mark": {"type": "tick", "thickness": 2, "size": 12}, "encoding": {"x": _BEGIN}},
        {
            "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 11},
            "encoding": {"x": {**_BEGIN, "field": "end"}, "text": {"field": "note"}},
        },
    ],
}
