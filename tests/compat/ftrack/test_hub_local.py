"""Without a server, ftrack's hub and rxhub's agree on order, results, replies, errors and messages."""

from __future__ import annotations

import inspect
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rxhub
from rxhub.errors import Overflow
from tests.compat.ftrack.judged import BOTH, OURS, THEIRS, outcome
from tests.hub.test_against_ftrack import Deed, deeds, events, subscribed

DATA = Path(__file__).parents[2] / "data"
WILD = (DATA / "expressions.txt").read_text(encoding="utf-8").splitlines()
EVENTS = [json.loads(line) for line in (DATA / "events.jsonl").read_text(encoding="utf-8").splitlines()]
EVENT_FIELDS = {"id", "data", "topic", "sent", "source", "target", "in_reply_to_event"}

quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def hub_of(side: SimpleNamespace) -> Any:
    return side.EventHub("http://localhost", "me", "key")


@quick
@given(deeds, st.lists(events, max_size=3))
def test_synchronous_publishing_is_the_same(silent: None, program: list[Deed], published: list[dict[str, Any]]) -> None:
    ran: dict[int, list[int]] = {0: [], 1: []}
    theirs, ours = hubs = [hub_of(side) for side in BOTH]
    for number, hub in enumerate(hubs):
        subscribed(hub, program, ran[number])
        hub.id = "the hub"
    for fields in published:
        their_event, our_event = THEIRS.Event(**fields), OURS.Event(**fields)
        expected = theirs.publish(their_event, synchronous=True)
        assert ours.publish(our_event, synchronous=True) == expected
        assert ran[1] == ran[0]
        assert dict(our_event) == dict(their_event)
        assert our_event.is_stopped() == their_event.is_stopped()
    assert [s.metadata for s in ours._subscribers] == [s.metadata for s in theirs._subscribers]
    ours.close()


@quick
@given(deeds, st.lists(events, max_size=3))
def test_handling_publishes_the_same_replies(
    silent: None, program: list[Deed], published: list[dict[str, Any]]
) -> None:
    replies: dict[int, list[dict[str, Any]]] = {0: [], 1: []}
    returned: dict[int, list[Any]] = {0: [], 1: []}
    for number, side in enumerate(BOTH):
        hub = hub_of(side)
        hub.id = "the hub"

        def publish(event: Any, number: int = number, hub: Any = hub) -> None:
            hub._prepare_event(event)
            replies[number].append({**event, "source": dict(event["source"]), "id": None})

        hub.publish = publish
        subscribed(hub, program, [])
        for fields in published:
            returned[number].append(hub._handle(side.Event(**fields, source={"id": "asker"})))
    assert returned[1] == returned[0]
    assert replies[1] == replies[0]


@pytest.mark.parametrize("text", WILD)
def test_each_subscription_of_the_wild_gets_the_same_events(silent: None, text: str) -> None:
    theirs, ours = (hub_of(side) for side in BOTH)
    for hub in (theirs, ours):
        hub.subscribe(text, lambda event: event["id"])
    for fields in EVENTS:
        known = {key: value for key, value in fields.items() if key in EVENT_FIELDS}
        try:
            expected = theirs.publish(THEIRS.Event(**known), synchronous=True)
        except (TypeError, IndexError):
            continue  # where theirs raises, ours does not match; see docs/reference/ftrack-differences.md
        assert ours.publish(OURS.Event(**known), synchronous=True) == expected, fields
    ours.close()


@pytest.mark.parametrize(
    "mistake",
    [
        lambda side, hub: hub.disconnect(),
        lambda side, hub: hub.publish(side.Event("a")),
        lambda side, hub: hub.publish_reply(side.Event("a", source={"id": "x"}), 1),
        lambda side, hub: hub.unsubscribe("nobody"),
        lambda side, hub: [hub.subscribe("topic=a", print, {"id": "x"}) for _ in "ab"],
        lambda side, hub: hub.publish(side.Event("a"), on_error="ignore"),
        lambda side, hub: hub.get_subscriber_by_identifier("nobody"),
        lambda side, hub: side.EventHub("localhost", "me", "key"),
        lambda side, hub: side.EventHub("https://:9000", "me", "key"),
        lambda side, hub: side.EventHub("http://x", "me", "key", headers=[1]),
        lambda side, hub: hub.init_connection() or hub.publish(side.Event("a")),
        lambda side, hub: (hub.get_server_url(), hub.get_network_location(), hub.secure, hub.connected, hub.server),
    ],
)
def test_mistakes_have_the_same_consequences_in_the_same_words(mistake: Any) -> None:
    expected, found = (outcome(mistake, side, hub_of(side)) for side in BOTH)
    assert found == expected


