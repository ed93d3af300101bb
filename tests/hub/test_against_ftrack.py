"""The hub beside ftrack's own: what its users rely on comes out the same."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from typing import Any

import ftrack_api.event.base
import ftrack_api.event.hub
import ftrack_api.exception
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError, NotFoundError, NotUniqueError

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")

TheirEvent = ftrack_api.event.base.Event
TheirHub = ftrack_api.event.hub.EventHub


@dataclass
class Deed:
    """What one subscriber does when it is called."""

    subscription: str
    priority: float
    team: str
    result: Any
    raises: bool
    stops: bool
    leaves: int | None


deeds = st.lists(
    st.builds(
        Deed,
        subscription=st.sampled_from(
            ["topic=a", "topic=b", "topic=*", "topic=a and data.name=x", "not topic=a", "data.name!=x"]
        ),
        priority=st.sampled_from([0, 10, 50, 100, 100, 100, 10000, -5, 50.5]),
        team=st.sampled_from(["red", "blue"]),
        result=st.sampled_from([None, None, 0, False, "", "yes", {"items": [1]}, []]),
        raises=st.booleans(),
        stops=st.sampled_from([False, False, False, True]),
        leaves=st.none() | st.integers(0, 5),
    ),
    max_size=6,
)
events = st.fixed_dictionaries(
    {
        "topic": st.sampled_from(["a", "b"]),
        "id": st.sampled_from(["1", "2"]),
        "data": st.sampled_from([{}, {"name": "x"}, {"name": "y"}]),
        "target": st.sampled_from(["", "", "team=red", "team=blue or team=red", "id=s0", "missing=1"]),
    }
)


def subscribed(hub: Any, program: list[Deed], ran: list[int]) -> list[dict[str, Any]]:
    """The program's subscribers on a hub, each noting its number when it runs; their metadata."""
    metadata: list[dict[str, Any]] = []

    def add(number: int, deed: Deed) -> None:
        def callback(event: Any) -> Any:
            ran.append(number)
            if deed.stops:
                event.stop()
            if deed.raises:
                raise ValueError(number)
            return deed.result

        mine = {"id": f"s{number}", "team": deed.team}
        metadata.append(mine)
        assert hub.subscribe(deed.subscription, callback, subscriber=mine, priority=deed.priority) == f"s{number}"

    for number, deed in enumerate(program):
        add(number, deed)
    for deed in program:
        if deed.leaves is not None and deed.leaves < len(program):
            identifier = f"s{deed.leaves}"
            if hub.get_subscriber_by_identifier(identifier) is not None:
                hub.unsubscribe(identifier)
    return metadata


@pytest.fixture(autouse=True)
def _silence() -> Any:
    # Both log what callbacks raise, with a traceback each.
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@given(deeds, st.lists(events, max_size=3))
def test_synchronous_publishing_calls_the_same_in_the_same_order_with_the_same_results(
    program: list[Deed], published: list[dict[str, Any]]
) -> None:
    theirs, ours = TheirHub("http://localhost", "me", "key"), EventHub(api_user="me")
    they_ran: list[int] = []
    we_ran: list[int] = []
    subscribed(theirs, program, they_ran)
    subscribed(ours, program, we_ran)

    for fields in published:
        their_event, our_event = TheirEvent(**fields), Event(**fields)
        their_results = theirs.publish(their_event, synchronous=True)
        our_results = ours.publish(our_event, synchronous=True)
        assert our_results == their_results
        assert we_ran == they_ran
        assert our_event.is_stopped() == their_event.is_stopped()
        their_event["source"]["id"] = ours.id
        assert dict(our_event) == dict(their_event)
    ours.close()


@given(deeds, st.lists(events, max_size=3))
def test_replies_are_the_same_and_metadata_stays_as_it_was(
    program: list[Deed], published: list[dict[str, Any]]
) -> None:
    theirs, ours = TheirHub("http://localhost", "me", "key"), EventHub(api_user="me")
    ran: list[int] = []
    their_replies: list[dict[str, Any]] = []
    our_replies: list[dict[str, Any]] = []

    def publish(event: Any) -> None:
        theirs._prepare_event(event)
        their_replies.append({**event, "source": dict(event["source"])})

    theirs.publish = publish
    subscribed(theirs, program, ran)
    metadata = subscribed(ours, program, ran)
    before = [dict(mine) for mine in metadata]
    ours.events.subscribe(lambda event: our_replies.append(dict(event)) if "reply" in event.topic else None)

    for fields in published:
        source = {"id": "of somebody", "user": {"username": "x"}}
        theirs._handle(TheirEvent(**fields, source=source))
        ours.publish(Event(**fields, source=dict(source)))
        ours.drain()

    assert metadata == before
    # Theirs writes `id=of somebody`, which its own parser refuses: quoted, the same id can be read.
    for reply in their_replies:
        reply["target"] = reply["target"].replace("id=of somebody", 'id="of somebody"')
    for reply in their_replies + our_replies:
        assert len(reply.pop("id")) == 32
    # Theirs drops what is false.
    for reply in our_replies:
        reply["data"] = reply["data"] or {}
    assert our_replies == their_replies
    ours.close()


