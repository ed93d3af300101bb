"""ftrack's hub over rxhub on a bad line: what was published arrives once, in order, and nobody hangs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from rxhub.server import Limits, Running, running
from tests.compat.ftrack.judged import OURS
from tests.proxy import Proxy
from tests.threads import until
from tests.transport.socketio.server import Server

MANY = 300
Event = OURS.Event


@pytest.fixture(scope="module")
def server() -> Generator[Running]:
    # A peer that is silent for two seconds is gone.
    with running(heartbeat=0.3, heartbeat_timeout=2) as server:
        yield server


@pytest.fixture
def proxy(server: Running) -> Generator[Proxy]:
    with Proxy(int(server.url.rpartition(":")[2])) as proxy:
        yield proxy


def pair(server: Running, proxy: Proxy) -> tuple[Any, Any, list[int]]:
    """A hub that publishes over a faulty connection, a receiving hub, and the received events."""
    publisher = OURS.EventHub(proxy.url, server.api_user, server.api_key)
    receiver = OURS.EventHub(server.url, server.api_user, server.api_key)
    got: list[int] = []
    receiver.subscribe("topic=n", lambda event: got.append(event["data"]["n"]))
    for hub in (publisher, receiver):
        hub._auto_reconnect_delay = 0.2
        hub.connect()
    return publisher, receiver, got


def publish(hub: Any, numbers: range) -> None:
    for number in numbers:
        hub.publish(Event("n", data={"n": number}))


@pytest.mark.parametrize("count", [0, 1_000, 20_011])
def test_a_reset_in_the_middle_of_a_frame_loses_and_doubles_nothing(
    server: Running, proxy: Proxy, wait_until: Any, count: int
) -> None:
    publisher, receiver, got = pair(server, proxy)
    wait_until(receiver, lambda: receiver._packet_callbacks == {})
    proxy.reset_after(count)
    publish(publisher, range(MANY))
    wait_until(receiver, lambda: len(got) >= MANY and publisher.unsent == 0, 30)
    assert sorted(got) == list(range(MANY))
    publisher.close()
    receiver.close()


@pytest.mark.parametrize("fault", ["black hole", "half-open"])
def test_a_line_that_went_silent_is_given_up_and_made_again(
    server: Running, proxy: Proxy, wait_until: Any, fault: str
) -> None:
    publisher, receiver, got = pair(server, proxy)
    first = publisher._connection
    wait_until(receiver, lambda: receiver._packet_callbacks == {})
    if fault == "black hole":
        proxy.black_hole = True
    else:
        proxy.half_open()
    publish(publisher, range(MANY))
    wait_until(receiver, lambda: publisher._connection is not first or not first.connected, 30)
    proxy.black_hole = False
    wait_until(receiver, lambda: len(set(got)) == MANY and publisher.unsent == 0, 30)
    assert sorted(got) == list(range(MANY))
    publisher.close()
    receiver.close()


def test_an_event_that_was_sent_again_is_left_as_its_publisher_made_it() -> None:
    with Server(unanswered={"n"}) as server:
        hub = OURS.EventHub(server.url, "me", "key")
        hub.connect()
        event = Event("n", data={"n": 0})
        hub.publish(event)
        until(lambda: server.topics() == ["n"])
        server.unanswered = set()
        server.drop()
        until(lambda: server.topics() == ["n", "n"])
        assert server.taken[-1]["sent"] and server.taken[-1]["id"] == event["id"]
        # Published once more, it is no second copy, which others would drop.
        assert event["sent"] is None
        hub.close()


def test_a_server_that_acknowledges_nothing_leaves_memory_bounded() -> None:
    with Server(answers=False) as server:
        hub = OURS.EventHub(server.url, "me", "key")
        hub.connect()
        for _ in range(100):
            hub._add_packet_callback(print)
        assert len(hub._packet_callbacks) >= 100
        for _ in range(30_000):
            hub._add_packet_callback(print)
        assert len(hub._packet_callbacks) <= 20_000
        hub.close()


@pytest.mark.parametrize(
    ("limits", "name", "expression"),
    [
        (Limits(subscriptions=3), "subscriptions", "topic=a"),
        (Limits(conditions_per_user=3), "conditions_per_user", "topic=a"),
        (Limits(metadata_per_user=200), "metadata_per_user", "topic=a"),
        (Limits(message=2_000), "message", f"topic={'a' * 2_000}"),
    ],
)
def test_a_refused_subscription_is_logged_with_the_limit_to_raise(
    limits: Limits, name: str, expression: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(limits=limits) as server:
        hub = OURS.EventHub(server.url, server.api_user, server.api_key)
        hub.connect()
        for _ in range(6):
            hub.subscribe(expression, print)
        until(lambda: f"raise Limits.{name} of the server" in caplog.text)
        hub.close()