def test_waiting_without_a_connection_is_refused() -> None:
    for side in BOTH:
        with pytest.raises(side.exception.EventHubConnectionError, match="Event hub does not have a connection"):
            hub_of(side).wait(0.1)


def test_every_method_takes_the_arguments_of_theirs() -> None:
    for name, theirs in vars(THEIRS.EventHub).items():
        if not inspect.isfunction(theirs) or name == "_decode_object_hook":
            continue  # it would rewrite what is inside data
        expected = inspect.signature(theirs).parameters
        found = list(inspect.signature(getattr(OURS.EventHub, name)).parameters.values())[: len(expected)]
        assert [p.name for p in found] == list(expected), name
        assert [p.default for p in found] == [p.default for p in expected.values()], name


def test_private_attributes_begin_as_theirs() -> None:
    theirs, ours = (hub_of(side) for side in BOTH)
    for name in [
        "_code_name_mapping",
        "_connection",
        "_connection_initialised",
        "_intentional_disconnect",
        "_cookies",
        "_headers",
        "_api_user",
        "_api_key",
        "_server_url",
        "_wait_timeout",
        "_event_namespace",
        "_auto_reconnect_attempts",
        "_auto_reconnect_delay",
        "_subscribers",
    ]:
        assert getattr(ours, name) == getattr(theirs, name), name
    for hub in (theirs, ours):
        assert hub._event_queue.qsize() == 0 and hub._event_send_queue.qsize() == 0
        assert hub.logger.name == "ftrack_api.event.hub.EventHub"


class TestTheListOfSubscribers:
    def test_is_in_order_of_subscribing_and_a_list(self) -> None:
        hub = hub_of(OURS)
        for identifier, priority in (("a", 100), ("b", 0), ("c", 50)):
            hub.subscribe("topic=x", lambda event, mine=identifier: mine, {"id": identifier}, priority)
        assert isinstance(hub._subscribers, list)
        assert [s.metadata["id"] for s in hub._subscribers] == ["a", "b", "c"]
        assert hub.publish(OURS.Event("x"), synchronous=True) == ["b", "c", "a"]

    @pytest.mark.parametrize(
        ("change", "left"),
        [
            (lambda members: members.pop(0), ["b", "c"]),
            (lambda members: members.pop(), ["a", "b"]),
            (lambda members: members.remove(members[1]), ["a", "c"]),
            (lambda members: members.__delitem__(slice(0, 2)), ["c"]),
            (lambda members: members.clear(), []),
            (lambda members: members.append(OURS.Subscriber("topic=x", lambda e: "d", {"id": "d"}, 1)), ["d", *"abc"]),
        ],
    )
    def test_changes_what_is_called(self, change: Any, left: list[str]) -> None:
        hub = hub_of(OURS)
        for identifier in "abc":
            hub.subscribe("topic=x", lambda event, mine=identifier: mine, {"id": identifier})
        change(hub._subscribers)
        assert hub.publish(OURS.Event("x"), synchronous=True) == left
        assert sorted(s.metadata["id"] for s in hub._subscribers) == sorted(left)

    def test_that_is_held_does_not_remove_who_subscribed_since(self) -> None:
        hub = hub_of(OURS)
        for identifier in "abc":
            hub.subscribe("topic=x", lambda event, mine=identifier: mine, {"id": identifier})
        held = hub._subscribers
        hub.subscribe("topic=x", lambda event: "d", {"id": "d"})
        hub.unsubscribe("a")
        held.pop()
        held.pop()
        held.pop()  # this one has left already
        assert hub.publish(OURS.Event("x"), synchronous=True) == ["d"]

    def test_can_be_replaced(self) -> None:
        hub = hub_of(OURS)
        hub.subscribe("topic=x", lambda event: 1)
        hub._subscribers = []
        assert hub.publish(OURS.Event("x"), synchronous=True) == [] and hub._subscribers == []


def test_a_callback_is_not_looked_at_before_it_is_called(caplog: pytest.LogCaptureFixture) -> None:
    for side in BOTH:
        hub = hub_of(side)
        hub.subscribe("topic=a", None, {"id": "x"})
        assert hub.publish(side.Event("a"), synchronous=True) == []
    assert [record.getMessage().split(" for event")[0] for record in caplog.records] == [
        "Error calling subscriber <Subscriber metadata={'id': 'x'} subscription=\"topic=a\">"
    ] * 2


