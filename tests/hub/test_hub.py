"""The hub: ftrack's methods, and the reactive face."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections import UserDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from threading import Barrier, get_ident
from threading import Event as Flag
from types import MappingProxyType
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.scheduler import ThreadPoolScheduler

from rxhub import Delivery, Event, EventHub, Outcome, resume, where
from rxhub.errors import (
    EventError,
    ExpressionError,
    HubClosed,
    HubConnectionError,
    NoReply,
    NotFoundError,
    NotHandled,
    NotHandledWarning,
    NotUniqueError,
    Overflow,
    PipelineEnded,
    TooLate,
)
from rxhub.testing import virtual_hub
from rxhub.transport.connection_state import Phase
from rxhub.transport.memory import MemoryTransport
from tests.by_hand import ByHand
from tests.threads import LIMIT, at_once, elsewhere

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")

COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")


@pytest.fixture
def hub() -> Iterator[EventHub]:
    with EventHub(api_user="me") as hub:
        yield hub


def fail(event: Event) -> Any:
    raise ValueError(event.topic)


# Making one


def test_the_url_tells_where_it_is() -> None:
    for url, server, location in (
        ("memory://", "memory://", ""),
        ("memory://studio", "memory://studio", "studio"),
        ("memory://me:key@studio:8080/path?query#part", "memory://studio:8080", "studio:8080"),
        ("MEMORY://Studio", "memory://Studio", "Studio"),
    ):
        with EventHub(url) as hub:
            assert (hub.get_server_url(), hub.get_network_location()) == (server, location)
            assert not hub.secure and hub.connected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "scheme"),
        ("studio", "scheme"),
        ("memory:studio", "scheme"),
        ("://", "No transport"),
        ("gopher://studio", "No transport is known for gopher://"),
        ("memory://[", "IPv6"),
    ],
)
def test_a_url_that_names_no_transport_is_refused(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        EventHub(url)


def test_who_waits_for_a_reply_in_vain_is_told_so() -> None:
    with EventHub() as hub, hub.start(), pytest.raises(NoReply, match=r"Nobody replied to a within 0\.01 s"):
        hub.request(Event("a"), timeout=0.01).run()


def test_the_thread_that_handles_a_hub_does_not_wait_for_what_it_should_handle() -> None:
    with EventHub() as hub:
        failures: list[Outcome] = []
        hub.errors.subscribe(failures.append)
        hub.subscribe("topic=a", lambda event: hub.request(Event("b"), timeout=60).run())
        hub.publish(Event("a"))
        hub.drain()
    assert isinstance(failures[0].error, NotHandled)


@pytest.mark.parametrize(
    ("mistake", "remedy"),
    [
        (lambda hub: hub.publish("studio.hello"), r"publish\(Event\(topic, data="),
        (lambda hub: hub.subscribe("topic=a", print, 10), "priority=10"),
        (lambda hub: hub.on(print), r"@hub\.on\("),
        (lambda hub: EventHub("localhost:8765"), "http://"),
    ],
    ids=["a topic published", "priority by place", "on without a subscription", "no scheme"],
)
def test_a_usual_mistake_is_told_its_remedy(mistake: Any, remedy: str) -> None:
    with EventHub() as hub, pytest.raises((TypeError, ValueError), match=remedy):
        mistake(hub)


@pytest.mark.parametrize("url", [None, 5, b"memory://"])
def test_a_url_is_text(url: Any) -> None:
    with pytest.raises(TypeError, match="URL is a string"):
        EventHub(url)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"inbox": 0}, ValueError),
        ({"inbox": "many"}, TypeError),
        ({"overflow": "explode"}, ValueError),
        ({"headers": [("a", "b")]}, TypeError),
        ({"cookies": 5}, TypeError),
        ({"no such option": 1}, TypeError),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        EventHub(**options)


def test_it_describes_itself(hub: EventHub) -> None:
    assert repr(hub) == "<EventHub memory:// connected, 0 subscribers, not handled>"
    assert str(hub.describe()).splitlines()[1] == "  no subscribers"  # signals of other tests may follow
    hub.subscribe("topic=late", print, {"id": "x"}, priority=10**400)
    hub.subscribe("", fail, {"id": "y"}, priority=1.5)
    hub.on("topic=pipeline").subscribe()
    description = hub.describe()
    assert [subscriber.priority for subscriber in description] == [1.5, 100, 10**400]
    lines = str(description).splitlines()
    assert [line.split()[1] for line in lines[1:4]] == ["subscription", "(everything)", "topic=pipeline"]
    assert "fail" in lines[2] and "print" in lines[4]
    with hub.start():
        assert "handled by start()" in repr(hub)


# Connecting


def test_memory_is_connected_from_the_start(hub: EventHub) -> None:
    hub.init_connection()
    hub.connect()
    assert hub.connected
    with pytest.raises(HubConnectionError, match="Already connected"):
        hub.connect()
    hub.disconnect()
    assert not hub.connected
    with pytest.raises(HubConnectionError, match="Not currently connected"):
        hub.disconnect()
    hub.connect()
    assert hub.connected


def test_a_disconnected_hub_gets_nothing_and_publishes_only_to_itself() -> None:
    with EventHub("memory://studio") as hub, EventHub("memory://studio") as other:
        hub.subscribe("topic=a", lambda event: 1)
        hub.disconnect(unsubscribe=False)
        other.publish(Event("a"))
        with pytest.raises(HubConnectionError, match=r"Call connect\(\)"):
            hub.publish(Event("a"))
        with pytest.raises(HubConnectionError):
            asyncio.run(hub.apublish(Event("a")))
        assert hub.publish(Event("a"), synchronous=True) == [1]
        hub.connect()
        seen: list[Event] = []
        hub.events.subscribe(seen.append)
        hub.drain()
        assert seen == []
        other.publish(Event("a", data="back"))
        hub.drain()
        other.drain()
        assert seen[0].data == "back"


def test_disconnecting_unsubscribes_unless_told_not_to(hub: EventHub) -> None:
    ended: list[str] = []
    hub.subscribe("topic=a", print, {"id": "x"})
    hub.on("topic=a").subscribe(on_completed=lambda: ended.append("on"))
    hub.events.subscribe(on_completed=lambda: ended.append("events"))
    hub.disconnect(unsubscribe=False, reconnect=True)
    assert len(hub.describe()) == 2
    hub.connect()
    hub.disconnect()
    assert len(hub.describe()) == 0
    hub.drain()
    # An observer that was removed would wait forever; what sees all events sees them after connecting again.
    assert ended == ["on"]


def test_the_farewell_is_an_event_like_any_other(hub: EventHub) -> None:
    seen: list[Any] = []
    hub.subscribe("topic=ftrack.meta.disconnected", lambda event: seen.append(event.source["id"]))
    hub.disconnect(unsubscribe=False)
    assert hub.drain() == 1 and seen == [hub.id]


def test_reconnecting_keeps_subscribers_and_says_no_farewell(hub: EventHub) -> None:
    hub.subscribe("topic=a", print)
    hub.reconnect()
    hub.reconnect(attempts=1, delay=0)
    assert hub.connected and len(hub.describe()) == 1 and hub.drain() == 0
    hub.disconnect(unsubscribe=False)
    hub.reconnect()
    assert hub.connected


def test_its_state_begins_with_the_present_one_and_runs_in_the_handling_context(hub: EventHub) -> None:
    states: list[Any] = []
    hub.state.subscribe(lambda state: states.append((state.phase, get_ident())), on_completed=lambda: states.append(0))
    assert states == [(Phase.CONNECTED, get_ident())]
    with elsewhere(hub.disconnect):
        pass
    assert len(states) == 1
    hub.drain()
    hub.connect()
    hub.drain()
    assert [state[0] for state in states[1:]] == [Phase.DISCONNECTED, Phase.CONNECTED]
    assert {state[1] for state in states} == {get_ident()}
    hub.close()
    assert [state and state[0] for state in states[3:]] == [Phase.CLOSED, 0]
    late: list[Any] = []
    hub.state.subscribe(lambda state: late.append(state.phase), on_completed=lambda: late.append(0))
    assert late == [Phase.CLOSED, 0]


def test_no_state_is_lost_to_who_subscribes_meanwhile(hub: EventHub) -> None:
    def toggle() -> None:
        for _ in range(100):
            hub.disconnect(unsubscribe=False, reconnect=True)
            hub.connect()

    latest: list[Any] = []

    def look() -> None:
        for _ in range(100):
            got: list[Any] = []
            hub.state.subscribe(got.append)
            latest.append(got)

    with hub.start():
        at_once(toggle, look)
        hub.disconnect(unsubscribe=False, reconnect=True)
        done = Flag()
        hub.scheduler.schedule(lambda *_: done.set())
        assert done.wait(LIMIT)
    assert {got[-1].phase for got in latest} == {Phase.DISCONNECTED}


# Subscribing


def test_subscribe_gives_the_id(hub: EventHub) -> None:
    metadata: dict[str, Any] = {"team": "red"}
    made = hub.subscribe("topic=a", print, metadata)
    assert metadata == {"team": "red", "id": made} and len(made) == 32
    assert hub.subscribe("topic=a", print, {"id": "mine"}) == "mine"
    assert hub.get_subscriber_by_identifier("mine").metadata == {"id": "mine"}
    assert hub.get_subscriber_by_identifier("other") is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("topic=", print), ExpressionError),
        ((None, print), ExpressionError),
        (("topic=a", None), TypeError),
        (("topic=a", "print"), TypeError),
        (("topic=a", print, [("id", "x")]), TypeError),
        (("topic=a", print, MappingProxyType({"id": "x"})), TypeError),
        (("topic=a", print, {"id": ["x"]}), TypeError),
        (("topic=a", print, None, "high"), TypeError),
        (("topic=a", print, None, None), TypeError),
        (("topic=a", print, None, float("nan")), TypeError),
        (("topic=a", print, None, 1j), TypeError),
    ],
)
def test_bad_arguments_are_refused_and_leave_nothing(hub: EventHub, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        hub.subscribe(*arguments)
    hub.subscribe("topic=a", lambda event: "good", {"id": "x"})
    assert hub.publish(Event("a"), synchronous=True) == ["good"]
    assert len(hub.describe()) == 1


@pytest.mark.parametrize("priority", [-(10**400), float("-inf"), -1, 0, 2**63, 10**400, float("inf"), True])
def test_any_number_is_a_priority(hub: EventHub, priority: float) -> None:
    ran: list[str] = []
    hub.subscribe("", lambda event: ran.append("usual"))
    hub.subscribe("", lambda event: ran.append("special"), priority=priority)
    hub.publish(Event("a"), synchronous=True)
    assert ran == (["special", "usual"] if priority < 100 else ["usual", "special"])
    assert hub.describe().subscribers


def test_unsubscribing(hub: EventHub) -> None:
    hub.subscribe("topic=a", print, {"id": "x"})
    with pytest.raises(NotUniqueError):
        hub.subscribe("topic=b", print, {"id": "x"})
    hub.unsubscribe("x")
    with pytest.raises(NotFoundError, match="identifier x"):
        hub.unsubscribe("x")


def test_metadata_that_changes_afterwards_confuses_nobody(hub: EventHub) -> None:
    metadata = {"id": "x", "team": "red"}
    hub.subscribe("topic=a", lambda event: event.data, metadata)
    metadata["team"] = "blue"
    assert hub.publish(Event("a", data=1, target="team=blue"), synchronous=True) == [1]
    del metadata["id"]
    assert "x" in str(hub.get_subscriber_by_identifier("x"))
    hub.unsubscribe("x")
    assert len(hub.describe()) == 0


def test_a_context_manager_for_a_subscription(hub: EventHub) -> None:
    with hub.subscription("topic=a", lambda event: 1, {"id": "x"}) as identifier:
        assert identifier == "x"
        assert hub.publish(Event("a"), synchronous=True) == [1]
    with pytest.raises(ValueError, match="block"), hub.subscription("topic=a", lambda event: 1):
        raise ValueError("block")
    with hub.subscription("topic=a", print) as identifier:
        hub.unsubscribe(identifier)
    with pytest.raises(ExpressionError), hub.subscription("topic=", print):
        pass
    assert len(hub.describe()) == 0


# Order and stop


def test_priorities_hold_between_callbacks_and_pipelines(hub: EventHub) -> None:
    ran: list[str] = []
    hub.on("topic=a", priority=30).subscribe(lambda event: ran.append("pipeline 30"))
    hub.subscribe("topic=a", lambda event: ran.append("callback 20"), priority=20)

    @hub.on("topic=a", priority=10)
    def decorated(event: Event) -> None:
        ran.append("decorated 10")

    hub.on("topic=a", priority=20).pipe(where("data.n>1")).subscribe(lambda event: event.stop())
    hub.publish(Event("a", data={"n": 1}))
    hub.publish(Event("a", data={"n": 2}))
    hub.drain()
    assert ran == ["decorated 10", "callback 20", "pipeline 30", "decorated 10", "callback 20"]


def test_stopping_is_local_and_belongs_to_the_delivery() -> None:
    with EventHub("memory://studio") as one, EventHub("memory://studio") as other:
        ran: list[str] = []
        one.subscribe("topic=a", lambda event: event.stop(), priority=1)
        one.subscribe("topic=a", lambda event: ran.append("one"))
        other.subscribe("topic=a", lambda event: ran.append("other"))
        event = Event("a")
        for _ in range(2):
            one.publish(event)
            one.drain()
            other.drain()
        assert ran == ["other", "other"] and not event.is_stopped()

        one.publish(event, synchronous=True)
        assert event.is_stopped()
        other.publish(event, synchronous=True)
        assert ran == ["other"] * 3 and not event.is_stopped()
        one.drain()


def test_each_hub_has_its_own_envelope_around_shared_data() -> None:
    with EventHub("memory://studio") as one, EventHub("memory://studio") as other:
        got: list[Event] = []
        for hub in (one, other):
            hub.subscribe("topic=a", got.append)
        event = Event("a", data={"n": 1})
        one.publish(event)
        one.drain()
        other.drain()
        assert got == [event, event] and len({id(each) for each in (event, *got)}) == 3
        assert got[0].data is got[1].data is event.data


def test_a_callback_that_raises_is_logged_told_and_passed_over(hub: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Outcome] = []
    hub.errors.subscribe(told.append)
    hub.subscribe("topic=a", fail, {"id": "x"}, priority=1)
    hub.subscribe("topic=a", lambda event: "ok", priority=2)
    assert hub.publish(Event("a"), synchronous=True) == ["ok"]
    hub.publish(Event("a"))
    hub.drain()
    assert [outcome.subscriber.id for outcome in told] == ["x", "x"]
    assert all(isinstance(outcome.error, ValueError) for outcome in told)
    assert "Error calling <Subscriber x priority=1" in caplog.text and "Traceback" in caplog.text


def test_an_error_ends_a_pipeline_and_resume_keeps_it(hub: EventHub) -> None:
    told, got = [], []
    hub.errors.subscribe(lambda outcome: told.append(type(outcome.error)))
    inverse = ops.map(lambda event: 1 / event.data)
    hub.on("topic=a").pipe(inverse).subscribe(got.append, lambda error: got.append("ended"))
    hub.on("topic=a").pipe(resume(inverse)).subscribe(got.append)
    for n in (1, 0, 2):
        hub.publish(Event("a", data=n))
    hub.drain()
    assert got == [1, 1, "ended", 0.5] and told == [PipelineEnded, ZeroDivisionError]


def test_who_is_removed_under_way_is_not_called_and_who_is_added_does_not_see_it(hub: EventHub) -> None:
    ran: list[str] = []

    def first(event: Event) -> None:
        ran.append("first")
        hub.unsubscribe("later")
        hub.subscribe("topic=a", lambda event: ran.append("added"), {"id": "later"}, priority=300)

    hub.subscribe("topic=a", first, priority=1)
    hub.subscribe("topic=a", lambda event: ran.append("removed"), {"id": "later"}, priority=200)
    hub.publish(Event("a"))
    hub.publish(Event("a"))
    hub.drain()
    assert ran == ["first", "first"]
    hub.unsubscribe(hub.describe().subscribers[0].id)
    hub.publish(Event("a"))
    hub.drain()
    assert ran == ["first", "first", "added"]


def test_a_publish_from_inside_a_callback_is_queued_behind(hub: EventHub) -> None:
    ran: list[str] = []

    def first(event: Event) -> None:
        hub.publish(Event("b"))
        ran.append("first")

    hub.subscribe("topic=a", first, priority=1)
    hub.subscribe("topic=a", lambda event: ran.append("second"), priority=2)
    hub.subscribe("topic=b", lambda event: ran.append("b"))
    hub.publish(Event("a"))
    hub.publish(Event("a"))
    assert hub.drain() == 4
    assert ran == ["first", "second", "first", "second", "b", "b"]


def test_a_synchronous_publish_from_inside_a_callback_is_nested(hub: EventHub) -> None:
    ran: list[Any] = []

    def first(event: Event) -> None:
        ran.append(hub.publish(Event("b", data=2), synchronous=True))

    hub.subscribe("topic=a", first, priority=1)
    hub.subscribe("topic=a", lambda event: ran.append("second"), priority=2)
    hub.subscribe("topic=b", lambda event: event.data)
    hub.publish(Event("a"))
    hub.drain()
    assert ran == [[2], "second"]


def test_an_interrupt_in_a_synchronous_publish_reaches_the_publisher(hub: EventHub) -> None:
    def callback(event: Event) -> None:
        raise KeyboardInterrupt

    identifier = hub.subscribe("topic=a", callback)
    with pytest.raises(KeyboardInterrupt):
        hub.publish(Event("a"), synchronous=True)
    hub.unsubscribe(identifier)
    assert hub.publish(Event("a"), synchronous=True) == []


def test_a_scheduler_takes_over_and_stopping_there_is_too_late(hub: EventHub) -> None:
    pool, threads, told, replies = ThreadPoolScheduler(1), [], Flag(), []

    def slow(event: Event) -> str:
        threads.append(get_ident())
        if event.data == 2:
            event.stop()
        return "done"

    hub.subscribe("topic=a", slow, priority=1, scheduler=pool)
    hub.subscribe("topic=a", lambda event: threads.append(get_ident()) or "here", priority=2)
    hub.errors.subscribe(lambda outcome: (replies.append(type(outcome.error)), told.set()))
    assert hub.publish(Event("a", data=1), synchronous=True) == ["here"]
    hub.publish(Event("a", data=2))
    hub.drain()
    assert told.wait(LIMIT)
    assert replies == [TooLate]
    assert threads.count(get_ident()) == 2 and len(threads) == 4
    pool.executor.shutdown()


def test_a_handed_over_event_that_is_published_again_begins_afresh(hub: EventHub) -> None:
    scheduler, ran, handed = ByHand(), [], []
    hub.subscribe("topic=a", handed.append, {"id": "x"}, scheduler=scheduler)
    hub.subscribe("topic=a", lambda event: ran.append("stopping") or event.stop(), priority=200)
    hub.subscribe("topic=a", lambda event: ran.append("never"), priority=300)
    hub.publish(Event("a"), synchronous=True)
    scheduler.run()
    hub.unsubscribe("x")
    hub.publish(handed[0], synchronous=True)
    hub.publish(handed[0])
    hub.drain()
    assert ran == ["stopping"] * 3


def test_a_handler_runs_in_a_copy_of_its_subscriber_s_context(hub: EventHub) -> None:
    seen: list[str] = []

    def look(event: Event) -> None:
        seen.append(COLOUR.get())
        COLOUR.set("lost")

    token = COLOUR.set("red")
    hub.subscribe("topic=a", look)
    hub.on("topic=a").subscribe(look)
    hub.publish(Event("b"), on_reply=look)
    COLOUR.reset(token)
    hub.subscribe("topic=b", lambda event: "reply")
    with elsewhere(hub.drain):
        pass
    hub.publish(Event("a"))
    with elsewhere(hub.drain):
        pass
    assert seen == ["red"] * 3


def test_deliveries_tell_what_became_of_each_event(hub: EventHub) -> None:
    got: list[Delivery] = []
    hub.deliveries.subscribe(got.append)
    hub.subscribe("topic=a", lambda event: 1)
    hub.subscribe("topic=a", fail)
    hub.publish(Event("a"))
    hub.publish(Event("b"))
    hub.publish(Event("a"), synchronous=True)
    hub.drain()
    assert [delivery.event.topic for delivery in got] == ["a", "a", "b", "ftrack.meta.reply"]
    assert got[0].results == got[1].results == [1] and len(got[1].errors) == 1
    assert all(outcome.latency >= 0 for outcome in got[1])


def test_events_shows_every_event_before_any_handler(hub: EventHub) -> None:
    ran: list[str] = []
    hub.subscribe("topic=a", lambda event: ran.append("handler") or event.stop(), priority=-1000)
    hub.events.subscribe(lambda event: ran.append(f"sees {event.topic}"))
    hub.publish(Event("a"))
    hub.publish(Event("b"))
    hub.drain()
    hub.publish(Event("a"), synchronous=True)
    assert ran == ["sees a", "handler", "sees b", "sees a", "handler"]


@pytest.mark.parametrize("which", ["events", "deliveries"])
def test_an_observer_that_raises_disturbs_nobody(hub: EventHub, which: str, caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []
    getattr(hub, which).subscribe(fail)
    getattr(hub, which).subscribe(lambda _: ran.append("observer"))
    hub.subscribe("topic=a", lambda event: ran.append("callback"))
    hub.publish(Event("a"))
    hub.publish(Event("a"))
    hub.drain()
    assert sorted(ran) == ["callback"] * 2 + ["observer"] * 2


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("memory://", "memory://", False),
        ("memory://a", "memory://a/", True),
        ("memory://a", "memory://b", False),
        ("memory://a", "memory://A", False),
        ("memory://a/b", "memory://a/c", False),
        ("https://studio.example", "HTTPS://Studio.example/", True),
        ("https://studio.example", "https://other.example", False),
        ("https://studio.example", "http://studio.example", False),
        ("nats://a", "tls://A:4222", True),
        ("nats://a,b", "nats://c,b", True),
        ("nats://a", "nats://b", False),
        ("https://me:key@studio.example", "https://studio.example", True),
    ],
)
def test_hubs_of_one_url_meet(one: str, other: str, meet: bool) -> None:
    with EventHub(one) as hub, EventHub(other) as another:
        assert hub.shares_source_with(another) is another.shares_source_with(hub) is meet
        assert hub.shares_source_with(hub)


def test_hubs_of_two_streams_do_not_meet() -> None:
    with EventHub("nats://a", stream="x") as hub:
        with EventHub("nats://a", stream="x") as same, EventHub("nats://a") as other:
            assert hub.shares_source_with(same) and not hub.shares_source_with(other)


# Publishing


def test_publishing_fills_in_where_the_event_comes_from(hub: EventHub) -> None:
    event = Event("a")
    sent = hub.publish(event)
    assert isinstance(sent, Future) and sent.result(0) is None
    assert event.source["id"] == hub.id and event.source["user"] == {"username": "me"} and event.source["host"]
    kept = Event("a", source={"id": "x", "more": 1})
    hub.publish(kept)
    assert kept.source["id"] == "x" and kept.source["more"] == 1 and kept.source["user"]
    hub.drain()


@pytest.mark.parametrize("source", [None, MappingProxyType({"id": "x"}), UserDict(id="x"), "me", 5, ["id"]])
def test_a_source_that_cannot_be_filled_in_is_replaced(hub: EventHub, source: Any) -> None:
    event = Event("a", source=source)
    hub.publish(event)
    assert event.source["id"] in (hub.id, "x") and event.source["host"]
    assert hub.drain() == 1


@pytest.mark.parametrize("source", [{}, {"id": "x"}, {"user": None}, "me", None])
def test_an_event_of_another_hub_is_forwarded_as_it_came(hub: EventHub, source: Any) -> None:
    event = Event.from_wire({"topic": "a", "id": "1", "sent": "x", "source": source, "target": "y=1", "more": [1]})
    before, got = event.to_wire(), list[Event]()
    hub.events.subscribe(got.append)
    assert hub.forward(event).result(0) is None
    hub.drain()
    assert event.to_wire() == before and [event.to_wire() for event in got] == [before]


@pytest.mark.parametrize(("bad", "error"), [({"topic": "a"}, TypeError), (Event(5), EventError)])  # type: ignore[arg-type]
def test_what_is_no_event_is_not_forwarded(hub: EventHub, bad: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        hub.forward(bad)
    hub.close()
    with pytest.raises(HubClosed):
        hub.forward(Event("a"))


@pytest.mark.parametrize("bad", [None, {"topic": "a"}, "a", object()])
@pytest.mark.parametrize("synchronous", [True, False])
def test_only_events_are_published(hub: EventHub, bad: Any, synchronous: bool) -> None:
    with pytest.raises(TypeError, match="rxhub Event is needed"):
        hub.publish(bad, synchronous=synchronous)
    assert hub.publish(bad, synchronous=synchronous, on_error="ignore") is None
    with pytest.raises(TypeError, match="rxhub Event is needed"):
        hub.request(bad)
    for call in (hub.apublish, hub.ask):
        with pytest.raises(TypeError, match="rxhub Event is needed"):
            asyncio.run(call(bad))


@pytest.mark.parametrize("topic", [None, 5, b"a", ["a"]])
def test_a_topic_is_text(hub: EventHub, topic: Any) -> None:
    with pytest.raises(EventError, match="string as its topic"):
        hub.publish(Event(topic))
    without = Event("a")
    del without["topic"]
    with pytest.raises(EventError, match="string as its topic"):
        hub.publish(without, synchronous=True)


def test_on_error_is_raise_or_ignore(hub: EventHub) -> None:
    with pytest.raises(ValueError, match="'swallow'"):
        hub.publish(Event("a"), on_error="swallow")


def deep() -> Any:
    data: Any = []
    for _ in range(10_000):
        data = [data]
    return {"deep": data}


def cyclic() -> Any:
    data: dict[str, Any] = {"list": []}
    data["list"].append(data)
    data["self"] = data
    return data


class Hostile:
    """Data whose every operator raises."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __lt__ = __gt__ = __le__ = __ge__ = __eq__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("make", [deep, cyclic, Hostile, lambda: {"x": Hostile()}, lambda: "\ud800", lambda: 10**5000])