def test_a_reply_s_target_is_written_as_theirs() -> None:
    theirs, ours = TheirHub("http://localhost", "me", "key"), EventHub()
    source_event = Event("a", source={"id": theirs.id})
    reply = TheirEvent("ftrack.meta.reply")
    theirs._prepare_reply_event(reply, source_event)
    seen: list[Event] = []
    ours.events.subscribe(seen.append)
    ours.publish_reply(source_event, data=1)
    ours.drain()
    assert seen[0].target == reply["target"]
    assert seen[0].in_reply_to_event == reply["in_reply_to_event"]
    ours.close()


def test_every_public_method_takes_the_arguments_of_theirs_in_their_order() -> None:
    names = [name for name in dir(TheirHub) if not name.startswith("_")]
    assert {"publish", "subscribe", "wait", "secure", "subscription"} <= set(names)
    for name in names:
        theirs, ours = getattr(TheirHub, name), getattr(EventHub, name)
        if callable(theirs):
            expected = inspect.signature(theirs).parameters
            mine = list(inspect.signature(ours).parameters.values())[: len(expected)]
            assert [parameter.name for parameter in mine] == list(expected), name
            assert [parameter.default for parameter in mine] == [p.default for p in expected.values()], name


def test_the_constructor_takes_the_arguments_of_theirs_in_their_order() -> None:
    expected = list(inspect.signature(TheirHub).parameters)
    assert list(inspect.signature(EventHub).parameters)[: len(expected)] == expected
    for bad in ({"headers": [("a", "b")]}, {"cookies": "a=b"}):
        for make in (TheirHub, EventHub):
            with pytest.raises(TypeError, match="Expected mapping"):
                make("memory://x", "me", "key", **bad)


def test_the_same_mistakes_are_errors_of_the_same_name() -> None:
    theirs, ours = TheirHub("http://localhost", "me", "key"), EventHub()
    for hub, not_unique, not_found in (
        (theirs, ftrack_api.exception.NotUniqueError, ftrack_api.exception.NotFoundError),
        (ours, NotUniqueError, NotFoundError),
    ):
        hub.subscribe("topic=a", print, {"id": "x"})
        with pytest.raises(not_unique):
            hub.subscribe("topic=b", print, {"id": "x"})
        hub.unsubscribe("x")
        with pytest.raises(not_found):
            hub.unsubscribe("x")
        assert hub.get_subscriber_by_identifier("x") is None
    ours.disconnect()
    for hub, not_connected in ((theirs, ftrack_api.exception.EventHubConnectionError), (ours, HubConnectionError)):
        with pytest.raises(not_connected):
            hub.disconnect()
        with pytest.raises(not_connected):
            hub.publish((TheirEvent if hub is theirs else Event)("a"))
        hub.publish((TheirEvent if hub is theirs else Event)("a"), on_error="ignore")
    ours.close()


def test_the_context_manager_subscribes_for_the_time_of_its_block() -> None:
    for hub, event in ((TheirHub("http://localhost", "me", "key"), TheirEvent), (EventHub(), Event)):
        with hub.subscription("topic=a", lambda event: 1, subscriber={"id": "x"}, priority=5):
            assert hub.get_subscriber_by_identifier("x").priority == 5
            assert hub.publish(event("a"), synchronous=True) == [1]
        assert hub.get_subscriber_by_identifier("x") is None
        assert hub.publish(event("a"), synchronous=True) == []


def test_a_subscriber_has_the_attributes_of_theirs() -> None:
    theirs, ours = TheirHub("http://localhost", "me", "key"), EventHub()
    for hub, event in ((theirs, TheirEvent), (ours, Event)):
        metadata = {"id": "x", "team": "red"}
        hub.subscribe("topic=a", print, metadata, 7)
        subscriber = hub.get_subscriber_by_identifier("x")
        assert subscriber.callback is print and subscriber.priority == 7 and subscriber.metadata is metadata
        assert str(subscriber.subscription) == "topic=a" if hub is ours else "topic" in str(subscriber.subscription)
        assert subscriber.interested_in(event("a")) and not subscriber.interested_in(event("b"))
    ours.close()
