"""Plots are static and well-formed SVG, whatever the names are, and readable as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

import pytest
from reactivex.scheduler import ImmediateScheduler

from rxhub import Delivery, Dispatcher, Event
from rxhub.plots import Plot, lag, latencies, rates, timeline
from rxhub.testing import Recording
from rxhub.transport.durable import GroupState
from tests.display.test_page import elements

HOSTILE = ["<script>alert(1)</script>", "</svg>", "&\"'", "\ud800", "\u202e", "datum.x", "", "a" * 1000]
STATIC = {"style", "div", "strong", "span", "svg", "g", "text", "path", "line", "rect"}


def delivery(dispatcher: Dispatcher) -> Delivery:
    with dispatcher.deliveries.subscribe(lambda _: None):
        return dispatcher.dispatch(Event("a"))


def failing(event: Event) -> None:
    raise ValueError("mine")


def stopping(event: Event) -> None:
    sleep(0.002)
    event.stop()


def unreached(event: Event) -> None: ...


@pytest.fixture
def stopped() -> Delivery:
    dispatcher = Dispatcher()
    for priority, callback in enumerate((failing, stopping, unreached)):
        dispatcher.subscribe("", callback, priority=priority)
    return delivery(dispatcher)


def check(plot: Plot, path: Path) -> None:
    assert elements(plot.html()) <= STATIC
    plot.save(path)
    tags = {element.tag.rpartition("}")[2] for element in ET.parse(path).iter()}
    assert tags <= STATIC
    svg = path.read_text()
    assert "prefers-color-scheme:dark" in svg
    assert " id=" not in svg  # two plots of one page must not share ids
    assert " on" not in svg.replace(" on ", "")


def test_names_are_escaped_and_plots_are_static(tmp_path: Path) -> None:
    check(rates([(float(n), name) for n, name in enumerate(HOSTILE)], title=HOSTILE[0]), tmp_path / "rates.svg")
    check(latencies([(0.1 * n, name) for n, name in enumerate(HOSTILE)]), tmp_path / "latencies.svg")


def test_a_timeline_is_static(stopped: Delivery, tmp_path: Path) -> None:
    check(timeline(stopped), tmp_path / "timeline.svg")


def test_rates_count_the_events_of_each_interval() -> None:
    recording = Recording([(0, Event("a")), (1, Event("b")), (61, Event("a")), (62, Event("a"))])
    assert [line.split() for line in rates(recording, 60).text().splitlines()[2:]] == [
        ["a", "3", "2", "▄█"],
        ["b", "1", "1", "█"],
    ]


def test_rates_of_dates_are_drawn_in_utc() -> None:
    begin = datetime(2026, 3, 1, 12, tzinfo=UTC)
    plot = rates((begin + timedelta(minutes=n), "a") for n in range(30))
    assert "12:10" in plot.html() and "UTC" in plot.html()


def test_rare_topics_share_a_name() -> None:
    points = [(0.0, f"topic{n}") for n in range(20) for _ in range(20 - n)]
    lines = rates(points).text().splitlines()
    assert len(lines) == 2 + 9
    assert any(line.strip().startswith("(other topics)  78") for line in lines)


@pytest.mark.parametrize("interval", [0, -1, float("nan"), 1e-9])
def test_an_interval_must_fit_the_events(interval: float) -> None:
    with pytest.raises(ValueError, match="rates"):
        rates([(0, "a"), (100, "a")], interval)


def test_a_timeline_shows_the_order_the_failure_and_the_stop(stopped: Delivery) -> None:
    first, second = stopped.outcomes
    assert first.started == 0.0
    assert second.started is not None and first.latency is not None and second.started >= first.latency
    lines = timeline(stopped).text().splitlines()
    assert lines[0].endswith(".stopping)")
    labels = [line.split()[:2] for line in lines[2:]]
    assert [(number, name.rpartition(".")[2]) for number, name in labels] == [
        ("1", "failing"),
        ("2", "stopping"),
        ("3", "unreached"),
    ]
    assert [line.rpartition(", ")[2] for line in lines[2:4]] == ["failed", "stopped the event"]
    assert lines[4].endswith("not reached")


def test_callbacks_on_schedulers_have_times() -> None:
    dispatcher = Dispatcher()
    dispatcher.subscribe("", lambda _: sleep(0.001), priority=1, scheduler=ImmediateScheduler())
    dispatcher.subscribe("", unreached, priority=2)
    outcomes = delivery(dispatcher).outcomes
    assert all(outcome.started is not None and outcome.latency is not None for outcome in outcomes)
    assert len(timeline(delivery(dispatcher)).text().splitlines()) == 4


def test_a_delivery_without_times_is_refused() -> None:
    dispatcher = Dispatcher()
    dispatcher.subscribe("", unreached)
    with pytest.raises(ValueError, match=r"hub\.deliveries had no observer"):
        timeline(dispatcher.dispatch(Event("a")))


def test_latencies_show_percentiles(stopped: Delivery) -> None:
    text = latencies([*((n / 1000, "service") for n in range(1, 101)), stopped]).text()
    assert text.splitlines()[2].split() == ["service", "100", *["50", "ms", "90", "ms", "99", "ms", "100", "ms"]]
    assert "stopping" in text and "failing" in text


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    for plot in (rates([]), latencies([]), timeline(Dispatcher().dispatch(Event("a")))):
        assert len(plot.text().splitlines()) == 2
        check(plot, tmp_path / "empty.svg")


def group(name: str, waiting: int) -> GroupState:
    return GroupState(name, waiting, pending=0, repeated=0)


def test_lag_shows_the_last_and_the_largest_number_of_waiting_events() -> None:
    measured = [(0.0, [group("a", 8), group("b", 0)]), (1.0, [group("a", 4)]), (2.0, [group("a", 0), group("b", 1)])]
    assert [line.split() for line in lag(measured).text().splitlines()[2:]] == [
        ["a", "0", "8", "█▄"],
        ["b", "1", "1", "█"],
    ]


def test_lag_at_dates_is_drawn_in_utc() -> None:
    begin = datetime(2026, 1, 1, 12, 59, tzinfo=UTC)
    plot = lag((begin + timedelta(minutes=n), [group("a", n)]) for n in range(3))
    assert "UTC" in plot.html()
    assert "01 PM" in plot.html()


def test_lag_is_static_and_keeps_groups_with_similar_names_apart(tmp_path: Path) -> None:
    check(lag([(float(n), [group(name, n) for name in HOSTILE]) for n in range(2)]), tmp_path / "lag.svg")
    names = [f"{'x' * 100}{n}" for n in range(10)]
    text = lag([(0.0, [group(name, n) for n, name in enumerate(names)])]).text()
    assert "2 more groups not shown" in text
    assert "(8)" in text


def test_no_groups_are_said(tmp_path: Path) -> None:
    assert "no groups" in lag([(0.0, [])]).text()
    check(lag([]), tmp_path / "empty.svg")