def test_any_data_travels(hub: EventHub, make: Callable[[], Any]) -> None:
    data = make()
    ran: list[Any] = []
    for subscription in (
        "",
        "data.x=1",
        "data.deep=1",
        "data.list.self!=2",
        "data>5",
        "data=a*",
        "not data.x in (1, b)",
    ):
        hub.subscribe(subscription, lambda event: ran.append(event.data))
    hub.on("topic=a").pipe(where("data.x!=1")).subscribe()
    hub.publish(Event("a", data=data))
    assert hub.drain() == 1
    assert ran and all(each is data for each in ran)


@pytest.mark.parametrize("field", ["id", "sent", "source", "target", "in_reply_to_event", "data"])
@pytest.mark.parametrize("value", [None, 5, [], ["x"], {"x": []}, "\ud800", "", b"x", Hostile()])
def test_no_field_of_an_event_from_elsewhere_ends_the_handling(
    hub: EventHub, field: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[str] = []
    hub.subscribe("", lambda event: got.append(event.topic) or {"answer": 1})
    hub.publish(Event("ask"), on_reply=lambda event: None)
    odd = Event.from_wire({"topic": "odd", field: value})
    hub._link.on_event(odd)
    deleted = Event("without")
    del deleted[field]
    hub._link.on_event(deleted)
    hub.publish(Event("next"))
    hub.drain()
    assert got.count("next") == 1 and got.count("without") == 1


def test_colliding_event_ids_are_the_users_business(hub: EventHub) -> None:
    got: list[Any] = []
    hub.subscribe("topic=a", lambda event: event.data)
    for n in (1, 2):
        hub.publish(Event("a", id="same", data=n), on_reply=lambda event, n=n: got.append((n, event.data)))
    hub.drain()
    assert sorted(got) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_surrogates_may_stand_in_topics_ids_and_subscriptions(hub: EventHub) -> None:
    ran: list[str] = []
    hub.subscribe("topic='\ud800'", lambda event: ran.append(event.topic) or "ok", {"id": "\udfff"})
    hub.publish(Event("\ud800", id="\udcff"), on_reply=lambda event: ran.append(event.data))
    hub.drain()
    assert ran == ["\ud800", "ok"]
    assert hub.describe() and "\\udfff" in str(hub.describe())


def test_a_hub_that_does_everything_from_inside_a_callback(hub: EventHub) -> None:
    ran: list[Any] = []

    def callback(event: Event) -> None:
        mine = hub.subscribe("topic=b", lambda event: ran.append(event.topic))
        hub.publish(Event("b"), synchronous=True)
        hub.unsubscribe(mine)
        hub.unsubscribe("self")
        with hub.subscription("topic=c", lambda event: "c"):
            ran.append(hub.publish(Event("c"), synchronous=True))
        hub.request(Event("d")).subscribe()
        hub.scheduler.schedule(lambda *_: ran.append("scheduled"))
        hub.reconnect()
        hub.publish(Event("b"))
        event.stop()

    hub.subscribe("topic=a", callback, {"id": "self"})
    hub.publish(Event("a"))
    hub.publish(Event("a"))
    hub.drain()
    assert ran == ["b", ["c"], "scheduled"]


# Targets


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        ("", ["red", "blue", "none"]),
        (None, ["red", "blue", "none"]),
        ("team=red", ["red"]),
        ("team=red or id=b", ["red", "blue"]),
        ("not team=red", ["blue", "none"]),
        ("team=*", ["red", "blue"]),
        ("team=", []),
        ("((", []),
        (5, []),
        (["team=red"], []),
        ("topic=a", []),
    ],
)
def test_a_target_chooses_by_the_metadata_of_subscribers(
    hub: EventHub, target: Any, reached: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    hub.subscribe("topic=a", lambda event: "red", {"id": "a", "team": "red"})
    hub.subscribe("topic=a", lambda event: "blue", {"id": "b", "team": "blue"})
    hub.subscribe("topic=a", lambda event: "none")
    hub.subscribe("topic=b", lambda event: "never", {"team": "red"})
    assert hub.publish(Event("a", target=target), synchronous=True) == reached
    assert ("cannot be parsed" in caplog.text) == (target in ("team=", "((", 5, ["team=red"]))


# Replies


def test_what_a_callback_returns_is_published_as_a_reply(hub: EventHub) -> None:
    metadata = {"id": "x", "team": "red"}
    got: list[Event] = []
    hub.subscribe("topic=a", lambda event: event.data["n"] * 2, metadata)
    hub.subscribe("topic=a", lambda event: None)
    event = Event("a", data={"n": 21})
    hub.publish(event, on_reply=got.append)
    hub.drain()
    (reply,) = got
    assert reply.topic == "ftrack.meta.reply" and reply.data == 42
    assert reply.target == f"id={hub.id}" and reply.in_reply_to_event == event.id
    assert reply.source["id"] == "x" and reply.source["team"] == "red" and reply.source["user"]["username"] == "me"
    assert metadata == {"id": "x", "team": "red"}


@pytest.mark.parametrize("result", [0, False, "", [], {}, 0.0])
def test_what_is_false_is_a_reply_too(hub: EventHub, result: Any) -> None:
    got: list[Any] = []
    hub.subscribe("topic=a", lambda event: result)
    hub.publish(Event("a"), on_reply=lambda event: got.append(event.data))
    hub.drain()
    assert got == [result]


def test_replies_go_to_the_hub_that_asked_alone() -> None:
    with (
        EventHub("memory://studio") as asks,
        EventHub("memory://studio") as answers,
        EventHub("memory://studio") as idle,
    ):
        got: list[Any] = []
        answers.subscribe("topic=a", lambda event: "answer")
        idle.publish(Event("other"), on_reply=lambda event: got.append("idle"))
        asks.publish(Event("a"), on_reply=lambda event: got.append(event.data))
        for hub in (asks, answers, idle, asks, answers, idle):
            hub.drain()
        assert got == ["answer"]


def test_in_synchronous_mode_results_are_returned_and_nothing_is_published(hub: EventHub) -> None:
    hub.subscribe("topic=a", lambda event: 1)
    hub.subscribe("topic=a", lambda event: None)
    hub.subscribe("topic=a", fail)
    hub.subscribe("topic=a", lambda event: 0)
    assert hub.publish(Event("a"), synchronous=True, on_reply=pytest.fail) == [1, None, 0]
    assert hub.drain() == 0


def test_a_coroutine_callback_in_a_synchronous_publish_is_an_error_outcome(hub: EventHub) -> None:
    told: list[str] = []

    async def callback(event: Event) -> int:
        return 1

    hub.errors.subscribe(lambda outcome: told.append(str(outcome.error)))
    hub.subscribe("topic=a", callback)
    hub.subscribe("topic=a", lambda event: 2)
    assert hub.publish(Event("a"), synchronous=True) == [2]
    assert len(told) == 1 and "returned an awaitable" in told[0]


def test_an_event_without_a_source_id_cannot_be_replied_to(hub: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    for source in ({}, {"id": None}, "text", None):
        with pytest.raises(EventError, match="no source id"):
            hub.publish_reply(Event("a", source=source), 1)
    hub.subscribe("topic=a", lambda event: 1)
    hub._link.on_event(Event("a", source="text"))
    assert hub.drain() == 1
    assert "could not be published" in caplog.text


def test_publish_reply_tells_who_answers(hub: EventHub) -> None:
    got: list[Event] = []
    hub.events.subscribe(got.append)
    source = {"id": "me"}
    hub.publish_reply(Event("a", id="1", source={"id": "asker"}), {"n": 1}, source=source)
    hub.publish_reply(Event("a", id="2", source={"id": "asker"}), None)
    hub.drain()
    assert [event.source["id"] for event in got] == ["me", hub.id] and source == {"id": "me"}
    assert [event.in_reply_to_event for event in got] == ["1", "2"]
    assert got[0].target == "id=asker"


def test_a_thousand_reply_callbacks_do_not_stay() -> None:
    with EventHub() as hub:
        hub._publisher.replies._lifetime = 0
        for _ in range(1000):
            hub.publish(Event("a"), on_reply=lambda event: None)
        assert len(hub._publisher.replies) <= 1
        hub._publisher.replies._lifetime, hub._publisher.replies._capacity = 600, 100
        for _ in range(1000):
            hub.publish(Event("a"), on_reply=lambda event: None)
        assert len(hub._publisher.replies) == 100
        hub.drain()


def test_a_publish_that_fails_leaves_no_reply_callback(hub: EventHub) -> None:
    with EventHub(inbox=1) as small:
        small.publish(Event("a"))
        with pytest.raises(Overflow):
            small.publish(Event("a"), on_reply=print)
        assert len(small._publisher.replies) == 0
        small.drain()
    hub.disconnect()
    with pytest.raises(HubConnectionError):
        hub.publish(Event("a"), on_reply=print)
    assert len(hub._publisher.replies) == 0


def test_a_reply_callback_that_raises_is_told_like_any_other(hub: EventHub) -> None:
    told: list[Any] = []
    hub.errors.subscribe(lambda outcome: told.append(type(outcome.error)))
    hub.subscribe("topic=a", lambda event: 1)
    hub.publish(Event("a"), on_reply=fail)
    hub.drain()
    assert told == [ValueError]


def test_many_threads_may_ask_for_replies_at_once() -> None:
    with EventHub() as hub:
        start, got = Barrier(6), []

        def ask() -> None:
            start.wait(LIMIT)
            for _ in range(20):
                hub.publish(Event("a"), on_reply=lambda event: got.append(event.data))

        hub.subscribe("topic=a", lambda event: 1)
        at_once(*[ask] * 6)
        hub.drain()
        assert got == [1] * 120


# ask and request


def test_ask_gives_the_first_reply() -> None:
    async def main() -> Any:
        async with EventHub() as hub:
            hub.subscribe("topic=a", lambda event: "first", priority=1)
            hub.subscribe("topic=a", lambda event: "second", priority=2)
            reply = await hub.ask(Event("a"))
            assert len(hub._publisher.replies) == 0
            return reply.data

    assert asyncio.run(main()) == "first"


def test_ask_from_another_thread_than_the_handling_one(hub: EventHub) -> None:
    hub.subscribe("topic=a", lambda event: get_ident())

    async def main() -> Any:
        return [(await hub.ask(Event("a"), timeout=LIMIT)).data for _ in range(20)]

    with hub.start():
        threads = asyncio.run(main())
    assert len(set(threads)) == 1 and get_ident() not in threads


def test_no_reply_in_time_is_an_error(hub: EventHub) -> None:
    with hub.start(), pytest.raises(NoReply, match=r"Nobody replied to a within 0.001 s"):
        asyncio.run(hub.ask(Event("a"), timeout=0.001))
    assert len(hub._publisher.replies) == 0
    with pytest.raises(TimeoutError), hub.start():
        asyncio.run(hub.ask(Event("a"), timeout=0))


def test_asking_a_hub_that_nobody_handles_does_not_wait(hub: EventHub) -> None:
    with pytest.raises(NotHandled, match=r"ask would wait forever.*hub.start\(\)"):
        asyncio.run(hub.ask(Event("a"), timeout=LIMIT))
    got: list[Any] = []
    hub.request(Event("a")).subscribe(got.append, lambda error: got.append(type(error)))
    assert got == [NotHandled]
    assert hub.drain() == 0


def test_a_request_is_cold_and_emits_replies_until_its_time_is_over() -> None:
    hub = virtual_hub()
    published: list[str] = []
    hub.subscribe("topic=a", lambda event: published.append(event.id) or 1)
    hub.subscribe("topic=a", lambda event: 2)
    event = Event("a")
    request = hub.request(event, timeout=10)
    assert hub.drain() == 0
    for _ in range(2):
        got: list[Any] = []
        request.subscribe(
            lambda reply, got=got: got.append(reply.data), on_completed=lambda got=got: got.append("done")
        )
        hub.advance(9.9)
        assert got == [1, 2]
        hub.advance(0.2)
        assert got == [1, 2, "done"]
    assert published[0] == event.id and len(set(published)) == 2
    assert len(hub._publisher.replies) == 0
    hub.close()


def test_leaving_a_request_early_leaves_nothing(hub: EventHub) -> None:
    hub.subscribe("topic=a", lambda event: 1)
    with hub.start():
        assert hub.request(Event("a"), timeout=3600).pipe(ops.first()).run().data == 1
    assert len(hub._publisher.replies) == 0 and hub._link.changes.observers == []


def test_closing_ends_a_request(hub: EventHub) -> None:
    got: list[Any] = []
    with hub.start():
        hub.request(Event("a"), timeout=3600).subscribe(got.append, got.append, lambda: got.append("done"))
        hub.close()
    assert [type(each) for each in got] == [HubClosed]


class Slow(MemoryTransport):
    """Accepts later."""

    def send(self, event: Event) -> Future[None]:
        self.sent: Future[None] = Future()
        return self.sent


def test_a_transport_that_takes_its_time(hub: EventHub) -> None:
    hub._link.transport = slow = Slow()
    got: list[Any] = []
    with hub.start():
        hub.request(Event("a"), timeout=3600).subscribe(got.append, lambda error: got.append(str(error)))
        assert got == []
        slow.sent.set_exception(HubConnectionError("the line went dead"))
        done = Flag()
        hub.scheduler.schedule(lambda *_: done.set())
        assert done.wait(LIMIT)
    assert got == ["the line went dead"] and len(hub._publisher.replies) == 0

    async def main() -> None:
        publishing = asyncio.create_task(hub.apublish(Event("a")))
        await asyncio.sleep(0)
        assert not publishing.done()
        slow.sent.set_result(None)
        await asyncio.wait_for(publishing, LIMIT)

    asyncio.run(main())


def test_awaiting_a_hub_s_observables_from_another_thread() -> None:
    hub = EventHub()

    async def last_of(source: Any) -> Any:
        return await source

    with hub.start():
        hub.subscribe("topic=a", lambda event: 1)
        calls = [elsewhere(asyncio.run, last_of(source)) for source in (hub.events, hub.on("topic=a"), hub.deliveries)]
        while len(hub.describe()) < 2 or not hub.events.observers or not hub._dispatcher.deliveries.observers:
            pass
        hub.publish(Event("a", data=1))
        hub.publish(Event("a", data=2))
        done = Flag()
        hub.scheduler.schedule(lambda *_: done.set())
        assert done.wait(LIMIT)
        hub.close()
    event, matching, delivery = (call.join() for call in calls)
    assert event.topic == "ftrack.meta.reply" or event.data == 2
    assert matching.data == 2 and isinstance(delivery, Delivery)


# Two threads


def test_two_threads_publish_synchronously_side_by_side(hub: EventHub) -> None:
    both = Barrier(2)
    hub.subscribe("topic=a", lambda event: both.wait(LIMIT) >= 0)
    assert at_once(*[lambda: hub.publish(Event("a"), synchronous=True)] * 2) == [[True], [True]]


def test_observers_are_never_called_while_they_are_busy(hub: EventHub) -> None:
    busy = {"events": 0, "deliveries": 0, "errors": 0, "on": 0}
    counts = dict.fromkeys(busy, 0)

    def watch(name: str) -> Callable[[Any], None]:
        def on_next(_: Any) -> None:
            busy[name] += 1
            counts[name] += busy[name] == 1
            busy[name] -= 1

        return on_next

    for name in ("events", "deliveries", "errors"):
        getattr(hub, name).subscribe(watch(name))
    hub.on("topic=a").subscribe(watch("on"))
    hub.subscribe("topic=a", fail)
    logging.disable(logging.CRITICAL)
    try:
        at_once(*[lambda: [hub.publish(Event("a"), synchronous=True) for _ in range(150)]] * 4)
    finally:
        logging.disable(logging.NOTSET)
    assert counts == dict.fromkeys(busy, 600)


# The inbox


def test_a_full_inbox_refuses_by_default() -> None:
    with EventHub("memory://studio", inbox=2) as hub, EventHub("memory://studio") as other:
        hub.publish(Event("a"))
        hub.publish(Event("a"))
        with pytest.raises(Overflow, match="inbox is full and refused a"):
            hub.publish(Event("a"))
        with pytest.raises(Overflow):
            asyncio.run(hub.apublish(Event("a")))
        assert hub.publish(Event("a"), on_error="ignore") is None
        assert hub.dropped == 3
        # Nobody else has got what was refused.
        assert other.drain() == 2 == hub.drain()
        other.publish(Event("a")).result(0)
        hub.drain()
        other.drain()


@pytest.mark.parametrize(("overflow", "kept"), [("drop-oldest", [8, 9]), ("drop-newest", [0, 1]), ("latest", [8, 9])])
def test_policies_that_drop_count_what_they_drop(overflow: str, kept: list[int]) -> None:
    with EventHub(inbox=2, overflow=overflow) as hub:
        got: list[int] = []
        hub.subscribe("topic=a", lambda event: got.append(event.data))
        for n in range(10):
            hub.publish(Event("a", data=n)).result(0)
        hub.drain()
        assert got == kept and hub.dropped == 8


def test_block_waits_for_room_and_loses_nothing() -> None:
    with EventHub(inbox=3, overflow="block") as hub:
        got: list[Any] = []
        hub.subscribe("topic=a", lambda event: got.append(event.data))
        with hub.start():
            at_once(*(lambda who=who: [hub.publish(Event("a", data=(who, n))) for n in range(100)] for who in range(4)))
            asyncio.run(_publish_many(hub))
        hub.drain()
        assert sorted(got) == sorted((who, n) for who in range(5) for n in range(100))
        for who in range(5):
            assert [n for w, n in got if w == who] == list(range(100))
        assert hub.dropped == 0


async def _publish_many(hub: EventHub) -> None:
    for n in range(100):
        await hub.apublish(Event("a", data=(4, n)))


def test_block_does_not_wait_for_a_handling_that_nobody_does() -> None:
    with EventHub(inbox=1, overflow="block") as hub:
        hub.publish(Event("a"))
        with pytest.raises(NotHandled, match="publish would wait forever"):
            hub.publish(Event("a"))
        with pytest.raises(NotHandled, match="apublish would wait forever"):
            asyncio.run(hub.apublish(Event("a")))
        hub.drain()


def test_the_handling_thread_never_waits_for_its_own_inbox() -> None:
    with EventHub(inbox=1, overflow="block") as hub:
        told: list[Any] = []

        async def in_a_coroutine(event: Event) -> None:
            await hub.apublish(Event("b"))
            await asyncio.gather(hub.apublish(Event("b")))

        def callback(event: Event) -> None:
            hub.publish(Event("b"))
            hub.publish(Event("b"))

        hub.errors.subscribe(lambda outcome: told.append(type(outcome.error)))
        for each in (in_a_coroutine, callback):
            with hub.subscription("topic=a", each):
                hub.publish(Event("a"))
                with elsewhere(hub.drain):
                    pass
                with elsewhere(asyncio.run, _run_with_one_event(hub, told)):
                    pass
        assert told == [Overflow] * 4


async def _run_with_one_event(hub: EventHub, told: list[Any]) -> None:
    before = len(told)
    running = asyncio.create_task(hub.run())
    await asyncio.sleep(0)
    handled = asyncio.create_task(_first(hub))
    await asyncio.sleep(0)
    await hub.apublish(Event("a"))
    await handled
    while len(told) == before:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    hub.drain()


async def _first(hub: EventHub) -> Event:
    return await hub.stream("topic=a").__anext__()


def test_a_task_beside_run_on_the_same_loop_may_wait_for_room() -> None:
    async def main() -> list[int]:
        got: list[int] = []
        async with EventHub(inbox=2, overflow="block") as hub:
            hub.subscribe("topic=a", lambda event: got.append(event.data))
            for n in range(20):
                await asyncio.wait_for(hub.apublish(Event("a", data=n)), LIMIT)
            while len(got) < 20:
                await asyncio.sleep(0)
            assert hub.dropped == 0
        return got

    assert asyncio.run(main()) == list(range(20))


def test_closing_ends_who_waits_for_room() -> None:
    hub = EventHub(inbox=1, overflow="block")
    entered, leave = Flag(), Flag()
    hub.subscribe("topic=a", lambda event: (entered.set(), leave.wait(LIMIT)))

    def flood() -> None:
        with pytest.raises(HubClosed):
            while True:
                hub.publish(Event("a"))

    hub.start()
    with elsewhere(flood):
        assert entered.wait(LIMIT)
        with elsewhere(hub.close):
            leave.set()


def test_a_flood_from_inside_is_told_to_who_floods() -> None:
    with EventHub(inbox=10) as hub:
        told: list[Any] = []
        hub.errors.subscribe(lambda outcome: told.append(type(outcome.error)))
        hub.subscribe("topic=a", lambda event: [hub.publish(Event("b")) for _ in range(11)])
        hub.publish(Event("a"))
        assert hub.drain() == 11 and told == [Overflow] and hub.dropped == 1


def test_the_warning_of_an_unhandled_hub_is_not_repeated_and_not_given_when_handled(hub: EventHub) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with hub.start():
            hub.publish(Event("a"))
        with pytest.raises(NotHandledWarning):
            hub.publish(Event("a"))
        hub.publish(Event("a"))
        hub.publish(Event("a"), synchronous=True)
    hub.drain()
