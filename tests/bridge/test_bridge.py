"""A bridge between any two hubs: what it passes on, what it marks, what it counts, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import rxhub.server
from rxhub import Event, EventHub
from rxhub.bridge import GAP, Bridge, Counts
from rxhub.errors import ExpressionError, HubClosed
from rxhub.server import Running
from tests.server.peers import PythonClient
from tests.threads import LIMIT, elsewhere, until
from tests.transport.socketio.server import Server

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


@pytest.fixture
def source() -> Iterator[EventHub]:
    with EventHub() as hub:
        yield hub


@pytest.fixture
def target() -> Iterator[EventHub]:
    with EventHub() as hub:
        yield hub


@pytest.fixture
def stored() -> Iterator[Server]:
    """A server at the far end, whose acknowledgements can be held back."""
    with Server() as server:
        yield server


def seen(hub: EventHub, subscription: str = "topic=*") -> list[Event]:
    """What comes to a hub."""
    events: list[Event] = []
    hub.on(subscription).subscribe(events.append)
    return events


def handled(source: EventHub, holds: Callable[[], object]) -> None:
    """Handle a hub until something holds."""

    def look() -> object:
        source.drain()
        return holds()

    until(look)


def gaps(server: Server) -> list[dict[str, Any]]:
    return [event["data"] for event in server.taken if event["topic"] == GAP]


@contextmanager
def bridged(near: Running | Server, far: Server, **options: Any) -> Generator[tuple[Bridge, EventHub]]:
    """A bridge from one server to another that has marked its start; and a publisher at the source."""
    user, key = ("me", "key") if isinstance(near, Server) else (near.api_user, near.api_key)
    with EventHub(near.url, user, key) as source, EventHub(far.url, "me", "key") as target:
        with EventHub(near.url, user, key) as publisher, source.start():
            target.connect()
            source.connect()
            publisher.connect()
            with Bridge(source, target, **options) as bridge:
                until(lambda: bridge.counts.gaps == 1)
                yield bridge, publisher


# What is passed on

WIRE: dict[str, Any] = {
    "topic": "ftrack.update",
    "id": "1",
    "sent": "2026-01-01T00:00:00",
    "source": {"id": "x", "user": {"username": None}},
    "target": "",
    "data": {"entities": [{"a": 1.5, "inReplyToEvent": None, "ä": "\n"}], "n": 2**60},
    "inReplyToEvent": "y",
    "unknown": {"deep": [1, [2]]},
}


@pytest.mark.parametrize("change", [{}, {"source": {}}, {"source": "me"}, {"source": {"user": 1}}, {"sent": None}])
def test_an_event_is_passed_on_as_it_came(source: EventHub, target: EventHub, change: dict[str, Any]) -> None:
    wire = {**WIRE, **change}
    with Bridge(source, target):
        events = seen(target)
        source.forward(Event.from_wire(wire))
        source.drain()
        target.drain()
    assert events[-1].to_wire() == wire


def test_an_event_goes_from_server_to_server_as_it_came(stored: Server) -> None:
    with rxhub.server.running() as near, bridged(near, stored) as (bridge, publisher):
        publisher.forward(Event.from_wire(WIRE)).result(LIMIT)
        until(lambda: bridge.counts.stored == 1)
    assert stored.taken[-1] == WIRE


def test_events_keep_their_order_and_only_those_that_match_are_passed_on(source: EventHub, target: EventHub) -> None:
    with Bridge(source, target, "topic=a and data.n>=5") as bridge:
        events = seen(target, "topic=a or topic=b")
        for n in range(10):
            source.publish(Event("a", data={"n": n}))
            source.publish(Event("b", data={"n": n}))
        source.drain()
        target.drain()
    assert [event.data["n"] for event in events] == [5, 6, 7, 8, 9]
    assert bridge.counts == Counts(read=5, stored=5, gaps=1)


def test_it_takes_events_before_whoever_changes_or_stops_them(source: EventHub, target: EventHub) -> None:
    source.subscribe("topic=a", lambda event: event.stop(), priority=-1e9)
    with Bridge(source, target) as bridge:
        source.publish(Event("a"))
        source.drain()
        assert bridge.counts.stored == 1


def test_the_hub_s_own_news_are_none_of_the_server_s(stored: Server) -> None:
    with rxhub.server.running() as near, EventHub(stored.url, "me", "key") as target:
        target.connect()
        with (
            EventHub(near.url, near.api_user, near.api_key) as source,
            source.start(),
            Bridge(source, target) as bridge,
        ):
            news = seen(source, "topic=ftrack.meta.connected")
            source.connect()
            until(lambda: bridge.counts.gaps == 1 and news)
            with EventHub(near.url, near.api_user, near.api_key) as publisher:
                publisher.connect()
                publisher.publish(Event("ftrack.meta.connected", data={"by": "another"}))
                until(lambda: bridge.counts.stored == 1)
    assert [event["source"]["id"] for event in stored.taken if "connected" in event["topic"]] == [publisher.id]


def test_ftrack_s_own_client_publishes_at_the_source(stored: Server) -> None:
    with rxhub.server.running() as near, bridged(near, stored) as (bridge, _):
        client = PythonClient(near)
        client.connect()
        for n in range(20):
            client.publish("ftrack.update", {"n": n})
        until(lambda: bridge.counts.stored == 20)
        client.close()
    passed = [event for event in stored.taken if event["topic"] == "ftrack.update"]
    assert [event["data"]["n"] for event in passed] == list(range(20))
    assert {event["source"]["id"] for event in passed} == {client.hub.id}
    assert all(event["sent"] is None for event in passed)


# What it marks


def test_its_start_is_a_gap_without_a_beginning(source: EventHub, target: EventHub) -> None:
    before = datetime.now(UTC)
    markers = seen(target, f"topic={GAP}")
    with Bridge(source, target, "topic=a", name="first") as bridge:
        source.drain()
        target.drain()
    [marker] = markers
    until = datetime.fromisoformat(marker.data.pop("until"))
    assert marker.data == {
        "bridge": "first", "server": "memory://", "subscription": "topic=a",
        "why": "started", "reason": "", "since": None, "last": None, "lost": 0,
    }  # fmt: skip
    assert before.replace(microsecond=before.microsecond // 1000 * 1000) <= until <= datetime.now(UTC)
    assert marker.source["id"] == target.id and bridge.counts == Counts(gaps=1)


def test_the_marker_waits_until_the_server_knows_of_the_subscription(stored: Server) -> None:
    with Server(unanswered={"ftrack.meta.subscribe"}) as near:
        with EventHub(near.url, "me", "key") as source, EventHub(stored.url, "me", "key") as target:
            target.connect()
            source.connect()
            with source.start(), Bridge(source, target) as bridge:
                until(lambda: any(e["data"].get("subscription") == "topic=*" for e in near.taken))
                assert bridge.counts.gaps == 0 and not source.subscriptions_synced
                near.unanswered = set()
                near.drop()
                until(lambda: bridge.counts.gaps == 1)
                assert source.subscriptions_synced
    assert [gap["why"] for gap in gaps(stored)] == ["started"]


def test_a_server_that_never_answers_counts_as_knowing_after_a_while(
    stored: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxhub.bridge.bridge.SUBSCRIBE_TIMEOUT_S", 0.2)
    with Server(answers=False) as near:
        with EventHub(near.url, "me", "key") as source, EventHub(stored.url, "me", "key") as target:
            target.connect()
            source.connect()
            with source.start(), Bridge(source, target) as bridge:
                until(lambda: bridge.counts.gaps == 1)
                assert not source.subscriptions_synced


def test_a_reconnection_is_marked_and_what_comes_after_it_is_passed_on(stored: Server) -> None:
    with Server() as near, bridged(near, stored) as (bridge, publisher):
        publisher.publish(Event("a", id="1"))
        until(lambda: bridge.counts.stored == 1)
        between = datetime.now(UTC)
        near.stop()
        near.start()
        until(lambda: bridge.counts.gaps == 2)
        publisher.publish(Event("a", id="2"))
        until(lambda: bridge.counts.stored == 2)
    _, gap = gaps(stored)
    assert (gap["why"], gap["last"], gap["lost"]) == ("reconnected", "1", 0) and gap["reason"]
    assert datetime.fromisoformat(gap["since"]) <= between <= datetime.fromisoformat(gap["until"])
    order = [event["id"] for event in stored.taken if event["topic"] == "a"]
    assert order == ["1", "2"]


def test_a_gap_begins_before_its_last_event_had_come_however_long_that_waited(
    source: EventHub, target: EventHub
) -> None:
    markers = seen(target, f"topic={GAP}")
    with Bridge(source, target) as bridge:
        handled(source, lambda: bridge.counts.gaps == 1)
        came = datetime.now(UTC)
        source.publish(Event("a", id="1"))
        source.disconnect(unsubscribe=False)
        source.connect()
        while datetime.now(UTC) < came + timedelta(seconds=1.5):
            pass
        handled(source, lambda: bridge.counts.gaps == 2)
        target.drain()
    gap = markers[-1].data
    assert gap["last"] == "1" and datetime.fromisoformat(gap["since"]) <= came


def test_a_buffer_that_is_full_is_an_overflow_and_the_marker_stands_where_the_hole_is(stored: Server) -> None:
    stored.unanswered = {"a"}
    with Server() as near, bridged(near, stored, buffer=10) as (bridge, publisher):
        for n in range(25):
            publisher.publish(Event("a", id=str(n)))
        until(lambda: bridge.counts.read == 25)
        assert bridge.counts == Counts(read=25, stored=0, waiting=10, lost=15, gaps=1)
        stored.unanswered = set()
        stored.drop()
        until(lambda: bridge.counts.gaps == 2)
        publisher.publish(Event("a", id="25"))
        until(lambda: bridge.counts.stored == 11)
    ids = [e["data"]["why"] if e["topic"] == GAP else e["id"] for e in stored.taken if e["topic"] in ("a", GAP)]
    once = list(dict.fromkeys(ids))
    assert once == ["started", *map(str, range(10)), "overflowed", "25"]
    gap = gaps(stored)[-1]
    assert (gap["last"], gap["lost"]) == ("9", 15)


def test_a_full_outbox_of_the_target_is_an_overflow_too(source: EventHub, stored: Server) -> None:
    stored.unanswered = {"a"}
    with EventHub(stored.url, "me", "key", outbox=5) as target:
        target.connect()
        with Bridge(source, target) as bridge:
            handled(source, lambda: bridge.counts.gaps == 1)
            for n in range(8):
                source.publish(Event("a", id=str(n)))
            handled(source, lambda: bridge.counts.read == 8)
            assert (bridge.counts.waiting, bridge.counts.lost) == (5, 3)
            stored.unanswered = set()
            stored.drop()
            handled(source, lambda: bridge.counts.gaps == 2)
    assert (gaps(stored)[-1]["why"], gaps(stored)[-1]["lost"]) == ("overflowed", 3)


@pytest.mark.parametrize("policy", ["error", "drop-oldest", "drop-newest", "latest"])
def test_what_the_source_s_inbox_drops_is_an_overflow(target: EventHub, policy: str) -> None:
    place, markers = "memory://bridge-inbox", seen(target, f"topic={GAP}")
    with EventHub(place, inbox=5, overflow=policy) as source, EventHub(place) as hub:
        with Bridge(source, target) as bridge:
            source.drain()
            for n in range(8):
                hub.publish(Event("a", id=str(n)))
            handled(source, lambda: bridge.counts.gaps == 2)
            target.drain()
            counts = bridge.counts
    assert markers[-1].data["why"] == "overflowed" and markers[-1].data["lost"] == counts.lost == source.dropped > 0


def test_what_the_target_refuses_is_marked(stored: Server) -> None:
    stored.refused = {"bad"}
    with Server() as near, bridged(near, stored) as (bridge, publisher):
        publisher.publish(Event("a", id="1"))
        publisher.publish(Event("bad", id="2"))
        publisher.publish(Event("a", id="3"))
        until(lambda: bridge.counts.gaps == 2)
        assert bridge.counts == Counts(read=3, stored=2, lost=1, gaps=2)
    gap = gaps(stored)[-1]
    assert (gap["why"], gap["lost"]) == ("refused", 1) and "not here" in gap["reason"]


def test_a_marker_that_is_refused_is_tried_again(stored: Server, caplog: pytest.LogCaptureFixture) -> None:
    stored.refused = {GAP}
    with Server() as near, EventHub(near.url, "me", "key") as source, EventHub(stored.url, "me", "key") as target:
        target.connect()
        source.connect()
        with source.start(), Bridge(source, target) as bridge:
            until(lambda: "Storing the marker of a gap (started) failed" in caplog.text)
            stored.refused = set()
            until(lambda: bridge.counts.gaps == 1)
    assert [gap["why"] for gap in gaps(stored)] == ["started"]


def test_an_event_that_cannot_be_written_is_refused_alone(source: EventHub, stored: Server) -> None:
    with EventHub(stored.url, "me", "key") as target:
        target.connect()
        with Bridge(source, target) as bridge:
            for data in (1, object(), 2):
                source.publish(Event("a", data=data))
            handled(source, lambda: bridge.counts.stored == 2)
            assert bridge.counts.lost == 1
            handled(source, lambda: bridge.counts.gaps == 2)
    assert [e["data"] for e in stored.taken if e["topic"] == "a"] == [1, 2]


# Ids


def test_an_id_is_passed_on_once(source: EventHub, target: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    with Bridge(source, target) as bridge:
        for id in ("1", "2", "1", "1"):
            source.publish(Event("a", id=id))
        source.drain()
        assert bridge.counts == Counts(read=4, stored=2, duplicates=2, gaps=1)
    assert caplog.text.count("was received again") == 1


@pytest.mark.parametrize("id", [5, ["x"], {"a": 1}, None, ""])
def test_an_id_may_be_anything(source: EventHub, target: EventHub, id: Any) -> None:
    with Bridge(source, target) as bridge:
        source.forward(Event.from_wire({"topic": "a", "id": id}))
        source.drain()
        assert bridge.counts.stored == 1


def test_bridges_in_both_directions_are_no_circle() -> None:
    with EventHub("memory://bridge-there") as one, EventHub("memory://bridge-here") as other:
        with Bridge(one, other) as there, Bridge(other, one) as back:
            for hub in (one, other) * 3:
                hub.drain()
            markers = there.counts.read
            one.publish(Event("a"))
            other.publish(Event("b"))
            for hub in (one, other) * 10:
                hub.drain()
            assert there.counts.read <= markers + 4 and there.counts.lost == back.counts.lost == 0
            left = [hub.drain() for hub in (one, other)]
    assert left == [0, 0]


def test_both_ends_at_one_place_are_refused() -> None:
    with EventHub("memory://bridge-same") as one, EventHub("memory://bridge-same") as other:
        for target in (one, other):
            with pytest.raises(ValueError, match="memory://bridge-same.*come back"):
                Bridge(one, target)


def test_what_cannot_be_a_bridge_is_told(source: EventHub, target: EventHub) -> None:
    with pytest.raises(TypeError, match="two hubs, but str"):
        Bridge(source, "nats://127.0.0.1")  # type: ignore[arg-type]
    with pytest.raises(ExpressionError):
        Bridge(source, target, "topic==a")
    with pytest.raises(ValueError, match="at least 1"):
        Bridge(source, target, buffer=0)
    source.close()
    with pytest.raises(HubClosed):
        Bridge(source, target).open()


# Its life


def test_at_its_end_what_was_read_is_stored_first(stored: Server) -> None:
    with Server() as near, bridged(near, stored) as (bridge, publisher):
        for n in range(500):
            publisher.publish(Event("a", data=n))
        publisher.publish(Event("b")).result(LIMIT)
        until(lambda: bridge.counts.read > 0)
        counts = bridge.close(LIMIT)
        assert counts.read == counts.stored == bridge.counts.stored and counts.waiting == 0
        publisher.publish(Event("c")).result(LIMIT)
    assert bridge.counts == counts and "c" not in stored.topics()


def test_at_its_end_it_tells_what_is_not_stored(stored: Server, caplog: pytest.LogCaptureFixture) -> None:
    stored.unanswered = {"a"}
    with Server() as near, bridged(near, stored) as (bridge, publisher):
        for n in range(3):
            publisher.publish(Event("a", data=n))
        until(lambda: bridge.counts.waiting == 3)
        assert bridge.close(0.1) == Counts(read=3, waiting=3, gaps=1)
        assert "3 received events are not stored yet" in caplog.text
        stored.unanswered = set()
        stored.drop()
        until(lambda: bridge.counts.stored == 3)


def test_it_ends_in_its_own_handling_context_too(source: EventHub, target: EventHub) -> None:
    bridge = Bridge(source, target)
    source.subscribe("topic=end", lambda event: bridge.close())
    with bridge:
        for topic in ("a", "end", "b"):
            source.publish(Event(topic))
        source.drain()
        assert bridge.counts.read == 2
    assert bridge.close() == bridge.counts


def test_it_ends_when_nobody_handles_the_source(source: EventHub, target: EventHub) -> None:
    with Bridge(source, target) as bridge:
        source.publish(Event("a"))
    source.drain()
    assert bridge.counts == Counts()


def test_hubs_may_be_closed_before_it(source: EventHub, target: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    with Bridge(source, target) as bridge:
        source.publish(Event("a"))
        source.drain()
        target.close()
        source.publish(Event("b"))
        source.drain()
        source.close()
    assert bridge.counts == Counts(read=2, stored=1, lost=1, gaps=1)
    assert "The hub was closed" in caplog.text


def test_on_a_loop() -> None:
    async def main() -> Counts:
        async with EventHub() as source, EventHub() as target:
            async with Bridge(source, target) as bridge:
                for n in range(10):
                    await source.apublish(Event("a", data=n))
            return bridge.counts

    assert asyncio.run(main()) == Counts(read=10, stored=10, gaps=1)


def test_a_forked_child_passes_nothing_on(source: EventHub, target: EventHub) -> None:
    with Bridge(source, target) as bridge:
        source.drain()
        child = os.fork()
        if not child:
            source.connect()
            target.connect()
            source.publish(Event("a"))
            source.drain()
            os._exit(0 if not bridge.counts.read else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_it_says_how_it_stands(source: EventHub, target: EventHub) -> None:
    with Bridge(source, target) as bridge:
        assert repr(bridge) == "<Bridge memory:// → memory://: 0 read, 0 stored, 0 waiting>"


def test_markers_are_json(source: EventHub, target: EventHub) -> None:
    markers = seen(target)
    with Bridge(source, target), elsewhere(source.drain):
        pass
    target.drain()
    json.dumps([marker.to_wire() for marker in markers])
