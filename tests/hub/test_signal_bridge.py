"""`hub.bridge`: emissions go to other hubs as events, and come from them, never back and forth."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops

from rxhub import Event, EventHub, where
from rxhub.errors import EventError, HubClosed, NotUniqueError, Overflow
from rxhub.signals.emission import Emission
from rxhub.signals.signal import Signal

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")

TOPIC = "studio.item"


class ItemHelper:
    def __repr__(self) -> str:
        return "<ItemHelper>"


class Side:
    """A hub, and a signal of its own, as they would be in a process of their own."""

    def __init__(self, name: str = "memory://bridge", signal: Signal | None = None) -> None:
        self.hub = EventHub(name)
        self.signal = signal or Signal("item")
        self.seen: list[tuple[Any, dict[str, Any]]] = []
        self.events: list[Event] = []
        self.hub.subscribe("topic=*", lambda event: self.events.append(event), priority=0)
        self.signal.on(priority=0).subscribe(lambda emission: self.seen.append((emission.sender, {**emission})))
        self.bridge = self.hub.bridge(self.signal, topic=TOPIC)


def settle(*sides: Side) -> int:
    """Handle until nothing is left: how many events it took."""
    handled = 0
    while now := sum(side.hub.drain() for side in sides):
        handled += now
        assert handled < 100, "the events go back and forth"
    return handled


@pytest.fixture
def here() -> Iterator[Side]:
    side = Side()
    yield side
    side.hub.close()


@pytest.fixture
def there() -> Iterator[Side]:
    side = Side()
    yield side
    side.hub.close()


def test_an_emission_is_an_event_there_and_an_emission_again(here: Side, there: Side) -> None:
    here.signal.send(ItemHelper, instance="VX-1", method="removeItem")
    assert settle(here, there) == 2
    for side in (here, there):
        (event,) = side.events
        assert (event.topic, event.source["id"]) == (TOPIC, here.hub.id)
        assert event.data == {"instance": "VX-1", "method": "removeItem", "sender": "ItemHelper"}
    assert here.seen == [(ItemHelper, {"instance": "VX-1", "method": "removeItem"})]
    assert there.seen == [("ItemHelper", {"instance": "VX-1", "method": "removeItem"})]


def test_it_goes_both_ways_and_never_back(here: Side, there: Side) -> None:
    third = Side()
    for number, side in enumerate((here, there, third)):
        side.signal.send(n=number)
    assert settle(here, there, third) == 9
    for number, side in enumerate((here, there, third)):
        assert [named["n"] for _, named in side.seen] == [number, *[n for n in range(3) if n != number]]
    third.hub.close()


def test_hubs_on_one_and_the_same_signal_do_not_hear_themselves() -> None:
    signal = Signal("item")
    sides = [Side(signal=signal), Side(signal=signal)]
    signal.send(n=1)
    assert settle(*sides) == 4
    assert [len(side.seen) for side in sides] == [1, 1]
    for side in sides:
        side.hub.close()


def test_what_a_bridge_brought_is_not_published_on_another_topic(here: Side, there: Side) -> None:
    for side in (here, there):
        side.hub.bridge(side.signal, topic="studio.other")
    there.signal.send(n=1)
    assert settle(here, there) == 4
    assert len(here.seen) == 2 and len(there.seen) == 1
    assert {event.source["id"] for event in here.events} == {there.hub.id}


def test_an_emission_tells_where_it_came_from(here: Side, there: Side) -> None:
    origins: list[Any] = []
    forwarded = Signal("forwarded")
    forwarded.subscribe(lambda emission: origins.append(emission.origin))
    here.signal.subscribe(forwarded)
    here.signal.send()
    there.signal.send()
    settle(here, there)
    assert origins == [None, there.hub.id]


def test_an_answer_to_an_emission_is_one_of_its_own(here: Side, there: Side) -> None:
    def answer(signal: Signal, n: int, **_: Any) -> None:
        if n < 3:
            signal.send("answer", n=n + 1)

    there.signal.connect(answer)
    here.signal.send(n=1)
    settle(here, there)
    assert [named["n"] for _, named in here.seen] == [1, 2, 3]
    assert [named["n"] for _, named in there.seen] == [1, 2, 3]


def test_emissions_inside_an_emission_are_published_behind_it(here: Side, there: Side) -> None:
    def nest(signal: Signal, n: int, **_: Any) -> None:
        if n == 1:
            signal.send(n=2)

    here.signal.connect(nest)
    here.signal.send(n=1)
    settle(here, there)
    assert [event.data["n"] for event in there.events] == [1, 2]


def test_any_event_of_another_hub_becomes_an_emission_and_one_of_this_hub_does_not(here: Side) -> None:
    other = EventHub("memory://bridge")
    other.publish(Event(TOPIC, data={"n": 1}))
    other.publish(Event(TOPIC + ".more", data={"n": 2}))
    here.hub.publish(Event(TOPIC, data={"n": 3}))
    settle(here)
    assert here.seen == [(None, {"n": 1})]
    other.close()


# Senders


def test_the_sender_is_looked_up_among_those_who_are_asked_for(here: Side, there: Side) -> None:
    got: list[Any] = []
    there.signal.connect(lambda sender, **named: got.append(sender), sender=ItemHelper, weak=False)
    here.signal.send(ItemHelper)
    here.signal.send("ItemHelper")
    here.signal.send(ItemHelper())
    here.signal.send("somebody else")
    settle(here, there)
    assert got == [ItemHelper] * 3
    assert [sender for sender, _ in there.seen] == [ItemHelper, ItemHelper, ItemHelper, "somebody else"]


def test_a_text_is_found_by_those_who_ask_for_it(here: Side, there: Side) -> None:
    got: list[Any] = []
    there.signal.connect(lambda sender, **named: got.append(sender), sender="ItemHelper", weak=False)
    there.signal.connect(lambda sender, **named: got.append(sender), where="sender=ItemHelper and n=1", weak=False)
    here.signal.send(ItemHelper, n=1)
    settle(here, there)
    assert got == ["ItemHelper"] * 2


def test_of_two_senders_of_one_name_neither_is_taken(here: Side, there: Side) -> None:
    other = type("ItemHelper", (), {})
    for sender in (ItemHelper, other, ItemHelper()):
        there.signal.connect(print, sender=sender)
    here.signal.send(ItemHelper)
    settle(here, there)
    assert there.seen == [("ItemHelper", {})]


# Order, stopping, vetoes, pipelines


def test_what_a_receiver_stops_is_not_published(here: Side, there: Side) -> None:
    here.signal.on("n=1").subscribe(lambda emission: emission.stop())
    here.signal.send(n=1)
    here.signal.send(n=2)
    settle(here, there)
    assert [event.data["n"] for event in there.events] == [2]


def test_what_a_receiver_vetoes_is_not_published(here: Side, there: Side) -> None:
    def veto(n: int, **_: Any) -> None:
        if n == 1:
            raise PermissionError

    here.signal.connect(veto)
    with pytest.raises(PermissionError):
        here.signal.send(n=1)
    here.signal.send(n=2)
    settle(here, there)
    assert [event.data["n"] for event in there.events] == [2]


def test_an_event_that_is_stopped_becomes_no_emission(here: Side, there: Side) -> None:
    there.hub.subscribe(f"topic={TOPIC} and data.n=1", lambda event: event.stop())
    here.signal.send(n=1)
    here.signal.send(n=2)
    settle(here, there)
    assert [named["n"] for _, named in there.seen] == [2]


def test_its_place_may_be_chosen(here: Side) -> None:
    order: list[str] = []
    early = Signal("early")
    early.connect(lambda **named: order.append("receiver"), weak=False)
    here.hub.on("topic=early", priority=1).subscribe(lambda event: order.append("subscriber"))
    here.hub.bridge(early, topic="early", priority=5)
    early.on(priority=6).subscribe(lambda emission: emission.stop())
    early.send()
    settle(here)
    assert order == ["subscriber"]


def test_pipelines_compose_on_both_ends(here: Side, there: Side) -> None:
    totals: list[int] = []
    there.signal.pipe(
        where("method=removeItem"), ops.map(lambda emission: emission["n"]), ops.scan(lambda total, n: total + n)
    ).subscribe(totals.append)
    numbers: list[int] = []
    there.hub.on(f"topic={TOPIC}").pipe(ops.map(lambda event: event.data["n"])).subscribe(numbers.append)
    of_helper = here.signal.of(ItemHelper)
    for n in (1, 2, 3):
        of_helper.on_next({"n": n, "method": "removeItem"})
    of_helper.on_next({"n": 9, "method": "other"})
    settle(here, there)
    assert totals == [1, 3, 6] and numbers == [1, 2, 3, 9]


def test_coroutine_receivers_are_awaited_in_the_handling_context(there: Side) -> None:
    got: list[Any] = []

    async def receive(**named: Any) -> None:
        await asyncio.sleep(0)
        got.append(named["n"])

    there.signal.connect(receive)

    async def main() -> None:
        async with EventHub("memory://bridge") as hub, there.hub:
            there.hub.on("topic=done").subscribe(lambda event: done.set())
            done = asyncio.Event()
            hub.publish(Event(TOPIC, data={"n": 1}))
            hub.publish(Event(TOPIC, data={"n": 2}))
            hub.publish(Event("done"))
            await asyncio.wait_for(done.wait(), 20)

    asyncio.run(main())
    assert got == [1, 2]


def test_a_receiver_that_raises_there_disturbs_nobody(
    here: Side, there: Side, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = []
    there.signal.errors.subscribe(errors.append)
    there.signal.connect(lambda **named: 1 / 0, weak=False)
    last: list[Any] = []
    there.signal.connect(lambda **named: last.append(named["n"]), weak=False)
    with caplog.at_level(logging.ERROR, "rxhub"):
        here.signal.send(n=1)
        settle(here, there)
    assert last == [1] and [type(error) for error in errors] == [ZeroDivisionError]


# What is carried


def test_secrets_are_not_published(here: Side, there: Side) -> None:
    pre_create = Signal("pre_create")
    here.hub.bridge(pre_create, topic="create", secrets=["pin"])
    got: list[Any] = []
    pre_create.connect(lambda **named: got.append((named["newPassword"], named["deep"])), weak=False)
    pre_create.send(ItemHelper, instance="bob", newPassword="hunter2", deep=[{"PIN": 1, "x": 2}])
    settle(here, there)
    assert got == [("hunter2", [{"PIN": 1, "x": 2}])]
    data = {"instance": "bob", "newPassword": "***", "deep": [{"PIN": "***", "x": 2}], "sender": "ItemHelper"}
    assert [event.data for event in there.events] == [data]


def test_what_cannot_be_carried_is_represented_and_told_once(
    here: Side, there: Side, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "rxhub"):
        for _ in range(3):
            here.signal.send(instance=ItemHelper(), items=(1, {"a"}))
    settle(here, there)
    assert there.events[0].data == {"instance": "<ItemHelper>", "items": [1, ["a"]], "sender": None}
    (record,) = caplog.records
    assert f"Emissions of item hold {__name__}.ItemHelper, which no event can carry" in record.getMessage()


NAMED = st.dictionaries(
    st.text(max_size=5).filter(lambda name: name not in ("signal", "sender")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.sampled_from([object()]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_size=4,
)


@given(NAMED)
@pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")
def test_whatever_is_sent_arrives_as_json(named: dict[str, Any]) -> None:
    sides = here, there = Side(), Side()
    here.signal.send(**named)
    settle(*sides)
    (event,) = there.events
    assert json.loads(json.dumps(event.data)) == event.data
    assert there.seen == [(None, {key: value for key, value in event.data.items() if key != "sender"})]
    for side in sides:
        side.hub.close()


@pytest.mark.parametrize("data", [[1], "text", 7, {1: 2}, {"signal": 1}], ids=str)
def test_an_event_that_is_no_emission_is_an_error_of_its_subscriber(here: Side, data: Any) -> None:
    other = EventHub("memory://bridge")
    errors: list[Any] = []
    here.hub.errors.subscribe(lambda outcome: errors.append(outcome.error))
    other.publish(Event(TOPIC, data=data))
    other.publish(Event(TOPIC, data={"n": 1}, source={"id": 7}))
    other.publish(Event(TOPIC, data={"sender": 5}, source="nonsense"))
    settle(here)
    assert [type(error) for error in errors] == [EventError]
    assert "cannot be sent as an emission of item" in str(errors[0])
    assert here.seen == [(None, {"n": 1}), (None, {})]
    other.close()


# The end


def test_it_ends_when_disposed(here: Side, there: Side) -> None:
    here.bridge.dispose()
    here.bridge.dispose()
    here.signal.send()
    there.signal.send()
    settle(here, there)
    assert len(here.seen) == len(there.seen) == 1 and here.events[0].source["id"] == there.hub.id
    with here.hub.bridge(here.signal, topic=TOPIC):
        assert len(here.signal.connections) == 2
    assert len(here.signal.connections) == 1 and len(here.hub.describe()) == 1


def test_it_ends_with_its_hub(here: Side) -> None:
    here.hub.close()
    assert len(here.signal.connections) == 1
    here.signal.send()
    with pytest.raises(HubClosed):
        here.hub.bridge(here.signal, topic="b")


def test_two_between_the_same_are_refused(here: Side) -> None:
    with pytest.raises(NotUniqueError, match="has a bridge between item and studio.item"):
        here.hub.bridge(here.signal, topic=TOPIC)
    here.bridge.dispose()
    here.hub.bridge(here.signal, topic=TOPIC)


@pytest.mark.parametrize("topic", ["", "studio.*", 'a"b', "a\\"])
def test_a_topic_is_one_topic(here: Side, topic: str) -> None:
    with pytest.raises(ValueError, match="has one topic"):
        here.hub.bridge(Signal(), topic=topic)
    assert len(here.hub.describe()) == 2


@pytest.mark.parametrize("topic", ["a b", "a'b", "ftrack.update", "a=b", "é", "and"])
def test_it_may_be_any_text(topic: str) -> None:
    sides = [Side(), Side()]
    for side in sides:
        side.hub.bridge(side.signal, topic=topic)
        side.bridge.dispose()
    sides[0].signal.send(n=1)
    settle(*sides)
    assert [event.topic for event in sides[1].events] == [topic] and sides[1].seen == [(None, {"n": 1})]
    for side in sides:
        side.hub.close()


def test_wrong_types_are_told(here: Side) -> None:
    with pytest.raises(TypeError, match="joins an rxhub Signal to a topic, but object was given"):
        here.hub.bridge(object(), topic="a")
    with pytest.raises(TypeError, match="topic is a string"):
        here.hub.bridge(Signal(), topic=7)


def test_what_cannot_be_published_does_not_disturb_the_sender(caplog: pytest.LogCaptureFixture) -> None:
    signal, errors = Signal("item"), []
    signal.errors.subscribe(errors.append)
    with EventHub(inbox=1) as hub, caplog.at_level(logging.ERROR, "rxhub"):
        hub.bridge(signal, topic=TOPIC)
        for _ in range(3):
            signal.send()
        hub.disconnect(unsubscribe=False)
        signal.send()
    assert [type(error) for error in errors][:2] == [Overflow, Overflow] and len(errors) == 3
    assert "An emission of item was not published as studio.item" in caplog.text


def test_an_emission_of_another_signal_may_be_put_in(here: Side, there: Side) -> None:
    here.signal.on_next(Emission(Signal("other"), ItemHelper, {"n": 1}))
    settle(here, there)
    assert there.seen == [("ItemHelper", {"n": 1})]