def test_what_is_put_into_the_event_queue_comes_out_as_it_is() -> None:
    hub = hub_of(OURS)
    event, pair = OURS.Event("a"), (OURS.Event("b"), {"job": 1})
    hub._event_queue.put(event)
    hub._event_queue.put(pair)
    hub._event_queue.put(THEIRS.Event("c"))
    assert hub._event_queue.qsize() == 3
    assert hub._event_queue.get(timeout=0.1) is event
    assert hub._event_queue.get() is pair
    assert isinstance(hub._event_queue.get_nowait(), rxhub.Event)
    with pytest.raises(__import__("queue").Empty):
        hub._event_queue.get(timeout=0.01)


def test_an_event_of_ftrack_s_own_class_can_be_published_and_stopped() -> None:
    hub = hub_of(OURS)
    hub.subscribe("topic=a", lambda event: event.stop() or event["data"])
    event = THEIRS.Event("a", data={"n": 1})
    assert hub.publish(event, synchronous=True) == [{"n": 1}] and event.is_stopped()


def test_the_reactive_face_is_there_in_ftrack_s_dialect() -> None:
    hub, seen = hub_of(OURS), []
    hub.on("topic=pdate").subscribe(seen.append)
    hub.on("topic=pdate*").subscribe(seen.append)
    event = OURS.Event("ftrack.update")
    hub.publish(event, synchronous=True)
    assert seen == [event] and len(hub._subscribers) == 2


def test_what_waits_for_the_connection_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxhub.compat.ftrack.publishing._MAX_UNSENT", 2)
    hub = hub_of(OURS)
    hub.init_connection()
    assert [hub.publish(OURS.Event("a")) for _ in "ab"] == [True, True]
    with pytest.raises(Overflow, match="was refused"):
        hub.publish(OURS.Event("a"))
    assert hub._event_send_queue.qsize() == hub.unsent == 2


def test_packets_that_nobody_expects_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hub = hub_of(OURS)
    for packet in (
        ("6", "", "", "1"),
        ("6", "", "", "1+[]"),
        ("6", "", "", "x"),
        ("6", "", "", None),
        ("8", "", "", None),
        ("9", None, None, None),
        ("3", "", "", "hello"),
        ("7", "", "", "1+0"),
        ("5", "", "", '{"name":"ftrack.event","args":[]}'),
        ("5", "", "", "[]"),
        ("5", "", "", '{"name":"ftrack.event","args":[{"no":"topic"}]}'),
    ):
        hub._handle_packet(*packet)
    assert hub._event_queue.qsize() == 0
    # Fields that ftrack's own hub would drop the event for.
    hub._handle_packet(
        "5", "", "", '{"args":[{"topic":"a","more":1,"inReplyToEvent":"e","data":{"inReplyToEvent":2}}]}'
    )
    event = hub._event_queue.get_nowait()
    assert (event["more"], event["in_reply_to_event"], event["data"]) == (1, "e", {"inReplyToEvent": 2})


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
        max_size=4,
    ).filter(lambda data: "reply" not in str(data).lower())
)
def test_encoding_and_decoding_are_theirs(data: dict[str, Any]) -> None:
    theirs, ours = (hub_of(side) for side in BOTH)
    texts = [
        hub._encode({"name": "ftrack.event", "args": [side.Event("a", "1", data)]})
        for hub, side in ((theirs, THEIRS), (ours, OURS))
    ]
    assert texts[1] == texts[0] and "inReplyToEvent" in texts[1]
    assert ours._decode(texts[0]) == theirs._decode(texts[0])


@pytest.mark.parametrize(
    ("subscription", "meant"),
    [("topc=a", "topic"), ("date.x=1", "data.x"), ("not tagret=x", "target"), ("topic=a and data.toppic=x", "")],
)
def test_a_misspelled_key_is_logged_where_programs_subscribe(
    subscription: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    hub = OURS.EventHub("http://127.0.0.1:9", "me", "key")
    hub.subscribe(subscription, print)
    told = [record.getMessage() for record in caplog.records if "did you mean" in record.getMessage()]
    assert len(told) == bool(meant)
    assert not meant or f"did you mean {meant!r}?" in told[0]
