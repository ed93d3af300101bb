"""A hub describes who is connected, to it and to the signals, and which plugin did it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from rxhub import EventHub
from rxhub.hub.description import Description, all_signals
from rxhub.signals.signal import Signal


@pytest.fixture
def hub() -> Iterator[EventHub]:
    with EventHub() as hub:
        yield hub


class Sender:
    def receive(self, **named: Any) -> None: ...


def receive(**named: Any) -> None: ...


def rows(hub: EventHub, *signals: Signal) -> list[tuple[str, ...]]:
    """Of these signals alone: other tests have theirs."""
    names = {signal.name for signal in signals}
    return [row for row in hub.describe().receiver_rows() if row[1] in names]


def test_receivers_of_all_signals_are_shown_in_order(hub: EventHub) -> None:
    first, second = Signal("first of these"), Signal("second of these")
    second.connect(receive, sender="bob", where="n=1", priority=2.5)
    second.connect(receive, sender=Sender, priority=1)
    second.on("n=2", priority=7).subscribe()
    first.connect(Sender().receive, weak=False)
    assert rows(hub, first, second) == [
        ("100", "first of these", f"{__name__}.Sender.receive", "", "", ""),
        ("1", "second of these", f"{__name__}.receive", "Sender", "", ""),
        ("2.5", "second of these", f"{__name__}.receive", "'bob'", "n=1", ""),
        ("7", "second of these", "(pipeline)", "", "n=2", ""),
    ]


def test_who_has_died_is_not_shown(hub: EventHub) -> None:
    signal = Signal("of the dead")
    signal.connect(lambda **named: None)
    gc.collect()
    assert rows(hub, signal) == [] and "of the dead" in hub.describe().unheard()


def test_signals_that_nobody_hears_are_named(hub: EventHub) -> None:
    signals = [Signal(f"unheard {number}") for number in range(12)]
    description = Description("a hub", (), all_signals()[-len(signals) :])
    assert str(description).splitlines() == [
        "a hub",
        "  no subscribers",
        "signals of the process",
        f"  no receivers of {', '.join(f'unheard {number}' for number in range(8))}, and 4 more",
    ]


def test_what_a_plugin_connected_is_shown_with_it(hub: EventHub) -> None:
    signal = Signal("of a plugin")

    def bootstrap(hub: EventHub) -> None:
        hub.subscribe("topic=a", print)
        signal.connect(receive)

    hub.subscribe("topic=b", print)
    hub.bootstrap([SimpleNamespace(name="colour", bootstrap=bootstrap)])
    description = hub.describe()
    assert [row[3] for row in description.subscriber_rows()] == ["", "colour"]
    assert [row[5] for row in rows(hub, signal)] == ["colour"]
    assert [plugin.name for plugin in description.plugins] == ["colour"]
    assert str(description).splitlines()[-1] == "  1  colour  running  types:SimpleNamespace  2"
    assert repr(description) == str(description)
    hub.teardown()
    assert [row[3] for row in hub.describe().subscriber_rows()] == [""]


def test_what_subscriptions_compare_with_secrets_is_not_shown() -> None:
    with EventHub() as hub:
        hub.subscribe("topic=a and data.token=hunter2", print)
        assert "hunter2" not in str(hub.describe())
        assert 'data.token="***"' in str(hub.describe())
