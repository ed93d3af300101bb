"""Unmodified existing clients work with this server as with ftrack's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rxhub.server import Running, running
from tests.server.peers import PEERS, FtrackJavaScriptClient, Peer, PythonClient
from tests.threads import until

DATA = {
    "text": 'a:b::c:::{"d"}',
    "unicode": "Zoë 樹 \U0001f332 \u2028",
    "none": None,
    "list": [1, 2.5, True],
    "nested": {"a": {}},
}

Make = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def patient(installed: Path) -> Iterator[tuple[Running, Peer]]:
    """A client of a server with the usual heartbeats, which waits while the other tests of this module run."""
    with running() as server:
        peer = FtrackJavaScriptClient(server, installed)
        try:
            peer.connect()
            yield server, peer
        finally:
            peer.close()


@pytest.fixture
def server() -> Iterator[Running]:
    with running(heartbeat=0.2, heartbeat_timeout=2, grace=1) as server:
        yield server


@pytest.fixture
def make(server: Running, installed: Path) -> Iterator[Make]:
    """Creates connected clients and closes them."""
    with contextlib.ExitStack() as stack:

        def make(kind: str = "ftrack-python-api") -> Peer:
            peer = PEERS[kind](server, installed)
            stack.callback(peer.close)
            before = server.stats["subscriptions"]
            peer.connect()
            until(lambda: server.stats["subscriptions"] > before)  # to replies
            return peer

        yield make


def subscribed(server: Running, peer: Peer, subscription: str, reply: Any = None) -> str:
    before = server.stats["subscriptions"]
    identifier = peer.subscribe(subscription, reply)
    until(lambda: server.stats["subscriptions"] == before + 1)
    return identifier


def topics(peer: Peer) -> list[str]:
    return [event["topic"] for event in peer.received]


kinds = pytest.mark.parametrize("kind", PEERS)


@kinds
def test_a_subscription_gets_what_it_asks_for_and_nothing_else(server: Running, make: Make, kind: str) -> None:
    peer, other = make(kind), make()
    subscribed(server, peer, "topic=studio.*")
    other.publish("other.a", {})
    other.publish("studio.a", DATA)
    until(lambda: len(peer.received) == 1)
    assert peer.received[0]["topic"] == "studio.a"
    assert peer.received[0]["data"] == DATA
    assert server.stats["events_delivered"] == 1


@kinds
def test_what_it_publishes_arrives_unchanged(server: Running, make: Make, kind: str) -> None:
    peer, other = make(kind), make()
    subscribed(server, other, "topic=studio.*")
    peer.publish("studio.a", DATA)
    until(lambda: len(other.received) == 1)
    assert other.received[0]["data"] == DATA


@kinds
def test_its_own_events_come_back_to_it(server: Running, make: Make, kind: str) -> None:
    peer = make(kind)
    subscribed(server, peer, "topic=studio.*")
    peer.publish("studio.a", DATA)
    until(lambda: topics(peer) == ["studio.a"])


@kinds
def test_it_answers_and_is_answered(server: Running, make: Make, kind: str) -> None:
    peer, other = make(kind), make()
    subscribed(server, peer, "topic=studio.question", reply={"answer": "ü:1"})
    assert other.ask("studio.question", DATA) == {"answer": "ü:1"}
    subscribed(server, other, "topic=studio.back", reply=DATA)
    assert peer.ask("studio.back", {}) == DATA


@kinds
def test_after_unsubscribing_it_gets_no_more(server: Running, make: Make, kind: str) -> None:
    peer, other = make(kind), make()
    identifier = subscribed(server, peer, "topic=studio.*")
    before = server.stats["subscriptions"]
    peer.unsubscribe(identifier)
    until(lambda: server.stats["subscriptions"] == before - 1)
    received = server.stats["events_received"]
    other.publish("studio.a", {})
    until(lambda: server.stats["events_received"] > received)
    assert server.stats["events_delivered"] == 0


def test_heartbeats_keep_them_beyond_the_time_in_which_the_silent_are_ended(server: Running, make: Make) -> None:
    peers = [make(kind) for kind in PEERS]
    for peer in peers:
        subscribed(server, peer, "topic=studio.*")
    start = server.stats["uptime_seconds"]
    until(lambda: server.stats["uptime_seconds"] > start + 2.5)
    assert all(peer.connected() for peer in peers)
    peers[0].publish("studio.a", {})
    until(lambda: [topics(peer) for peer in peers] == [["studio.a"]] * len(peers))
    assert server.stats["connections_opened"] == len(peers)
    assert server.stats["silent_clients"] == 0


@kinds
def test_disconnecting_leaves_nothing_behind_and_it_can_come_back(server: Running, make: Make, kind: str) -> None:
    peer, other = make(kind), make()
    subscribed(server, peer, "topic=studio.*")
    peer.disconnect()
    until(lambda: server.stats["connections"] == 1 and server.stats["subscriptions"] == 1)
    back = make(kind)
    subscribed(server, back, "topic=studio.*")
    other.publish("studio.a", DATA)
    until(lambda: topics(back) == ["studio.a"])


@kinds
def test_it_comes_back_by_itself_when_the_server_has_restarted(installed: Path, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        with running(grace=1) as server:
            port = int(server.url.rpartition(":")[2])
            peer = PEERS[kind](server, installed)
            stack.callback(peer.close)
            peer.connect()
            until(lambda: server.stats["subscriptions"] == 1)
            subscribed(server, peer, "topic=studio.*")
        with running(port=port, api_key=server.api_key, grace=1) as again:
            until(lambda: again.stats["subscriptions"] == 2)
            peer.publish("studio.a", DATA)
            until(lambda: topics(peer) == ["studio.a"])


def test_python_goes_on_after_every_kind_of_packet_that_we_send(server: Running, make: Make) -> None:
    peer: PythonClient = make()
    subscribed(server, peer, "topic=studio.*")
    peer.hub._publish(event("ftrack.meta.subscribe", {"subscriber": {"id": 5}, "subscription": "topic=a"}))  # refused
    peer.hub._publish(
        event("ftrack.meta.subscribe", {"subscriber": {"id": "x"}, "subscription": "topic=(("})
    )  # refused
    peer.hub._publish(event("ftrack.meta.subscribe", 5))  # refused
    peer.publish("studio.a", DATA)
    before = server.stats["packets_received"]
    until(lambda: server.stats["packets_received"] > before + 2)  # heartbeats
    until(lambda: topics(peer) == ["studio.a"])
    assert peer.connected()
    assert server.stats["events_refused"] == 3
    assert server.stats["connections_opened"] == 1


def event(topic: str, data: Any) -> Any:
    import ftrack_api.event.base

    return ftrack_api.event.base.Event(topic, data=data)


def test_javascript_stays_connected_for_more_than_the_15_seconds_it_waits_for_a_heartbeat(
    patient: tuple[Running, Peer],
) -> None:
    server, peer = patient
    until(lambda: server.stats["uptime_seconds"] > 17)
    assert peer.connected()
    assert server.stats["connections_opened"] == 1
