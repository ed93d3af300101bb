"""From an event server into a stream of NATS JetStream: each event once, and told where one may be missing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import rxhub.server
from rxhub import Event, EventHub
from rxhub.bridge import GAP, Bridge
from rxhub.embedded import store
from rxhub.server import Running
from rxhub.server.key_hash import new_key
from rxhub.testing import Nats
from tests.server.peers import PythonClient
from tests.stored import limit, stored
from tests.threads import LIMIT, suspend, until


@contextmanager
def connected(server: Running | Nats, **options: Any) -> Generator[EventHub]:
    if isinstance(server, Nats):
        hub = EventHub(server.url, server.user, server.password, stream=server.stream, **options)
    else:
        hub = EventHub(server.url, server.api_user, server.api_key, **options)
    with hub:
        hub.connect()
        yield hub


@contextmanager
def bridged(server: Running, nats: Nats, **options: Any) -> Generator[Bridge]:
    """A bridge whose start is marked."""
    with connected(nats) as target, connected(server) as source, source.start():
        with Bridge(source, target, **options) as bridge:
            until(lambda: bridge.counts.gaps == 1)
            yield bridge


def markers(nats: Nats) -> list[dict[str, Any]]:
    return [event["data"] for event in stored(nats) if event["topic"] == GAP]


def ids(nats: Nats) -> list[str]:
    return [event["id"] for event in stored(nats) if event["topic"] != GAP]


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


WIRE: dict[str, Any] = {
    "topic": "ftrack.update",
    "id": "1",
    "sent": None,
    "source": {"id": "x", "user": {"username": "jane", "id": "y"}},
    "target": "",
    "data": {"entities": [{"changes": {"a": {"old": None, "new": 1.5}}, "ä": "\n"}], "n": 2**60},
    "inReplyToEvent": None,
    "unknown": {"deep": [1, [2]]},
}


def test_an_event_is_stored_as_it_came(nats: Nats) -> None:
    with rxhub.server.running() as server, bridged(server, nats) as bridge, connected(server) as publisher:
        publisher.forward(Event.from_wire(WIRE)).result(LIMIT)
        until(lambda: bridge.counts.stored == 1)
    assert [event for event in stored(nats) if event["topic"] != GAP] == [WIRE]


def test_two_bridges_store_what_ftrack_s_client_publishes_once(nats: Nats) -> None:
    with rxhub.server.running() as server, ExitStack() as stack:
        bridges = [stack.enter_context(bridged(server, nats, name=name)) for name in ("one", "two")]
        client = PythonClient(server)
        client.connect()
        for n in range(300):
            client.publish("ftrack.update", {"n": n})
        until(lambda: [bridge.counts.stored for bridge in bridges] == [300, 300])
        client.close()
    events = [event for event in stored(nats) if event["topic"] == "ftrack.update"]
    assert [event["data"]["n"] for event in events] == list(range(300))
    assert {event["source"]["id"] for event in events} == {client.hub.id}
    assert {marker["bridge"] for marker in markers(nats)} == {"one", "two"}


def test_the_first_bridge_knows_of_nothing_before_it_and_the_next_of_the_last(nats: Nats) -> None:
    with rxhub.server.running() as server, connected(server) as publisher:
        with bridged(server, nats) as bridge:
            publisher.publish(Event("a", id="1")).result(LIMIT)
            until(lambda: bridge.counts.stored == 1)
        between = datetime.now(UTC)
        publisher.publish(Event("a", id="2")).result(LIMIT)
        with bridged(server, nats) as bridge:
            publisher.publish(Event("a", id="3")).result(LIMIT)
            until(lambda: bridge.counts.stored == 1)
    first, second = markers(nats)
    assert (first["why"], first["since"], first["last"]) == ("started", None, None)
    assert (second["why"], second["last"]) == ("started", "1")
    assert time(first["until"]) <= time(second["since"]) <= between <= time(second["until"])
    assert ids(nats) == ["1", "3"]


def test_while_another_bridge_stands_next_to_nothing_is_a_gap(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxhub.bridge.checkpoint._WRITE_INTERVAL_S", 0.0)
    with rxhub.server.running() as server, connected(server) as publisher, bridged(server, nats) as bridge:
        for id in ("1", "2"):
            with bridged(server, nats, name="restarted"):
                publisher.publish(Event("a", id=id)).result(LIMIT)
                until(lambda id=id: bridge.counts.stored == int(id))
            noted = bridge.counts.stored
            until(
                lambda noted=noted: (
                    f'"id":"{noted}"' in str(bridge.target.kv_get(bridge._checkpoint._key).result(LIMIT))
                )
            )
        publisher.publish(Event("a", id="3")).result(LIMIT)
        until(lambda: '"id":"3"' in str(bridge.target.kv_get(bridge._checkpoint._key).result(LIMIT)))
        with bridged(server, nats, name="restarted"):
            pass
    marker = markers(nats)[-1]
    assert marker["bridge"] == "restarted" and marker["last"] == "3" and ids(nats) == ["1", "2", "3"]


def test_a_server_that_is_started_again_is_marked_and_what_comes_then_is_stored(nats: Nats) -> None:
    key, client, bridge, ends = new_key(), None, None, ExitStack()
    with ends:
        port = 0
        for n in (1, 2):
            with rxhub.server.running(api_key=key, port=port, grace=0.5) as server:
                port = int(server.url.rpartition(":")[2])
                if bridge is None or client is None:
                    client = PythonClient(server)
                    client.connect()
                    bridge = ends.enter_context(bridged(server, nats))
                    ends.callback(client.close)
                until(lambda n=n: bridge is not None and bridge.counts.gaps == n)
                until(client.connected)
                until(lambda: server.stats["subscriptions"] >= 3)
                client.publish("a", n)
                until(lambda n=n: bridge is not None and bridge.counts.stored == n)
                between = datetime.now(UTC)
    _, marker = markers(nats)
    assert marker["why"] == "reconnected" and time(marker["since"]) <= time(marker["until"]) <= between
    assert [event["data"] for event in stored(nats) if event["topic"] == "a"] == [1, 2]


def test_nothing_is_lost_while_nats_is_held_up(tmp_path: Path) -> None:
    with store(tmp_path) as held, rxhub.server.running() as server:
        nats = Nats.on(held)
        with bridged(server, nats) as bridge, connected(server) as publisher:
            publishing = threading.Event()

            def publish() -> None:
                for n in range(2_000):
                    publisher.publish(Event("a", id=str(n)))
                    if n == 1_000:
                        publishing.set()
                    if n % 100 == 0:
                        publishing.wait(0.02)

            thread = threading.Thread(target=publish)
            thread.start()
            publishing.wait(LIMIT)
            assert held.pid is not None
            suspend(held.pid)
            try:
                thread.join(LIMIT)
                # An event is counted as waiting a moment after it was read.
                until(lambda: bridge.counts.waiting + bridge.counts.stored == bridge.counts.read == 2_000)
                assert bridge.counts.waiting
            finally:
                os.kill(held.pid, signal.SIGCONT)
            until(lambda: bridge.counts.stored == 2_000)
            assert bridge.counts == (2_000, 2_000, 0, 0, 0, 1)
        assert ids(nats) == [str(n) for n in range(2_000)]


def test_what_finds_no_room_while_nats_is_held_up_is_marked_where_it_is_missing(tmp_path: Path) -> None:
    with store(tmp_path) as held, rxhub.server.running() as server:
        nats = Nats.on(held)
        with bridged(server, nats, buffer=100) as bridge, connected(server) as publisher:
            assert held.pid is not None
            suspend(held.pid)
            try:
                for n in range(150):
                    publisher.publish(Event("a", id=str(n)))
                until(lambda: bridge.counts.read == 150)
                assert (bridge.counts.waiting, bridge.counts.lost) == (100, 50)
            finally:
                os.kill(held.pid, signal.SIGCONT)
            until(lambda: bridge.counts.gaps == 2)
            publisher.publish(Event("a", id="150"))
            until(lambda: bridge.counts.stored == 101)
        events = stored(nats)
    order = [event["data"]["why"] if event["topic"] == GAP else event["id"] for event in events]
    assert order == ["started", *map(str, range(100)), "overflowed", "150"]
    assert events[-2]["data"]["last"] == "99" and events[-2]["data"]["lost"] == 50


def test_what_a_full_stream_refuses_is_marked_when_there_is_room(nats: Nats) -> None:
    with rxhub.server.running() as server, bridged(server, nats) as bridge, connected(server) as publisher:
        limit(nats, 100_000)
        for n in range(200):
            publisher.publish(Event("a", id=str(n), data="x" * 1_000))
        until(lambda: bridge.counts.read == 200 and not bridge.counts.waiting)
        taken = bridge.counts.stored
        assert bridge.counts.lost == 200 - taken > 0
        limit(nats, -1)
        until(lambda: bridge.counts.gaps == 2)
        publisher.publish(Event("a", id="200"))
        until(lambda: bridge.counts.stored == taken + 1)
    assert ids(nats) == [*map(str, range(taken)), "200"]
    marker = markers(nats)[-1]
    assert (marker["why"], marker["last"]) == ("refused", str(taken - 1)) and "maximum bytes" in marker["reason"]


def test_there_and_back_is_no_circle(nats: Nats) -> None:
    with rxhub.server.running() as server, bridged(server, nats, name="there") as there:
        with connected(nats) as source, connected(server) as target, source.start():
            with Bridge(source, target, name="back") as back, connected(server) as publisher:
                heard: list[str] = []
                publisher.subscribe("topic=a", lambda event: heard.append(event.id))
                until(lambda: back.counts.gaps == 1 and publisher.subscriptions_synced)
                with publisher.start():
                    for n in range(20):
                        publisher.publish(Event("a", id=str(n)))
                    publisher.publish(Event("a", id="last"))
                    # What comes back is told apart, and goes no further.
                    until(lambda: heard.count("last") == 2)
                    until(lambda: there.counts.duplicates >= 21)
                    assert there.counts.read - there.counts.duplicates <= 21 + 2
                assert sorted(heard) == sorted(2 * [*map(str, range(20)), "last"])
    assert ids(nats) == [*map(str, range(20)), "last"]


def test_from_one_stream_into_another(nats: Nats) -> None:
    other = Nats(nats.url, nats.user, nats.password, f"{nats.stream}-copy")
    with connected(nats) as source, connected(other) as target, connected(nats) as publisher, source.start():
        with Bridge(source, target, "topic=a") as bridge:
            until(lambda: bridge.counts.gaps == 1)
            for n in range(200):
                publisher.publish(Event("a", id=str(n)))
            until(lambda: bridge.counts.stored == 200)
        with pytest.raises(ValueError, match="Both ends"):
            Bridge(source, publisher)
    assert ids(other) == [str(n) for n in range(200)]
    assert [(marker["why"], marker["since"]) for marker in markers(other)] == [("started", None)]
