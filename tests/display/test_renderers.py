"""What a notebook shows of each object."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from rxhub import Delivery, Emission, Event, EventHub, Outcome, Signal, Subscriber
from rxhub.display.page import Page
from rxhub.exploration import Events, Keys, MatchCounts, TopicCounts
from rxhub.expression import Explanation, explain, parse
from rxhub.jupyter import Watch, watch
from rxhub.plugins import PluginReport
from rxhub.signals.connection import Connection
from rxhub.testing import Recording
from tests.display.test_page import elements
from tests.expression.strategies import any_candidates, any_trees

EVENTS = [
    Event.from_wire(json.loads(line))
    for line in (Path(__file__).parents[1] / "data" / "events.jsonl").read_text().splitlines()
]
SECRET = "hunter2"
EXPRESSIONS = ["a=1", "a=1 and b=1", "a=1 or b=1", "not a=1"]


def text(thing: Any) -> str:
    bundle = thing._repr_mimebundle_()
    elements(bundle["text/html"])
    assert SECRET not in "".join(bundle.values())
    return bundle["text/plain"]


def told(thing: Any) -> list[str]:
    return [" ".join(line.split()) for line in text(thing).splitlines()]


@pytest.fixture
def hub():
    logging.disable()
    with EventHub() as hub:
        yield hub
    logging.disable(logging.NOTSET)


def refuse(event: Event) -> None:
    event.stop()


def fail(event: Event) -> None:
    raise ValueError("<no>")


def answer(event: Event) -> dict[str, str]:
    return {"password": SECRET}


class TestAnEvent:
    def test_shows_its_envelope_and_its_data_without_secrets(self) -> None:
        event = Event("studio.login", id="7", data={"user": "jane", "password": SECRET}, source={"id": "hub"})
        assert told(event) == [
            "studio.login (Event)",
            "id 7",
            "source {'id': 'hub'}",
            "{'user': 'jane', 'password': '***'}",
        ]

    def test_can_be_shown_whatever_became_of_it(self) -> None:
        for key in list(Event("a")):
            event = Event("a")
            del event[key]
            assert text(event)
            event[key] = object()
            assert text(event)
        for event in EVENTS:
            assert text(event).startswith(event.topic)

    @given(any_candidates)
    def test_can_be_shown_with_any_data(self, data: Any) -> None:
        assert text(Event("a", data=data, source=data, target=data))


class TestAnExpression:
    @given(any_trees)
    def test_can_be_shown(self, tree: Any) -> None:
        assert text(tree)
        assert tree.without_secrets().without_secrets() == tree.without_secrets()

    def test_shows_its_tree_with_secrets_left_out(self) -> None:
        tree = parse(f"topic=a and not (data.password={SECRET} or data.n > 1)")
        assert told(tree)[1:] == ["all of", "topic=a", "not", "any of", 'data.password="***"', "data.n > 1"]
        plain = parse("topic=a")
        assert plain.without_secrets() is plain


class TestAnExplanation:
    def test_marks_the_conditions_that_decided(self) -> None:
        html = explain("topic=a and (x=1 or y=2)", {"topic": "a", "x": 5, "y": 2})._repr_mimebundle_()["text/html"]
        decisive = [part.split("<")[0].split(">")[-1] for part in html.split("rx-decisive")[2:]]
        assert decisive == ["topic=a", "y=2"]

    @pytest.mark.parametrize(
        ("subscription", "candidate"),
        [
            ("data.password=x", {"data": {"password": SECRET}}),
            ("data.password.inner=x", {"data": {"password": {"inner": SECRET}}}),
            (
                "data.fields.value=x",
                {"data": {"fields": [{"name": "n", "value": 1}, {"name": "pin_token", "value": SECRET}]}},
            ),
            ("data.headers=x", {"data": {"headers": [("authorization", SECRET)]}}),
        ],
    )
    def test_tells_of_a_secret_only_that_it_was_found(self, subscription: str, candidate: Any) -> None:
        explanation = explain(subscription, candidate)
        assert SECRET in explanation.values
        assert SECRET not in f"{explanation}{text(explanation)}"
        assert "***" in str(explanation)


class TestADelivery:
    def test_shows_who_ran_who_failed_who_stopped_it_and_who_was_not_reached(self, hub: EventHub) -> None:
        hub.subscribe("topic=a", fail, priority=1)
        hub.subscribe("topic=*", answer, priority=2)
        hub.subscribe("topic=*", refuse, priority=3)
        hub.subscribe("topic=a", fail, priority=4)
        seen: list[Any] = []
        with hub.deliveries.subscribe(seen.append):
            hub.publish(Event("a"), synchronous=True)

        lines = told(seen[0])
        assert lines[0] == "a (Delivery, 3 ran, 1 failed, stopped by tests.display.test_renderers.refuse)"
        assert [line.split(" tests.display.test_renderers.")[-1].rsplit(" ", 2)[0] for line in lines[2:]] == [
            "fail ValueError: <no>",
            "answer {'password': '***'}",
            "refuse stopped it",
            "fail",
        ]
        assert lines[-1].endswith("fail not reached")
        assert [one.priority for one in seen[0].unreached] == [4]

    def test_without_subscribers_says_so(self, hub: EventHub) -> None:
        seen: list[Any] = []
        with hub.deliveries.subscribe(seen.append):
            hub.publish(Event("a"), synchronous=True)
        assert told(seen[0])[1] == "No subscription matched."


class TestAHub:
    def test_shows_the_dispatch_order(self, hub: EventHub) -> None:
        assert told(hub)[1:] == ["no subscribers"]
        hub.subscribe(f"topic=b and data.token={SECRET}", fail, {"id": "two"})
        hub.subscribe("", refuse, {"id": "one"}, priority=1.5)
        assert told(hub) == [
            "EventHub (memory://, connected, not handled, 2 subscribers)",
            "priority subscription callback id",
            "1.5 (everything) tests.display.test_renderers.refuse one",
            '100 topic=b and data.token="***" tests.display.test_renderers.fail two',
            "rxhub.jupyter.watch(hub) counts calls.",
        ]

    def test_shows_what_came_of_the_calls_while_it_is_watched(self, hub: EventHub) -> None:
        hub.subscribe("topic=a", fail, {"id": "failing"}, priority=1)
        hub.subscribe("topic=*", refuse, {"id": "stopping"}, priority=2)
        with watch(hub) as watching:
            for topic in "aab":
                hub.publish(Event(topic), synchronous=True)
            lines = told(hub)
            assert lines == told(watching)
            counts = {subscriber.id: count for subscriber, count in watching.tally.counts.items()}
        assert "3 events watched" in lines[0]
        assert (counts["failing"].calls, counts["failing"].errors, counts["failing"].stops) == (2, 2, 0)
        assert (counts["stopping"].calls, counts["stopping"].errors, counts["stopping"].stops) == (3, 0, 3)
        assert counts["failing"].latency is not None
        assert "calls" not in text(hub).splitlines()[1]
        assert not hub.deliveries.observers  # type: ignore[attr-defined]

    def test_counts_what_was_handed_over_when_it_ends(self, hub: EventHub) -> None:
        hub.subscribe("topic=a", lambda event: None, {"id": "later"}, scheduler=hub.scheduler)
        hub.subscribe("topic=a", lambda event: None, {"id": "now"})
        with watch(hub) as watching:
            hub.publish(Event("a"), synchronous=True)
            hub.drain()
        assert {subscriber.id: count.calls for subscriber, count in watching.tally.counts.items()} == {
            "later": 1,
            "now": 1,
        }

    def test_with_many_subscribers_shows_the_first(self, hub: EventHub) -> None:
        for number in range(1000):
            hub.subscribe(f"topic={number}", refuse)
        assert told(hub)[-2] == "… and 900 more"


class TestASubscriberAndASignal:
    def test_a_subscriber_shows_its_tree_and_metadata(self, hub: EventHub) -> None:
        hub.subscribe("topic=a or topic=b", refuse, {"id": "one", "host": "ws1", "token": SECRET}, priority=7)
        subscriber = hub.get_subscriber_by_identifier("one")
        assert told(subscriber)[0] == "Subscriber (priority 7)"
        assert told(subscriber)[4:] == ["any of", "topic=a", "topic=b", "metadata {'host': 'ws1', 'token': '***'}"]

    def test_a_signal_shows_its_receivers_in_order(self) -> None:
        approved = Signal("approved")
        assert told(approved) == ["approved (Signal)", "no receivers"]

        def mail(**named: Any) -> None: ...

        approved.connect(mail, sender="jane", where=f"password={SECRET}", dispatch_uid="mails")
        approved.on(priority=5).subscribe()
        lines = told(approved)
        assert lines[1:3] == ["priority receiver sender where dispatch_uid kept", "5 (pipeline) strongly"]
        assert lines[3].endswith("<locals>.mail 'jane' password=\"***\" 'mails' weakly")


def test_nothing_subscribes_or_changes_by_being_shown(hub: EventHub) -> None:
    approved = Signal("approved")
    hub.subscribe("topic=a", refuse)
    before = hub.describe(), approved.connections
    for thing in (hub, approved, *hub.describe()):
        text(thing)
    assert str(before[0]) == str(hub.describe())
    assert before[1] == approved.connections
    assert not hub.deliveries.observers  # type: ignore[attr-defined]
    assert not hub.events.observers


class TestThePageOnNotebooks:
    """It says which objects show themselves, and which do not."""

    PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "notebook.md").read_text()
    SHOWN: Mapping[str, tuple[type, ...]] = {
        "`Event`": (Event,),
        "an expression, from `parse(...)`": tuple(type(parse(text)) for text in EXPRESSIONS),
        "`explain(...)`": (Explanation,),
        "`EventHub`": (EventHub,),
        "a subscriber": (Subscriber,),
        "`Delivery`": (Delivery,),
        "`read_events(...)`, its `topics()`, `keys()` and `explain(...)`": (Events, TopicCounts, Keys, MatchCounts),
        "`Signal`": (Signal,),
        "a recorded stream, from `record(...)` or `recorded(...)`": (Recording, Page),
        "`watch(...)`": (Watch,),
    }

    def test_names_those_that_do(self) -> None:
        (rows,) = re.findall(r"\|---\|---\|\n((?:\|.*\n)+)", self.PAGE)
        assert [row.split("|")[1].strip() for row in rows.splitlines()] == list(self.SHOWN)
        for kinds in self.SHOWN.values():
            assert all(hasattr(kind, "_repr_mimebundle_") for kind in kinds)

    def test_names_those_that_do_not(self) -> None:
        (paragraph,) = re.findall(r"(?s)Notebooks display other objects by their one-line.*?\n\n", self.PAGE)
        for kind in (Emission, Outcome, Connection, PluginReport):
            assert f"`{kind.__name__}`" in paragraph
            assert not hasattr(kind, "_repr_mimebundle_")
        with EventHub() as hub:
            for name, thing in {
                "hub.events": hub.events,
                "hub.on(...)": hub.on("topic=a"),
                "signal.of(...)": Signal("s").of(None),
                "hub.describe()": hub.describe(),
            }.items():
                assert f"`{name}`" in paragraph
                assert not hasattr(thing, "_repr_mimebundle_")
