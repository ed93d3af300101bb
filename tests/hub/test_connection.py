"""A hub and its server: connecting, being connected again, and the end, with ftrack's meaning."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import EventError, HubClosed, HubConnectionError, NoReply, Overflow
from rxhub.hub.connection import _WeakSink
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.io_thread import io_loop
from rxhub.transport.registry import TransportConfig
from rxhub.transport.socketio import client
from rxhub.transport.socketio.endpoint import Endpoint
from tests.threads import LIMIT, at_once, elsewhere, run_script, until
from tests.transport.socketio.server import Server

soon = pytest.mark.usefixtures("back_soon")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def hub(server: Server) -> Iterator[EventHub]:
    hub = EventHub(server.url, "me", "key")
    yield hub
    hub.close()


def settled(hub: EventHub, server: Server) -> None:
    """What the hub has published or subscribed to before has reached the server."""
    hub.publish(Event("settled")).result(LIMIT)


def test_connecting(hub: EventHub, server: Server) -> None:
    assert not hub.connected and repr(hub).startswith(f"<EventHub {server.url} disconnected")
    assert hub.get_server_url() == server.url and not hub.secure
    with pytest.raises(HubConnectionError, match="not connected"):
        hub.publish(Event("a"))
    with pytest.raises(HubConnectionError):
        hub.disconnect()
    with pytest.raises(HubConnectionError):
        hub.wait(0)

    hub.connect()
    assert hub.connected
    with pytest.raises(HubConnectionError, match="Already connected"):
        hub.connect()
    assert hub.publish(Event("a", data={"n": 1})).result(LIMIT) is None
    assert server.topics() == ["a"] and hub.unsent == 0
    assert server.taken[-1]["source"] == {
        "id": hub.id,
        "user": {"username": "me"},
        "host": server.taken[-1]["source"]["host"],
    }
    assert server.taken[-1]["sent"] is None and server.taken[-1]["inReplyToEvent"] is None


def test_the_hub_is_reached_by_its_id_from_the_start(hub: EventHub, server: Server) -> None:
    hub.connect()
    settled(hub, server)
    [client] = server.clients
    assert [(id, text) for id, (_, _, text) in client.subscribers.items()] == [(hub.id, "topic=ftrack.meta.reply")]


def test_subscribers_are_announced_whenever_they_came(hub: EventHub, server: Server) -> None:
    hub.subscribe("topic=a and data.n=1", print, {"id": "early", "team": "red"})
    hub.connect()
    hub.subscribe("topic=b.*", print, {"id": "late", "live": object()})
    gone = hub.subscribe("topic=c", print)
    hub.unsubscribe(gone)
    settled(hub, server)
    [client] = server.clients
    assert {id: text for id, (_, _, text) in client.subscribers.items()} == {
        hub.id: "topic=ftrack.meta.reply",
        "early": "topic=a",
        "late": "topic=b.*",
    }
    assert client.subscribers["early"][1] == {"id": "early", "team": "red"}
    assert client.subscribers["late"][1] == {"id": "late"}
    about = next(event for event in server.taken if event["topic"] == "ftrack.meta.subscribe")
    assert about["source"]["id"] == hub.id


def test_the_hub_knows_when_the_server_knows_of_its_subscribers(hub: EventHub, server: Server) -> None:
    hub.connect()
    until(lambda: hub.subscriptions_synced)
    server.unanswered = {"ftrack.meta.subscribe"}
    hub.subscribe("topic=a", print, {"id": "x"})
    assert not hub.subscriptions_synced
    settled(hub, server)
    assert not hub.subscriptions_synced
    server.unanswered = set()
    server.drop()
    until(lambda: hub.subscriptions_synced)
    assert "x" in server.clients[-1].subscribers
    hub.unsubscribe("x")
    until(lambda: hub.subscriptions_synced)
    assert "x" not in server.clients[-1].subscribers
    hub.disconnect()
    assert not hub.subscriptions_synced


def test_events_replies_and_targets_between_two_hubs(hub: EventHub, server: Server) -> None:
    with EventHub(server.url, "you", "key") as other, hub.start(), other.start():
        got: list[Any] = []
        other.subscribe('topic=studio.* and data.name="ä:b::c ☃"', lambda event: got.append(event.data) or {"n": 2})
        for each in (hub, other):
            each.connect()
        settled(other, server)
        hub.publish(Event("studio.a", data={"name": "no"}))
        asked = Event("studio.a", data={"name": "ä:b::c ☃"})
        assert asyncio.run(hub.ask(asked, timeout=LIMIT)).data == {"n": 2}
        assert got == [{"name": "ä:b::c ☃"}]
        hub.publish(Event("studio.a", data={"name": "ä:b::c ☃"}, target="id=nobody")).result(LIMIT)
        settled(other, server)
        assert len(got) == 1


def test_the_client_itself_tells_that_it_is_connected_and_disconnected(hub: EventHub, server: Server) -> None:
    got: list[str] = []
    hub.subscribe("topic=ftrack.meta.*", lambda event: got.append((event.topic, event.source["id"] == hub.id)))
    hub.connect()
    settled(hub, server)
    hub.disconnect(unsubscribe=False)
    with elsewhere(hub.wait):
        pass
    assert got == [("ftrack.meta.connected", True), ("ftrack.meta.disconnected", True)]
    assert "ftrack.meta.connected" not in server.topics(meta=True)


@soon
def test_states_are_told(hub: EventHub, server: Server) -> None:
    states: list[ConnectionState] = []
    with hub.start():
        hub.state.subscribe(states.append)
        hub.connect()
        server.drop()
        until(lambda: states[-1:] == [ConnectionState(Phase.CONNECTED)] and len(states) > 4)
        hub.disconnect()
        until(lambda: states[-1].phase is Phase.DISCONNECTED)
    assert [(state.phase.value, state.attempts) for state in states] == [
        ("disconnected", 0), ("connecting", 1), ("connected", 0), ("disconnected", 0), ("connecting", 1),
        ("connected", 0), ("disconnected", 0),
    ]  # fmt: skip
    assert states[3].reason.startswith("the connection was lost") and states[4].reason == states[3].reason


def test_publishing_before_the_connection_stands(hub: EventHub, server: Server) -> None:
    hub.init_connection()
    sent = [hub.publish(Event("a", data={"n": n})) for n in range(3)]
    assert hub.unsent == 3 and not any(future.done() for future in sent)
    hub.wait(0)
    hub.connect()
    for future in sent:
        future.result(LIMIT)
    assert [event["data"]["n"] for event in server.taken if event["topic"] == "a"] == [0, 1, 2]


@soon
def test_a_connection_that_breaks_is_made_again_with_all_subscribers(hub: EventHub, server: Server) -> None:
    got: list[int] = []
    hub.subscribe("topic=a", lambda event: got.append(event.data["n"]), {"id": "x"})
    hub.connect()
    settled(hub, server)
    with hub.start():
        for n in range(3):
            [client] = server.clients
            server.drop()
            until(lambda: len(server.clients) == 1 and server.clients != [client])
            hub.publish(Event("a", data={"n": n})).result(LIMIT)
        until(lambda: got == [0, 1, 2])
    assert len(server.requests) == 4 and "x" in server.clients[0].subscribers


@soon
def test_what_is_published_while_away_waits(hub: EventHub, server: Server) -> None:
    hub.connect()
    server.stop()
    until(lambda: not hub.connected)
    sent = [hub.publish(Event("a", data={"n": n})) for n in range(5)]
    assert hub.unsent == 5
    server.start()
    for future in sent:
        future.result(LIMIT)
    assert [event["data"]["n"] for event in server.taken if event["topic"] == "a"] == list(range(5))


def test_a_full_outbox_tells_who_publishes(server: Server) -> None:
    with EventHub(server.url, outbox=2) as hub:
        hub.init_connection()
        hub.publish(Event("a")), hub.publish(Event("b"))
        with pytest.raises(Overflow, match="full outbox refused c"):
            hub.publish(Event("c"))
        assert (hub.unsent, hub.refused, hub.dropped) == (2, 1, 0)
        hub.connect()
        until(lambda: hub.unsent == 0)
        hub.publish(Event("c")).result(LIMIT)


def test_a_publisher_that_waits_for_room(server: Server) -> None:
    with EventHub(server.url, outbox=1, overflow="block") as hub:
        hub.init_connection()
        hub.publish(Event("a"))
        waiting = elsewhere(lambda: hub.publish(Event("b")).result(LIMIT))

        async def main() -> None:
            await asyncio.wait_for(hub.apublish(Event("c")), LIMIT)

        also = elsewhere(asyncio.run, main())
        hub.connect()
        waiting.join(), also.join()
        assert sorted(server.topics()) == ["a", "b", "c"] and hub.refused == 0


def test_a_full_inbox_that_blocks_holds_up_reading(server: Server) -> None:
    with EventHub(server.url, inbox=3, overflow="block") as hub, EventHub(server.url) as other:
        got: list[int] = []
        hub.subscribe("topic=a", lambda event: got.append(event.data["n"]))
        hub.connect(), other.connect()
        settled(hub, server)
        for n in range(50):
            other.publish(Event("a", data={"n": n})).result(LIMIT)
        until(lambda: len(hub._inbox) == 3)
        with hub.start():
            until(lambda: got == list(range(50)))
        assert hub.dropped == 0


def test_what_the_server_refuses(hub: EventHub, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.refused = {"bad", "ftrack.meta.unsubscribe"}
    hub.connect()
    hub.unsubscribe(hub.subscribe("topic=a", print, {"id": "x"}))
    hub.subscribe("topic=b", print, {"id": "y"})
    settled(hub, server)
    hub.unsubscribe("y")
    with pytest.raises(EventError, match="The event server refused bad: not here"):
        hub.publish(Event("bad")).result(LIMIT)
    assert "The event server refused bad: not here" in caplog.text
    assert "failed to unsubscribe subscriber y: not here" in caplog.text
    assert hub.connected and hub.unsent == 0


def test_a_server_that_acknowledges_nothing(hub: EventHub, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxhub.transport.outbox.ACK_TIMEOUT_S", 0.1)
    server.answers, server.interval = False, 0.05
    hub.connect()
    hub.publish(Event("a")).result(LIMIT)
    until(lambda: server.topics() == ["a"])
    hub.publish(Event("b"))
    hub.close()
    until(lambda: not server.clients)
    assert server.topics() == ["a", "b"]


@soon
def test_an_acknowledgement_that_is_missing_is_waited_for(hub: EventHub, server: Server) -> None:
    hub.connect()
    settled(hub, server)
    server.unanswered = {"a"}
    sent = hub.publish(Event("a", data={"n": 1}))
    settled(hub, server)
    assert not sent.done() and hub.unsent == 1
    server.unanswered = set()
    server.drop()
    sent.result(LIMIT)
    first, second = [event for event in server.taken if event["topic"] == "a"]
    assert first["id"] == second["id"] and first["sent"] is None and "T" in second["sent"]
    assert first["data"] == second["data"] == {"n": 1}


def test_whoever_gets_the_second_copy_drops_it(hub: EventHub, server: Server) -> None:
    got: list[Event] = []
    hub.subscribe("topic=a", got.append)
    hub.connect()
    settled(hub, server)
    same = Event("a", id="1")
    with hub.start():
        for event in (same, same, Event("a", id="1", sent="now"), Event("a", id="2")):
            hub.publish(event).result(LIMIT)
        until(lambda: got and got[-1].id == "2")
    assert [event.id for event in got] == ["1", "1", "2"]


@pytest.mark.parametrize(
    "odd",
    [
        "nonsense", "9::", "5:::", "5:::{", '5:::{"name":"ftrack.event","args":[]}', "6:::1", "6:::99+[1]", "6:::1+[{",
        '5:::{"name":"ftrack.event","args":[{"topic":1}]}', '5:::{"name":"x","args":[1]}', "3:::hello", "4:::{}", "8::",
        "1::", "7:::0", b"binary", "5:::" + "[" * 1000,
        '5:::{"name":"ftrack.event","args":[{"topic":"a","data":1e999}]}',
    ],
)  # fmt: skip
def test_nothing_that_a_server_sends_ends_the_client(hub: EventHub, server: Server, odd: Any) -> None:
    hub.connect()
    server.say(odd)
    assert hub.publish(Event("a")).result(LIMIT) is None
    assert len(server.requests) == 1


@soon
def test_an_event_that_breaks_every_connection_is_given_up(
    hub: EventHub, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxhub.transport.outbox.MAX_DISCONNECTS", 2)
    server.deadly = {"bad"}
    hub.connect()
    settled(hub, server)
    bad, good = hub.publish(Event("bad")), hub.publish(Event("good"))
    with pytest.raises(HubConnectionError, match=r"bad was given up: 2 connections in a row broke"):
        bad.result(LIMIT)
    good.result(LIMIT)
    assert len(server.requests) == 3


@soon
def test_an_event_that_is_too_large_for_the_server_is_given_up_at_once() -> None:
    with Server(max_size=10_000) as server, EventHub(server.url) as hub:
        hub.connect()
        settled(hub, server)
        sent = [hub.publish(Event("a", data="x" * size)) for size in (1, 20_000, 2)]
        with pytest.raises(HubConnectionError, match=r"a was given up: with 20\d+ characters it is too large"):
            sent[1].result(LIMIT)
        sent[0].result(LIMIT), sent[2].result(LIMIT)
        assert len(server.requests) == 2


def test_a_mistake_of_our_own_does_not_let_connect_wait_for_ever(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def mistaken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("rxhub.transport.socketio.connection.shake_hands", mistaken)
    with pytest.raises(HubConnectionError, match="ZeroDivisionError: oh"):
        hub.connect()
    assert "Internal error in the task" in caplog.text


@soon
def test_a_mistake_of_our_own_while_connected_is_told_and_the_hub_can_be_connected_again(
    hub: EventHub, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.connect()

    def mistaken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("rxhub.transport.socketio.client._SocketIOSession._requeue", mistaken)
    server.say("0::")
    until(lambda: not hub.connected)
    monkeypatch.undo()
    assert hub._link.state == ConnectionState(Phase.DISCONNECTED, "ZeroDivisionError: oh")
    hub.connect()
    hub.publish(Event("a")).result(LIMIT)


@pytest.mark.parametrize("farewell", ["0", "0::", "7:::1+0"])
@soon
def test_a_server_that_ends_the_session_is_come_back_to(hub: EventHub, server: Server, farewell: str) -> None:
    hub.connect()
    server.say(farewell)
    until(lambda: len(server.requests) == 2 and hub.connected)
    hub.publish(Event("a")).result(LIMIT)


def test_heartbeats_are_answered(server: Server) -> None:
    server.interval = 0.02
    with EventHub(server.url) as hub:
        hub.connect()
        until(lambda: server.clients[0].heartbeats > 20)
    assert len(server.requests) == 1


@soon
def test_a_silent_server_is_given_up(server: Server) -> None:
    server.heartbeat, server.beats = 1, False
    with EventHub(server.url) as hub:
        hub.connect()
        until(lambda: len(server.requests) == 2)
        until(lambda: hub.connected)


def test_what_cannot_be_sent_is_refused_at_once(hub: EventHub, server: Server) -> None:
    hub.connect()
    with pytest.raises(EventError, match="cannot be written as JSON"):
        hub.publish(Event("a", data={"live": object()}))
    with pytest.raises(EventError, match="at most"):
        hub.publish(Event("a", data="x" * 5_000_000))
    assert hub.unsent == 0 and hub.publish(Event("a", data="x" * 1_000_000)).result(LIMIT) is None
    hub.subscribe("topic=b", lambda event: event.data["live"])
    assert len(hub.publish(Event("b", data={"live": object()}), synchronous=True)) == 1


def test_what_is_published_is_what_it_was_then(hub: EventHub, server: Server) -> None:
    hub.init_connection()
    data = {"n": 1}
    hub.publish(Event("a", data=data))
    data["n"] = 2
    hub.connect()
    settled(hub, server)
    assert server.taken[-2]["data"] == {"n": 1}


def test_a_hub_that_only_publishes_need_not_be_handled(hub: EventHub, server: Server) -> None:
    hub.connect()
    settled(hub, server)  # a NotHandledWarning would be an error here


# disconnect and reconnect


def test_disconnecting_unsubscribes_and_sends_what_was_published(hub: EventHub, server: Server) -> None:
    hub.subscribe("topic=a", print, {"id": "x"})
    hub.connect()
    settled(hub, server)
    for _ in range(100):
        hub.publish(Event("a"))
    hub.disconnect()
    assert not hub.connected and len(hub.describe()) == 0 and server.topics() == ["settled"] + ["a"] * 100
    left = [event["data"]["subscriber"]["id"] for event in server.taken if event["topic"] == "ftrack.meta.unsubscribe"]
    assert sorted(left) == sorted(["x", hub.id])
    with pytest.raises(HubConnectionError, match="not connected"):
        hub.publish(Event("a"))
    with pytest.raises(HubConnectionError, match="Not currently connected"):
        hub.disconnect()

    hub.connect()
    settled(hub, server)
    assert hub.id in server.clients[-1].subscribers


def test_disconnecting_to_connect_again(hub: EventHub, server: Server) -> None:
    hub.subscribe("topic=a", print, {"id": "x"})
    hub.connect()
    hub.disconnect(unsubscribe=False, reconnect=True)
    sent = hub.publish(Event("a"))
    assert hub.unsent == 1
    hub.reconnect()
    sent.result(LIMIT)
    assert {"x", hub.id} == set(server.clients[-1].subscribers) and len(server.requests) == 2


def test_reconnecting_tries_as_often_as_it_is_told(
    hub: EventHub, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.status = 503
    with pytest.raises(HubConnectionError, match=f"Failed to reconnect to event server at {server.url} after 3 att"):
        hub.reconnect(attempts=3, delay=0)
    assert len(server.requests) == 3 and logging.root.manager.disable == logging.NOTSET
    with pytest.raises(HubConnectionError, match="after 0 attempts"):
        hub.reconnect(attempts=0)

    trying = elsewhere(hub.reconnect, 1000, 0.01)
    until(lambda: len(server.requests) > 6)
    server.status = 200
    trying.join()
    assert hub.connected


def test_closing_ends_a_reconnection(hub: EventHub, server: Server) -> None:
    server.status = 503
    trying = elsewhere(hub.reconnect, 10, 1000)
    until(lambda: server.requests)
    hub.close()
    with pytest.raises(HubClosed):
        trying.join()


def test_connecting_again_does_not_wait_for_the_next_attempt(hub: EventHub, server: Server) -> None:
    hub.connect()
    server.status = 503
    server.headers = {"Retry-After": "300"}
    server.drop()
    until(lambda: len(server.requests) == 2 and not hub.connected)
    with pytest.raises(HubConnectionError, match="503"):
        hub.connect()
    server.status = 200
    hub.connect()
    assert hub.connected


def test_disconnecting_ends_the_attempts_to_come_back(hub: EventHub, server: Server) -> None:
    hub.connect()
    server.status = 503
    server.drop()
    until(lambda: len(server.requests) == 2)
    hub.disconnect()
    asked = len(server.requests)
    server.status = 200
    hub.connect()
    assert len(server.requests) == asked + 1


def test_a_failed_connection_can_be_tried_again(hub: EventHub, server: Server) -> None:
    server.status = 401
    with pytest.raises(HubConnectionError, match="api_key"):
        hub.connect()
    sent = hub.publish(Event("a"))
    server.status = 200
    hub.connect()
    sent.result(LIMIT)


def test_many_that_connect_at_once(hub: EventHub, server: Server) -> None:
    results: list[str] = []
    calls = [elsewhere(hub.connect) for _ in range(4)]
    for call in calls:
        try:
            call.join()
        except HubConnectionError as error:
            results.append(str(error))
    assert hub.connected and len(server.clients) == 1
    assert set(results) <= {"Already connected."}


@soon
def test_connecting_in_the_network_s_own_thread_would_wait_for_itself(hub: EventHub, server: Server) -> None:
    hub.connect()
    raised: list[Exception] = []

    def connect(_: object) -> None:
        try:
            EventHub(server.url).connect()
        except HubConnectionError as error:
            raised.append(error)

    settled(hub, server)
    server.unanswered = {"a"}
    sent = hub.publish(Event("a"))
    sent.add_done_callback(connect)
    settled(hub, server)
    server.unanswered = set()
    server.drop()
    until(lambda: raised)
    assert "I/O thread" in str(raised[0])


# The end


def test_closing_sends_what_was_published(server: Server) -> None:
    with EventHub(server.url) as hub:
        hub.connect()
        sent = [hub.publish(Event("a")) for _ in range(200)]
    assert all(future.done() and future.exception() is None for future in sent)
    assert server.topics() == ["a"] * 200
    until(lambda: not server.clients)
    with pytest.raises(HubClosed):
        hub.publish(Event("a"))


def test_closing_while_the_server_is_away(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    hub = EventHub(server.url)
    hub.connect()
    server.stop()
    until(lambda: not hub.connected)
    sent = hub.publish(Event("a"))
    hub.close(timeout=0.2)
    with pytest.raises(HubConnectionError, match="1 events had not been accepted"):
        sent.result(LIMIT)
    assert "Not everything could be sent before the hub was closed: 1 events" in caplog.text


@soon
def test_closing_waits_for_a_server_that_comes_back(server: Server) -> None:
    hub = EventHub(server.url)
    hub.connect()
    server.stop()
    until(lambda: not hub.connected)
    sent = hub.publish(Event("a"))
    closing = elsewhere(hub.close, LIMIT)
    server.start()
    closing.join()
    assert sent.result(0) is None and server.topics() == ["a"]


def test_closing_while_connecting(server: Server) -> None:
    hub = EventHub(server.url)
    server.line = "never"

    hub.init_connection()
    hub.publish(Event("a"))
    connecting = elsewhere(hub.connect)
    hub.close(timeout=0.1)
    with pytest.raises(HubConnectionError):
        connecting.join()


def test_a_dropped_hub_hangs_up(server: Server) -> None:
    hub = EventHub(server.url)
    hub.connect()
    sent = hub.publish(Event("a"))
    gone = weakref.ref(hub)
    del hub
    gc.collect()
    assert gone() is None
    sent.result(LIMIT)
    until(lambda: not server.clients)


def test_a_hub_at_exit(server: Server) -> None:
    assert run_script(f"""
from rxhub import Event, EventHub
hub = EventHub("{server.url}", "me", "key")
hub.connect()
for n in range(50):
    hub.publish(Event("a"))
print("done")
""").split() == ["done"]
    assert server.topics() == ["a"] * 50


def test_a_forked_child_is_disconnected_and_leaves_the_parent_s_line_alone(server: Server) -> None:
    assert run_script(f"""
import os, signal
from rxhub import Event, EventHub
hub = EventHub("{server.url}", "me", "key")
hub.connect()
hub.publish(Event("a")).result(5)
child = os.fork()
if child == 0:
    signal.alarm(10)
    assert not hub.connected and hub.unsent == 0
    hub.connect()
    hub.publish(Event("b")).result(5)
    hub.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert hub.connected
hub.publish(Event("c")).result(5)
print("done")
""").split() == ["done"]
    assert server.topics() == ["a", "b", "c"] and len(server.requests) == 2


def test_waiting_ends_with_ctrl_c_while_connecting() -> None:
    assert run_script("""
import os, signal, socket, threading
from rxhub import EventHub
with socket.create_server(("127.0.0.1", 0)) as silent:
    hub = EventHub("http://127.0.0.1:%d" % silent.getsockname()[1])
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        hub.connect()
    except KeyboardInterrupt:
        print("interrupted", hub.connected)
    hub.close()
""").split() == ["interrupted", "False"]


def test_futures_are_awaited_on_the_user_s_own_loop(hub: EventHub, server: Server) -> None:
    hub.connect()

    async def main() -> list[Any]:
        got: list[Any] = []
        seen = asyncio.Event()

        def callback(event: Event) -> None:
            got.append(event.data)
            seen.set()

        hub.subscribe("topic=a", callback)
        async with hub:
            await hub.apublish(Event("a", data=1))
            await asyncio.wait_for(seen.wait(), LIMIT)
        return got

    assert asyncio.run(main()) == [1]


@soon
def test_connected_is_told_once_however_often_the_line_broke(hub: EventHub, server: Server) -> None:
    hub.connect()
    for number in (2, 3):
        server.drop()
        until(lambda: len(server.requests) == number and hub.connected)
    got: list[str] = []
    hub.subscribe("topic=ftrack.meta.connected", lambda event: got.append(event.topic))
    hub.drain()
    assert got == ["ftrack.meta.connected"]


def test_a_hub_is_not_kept_by_its_thread() -> None:
    hub = EventHub("http://127.0.0.1:9")
    gone = weakref.ref(hub)
    with pytest.raises(HubConnectionError):
        hub.connect()
    del hub
    deadline = time.monotonic() + LIMIT
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
    assert gone() is None


# In the I/O thread, where the callbacks of futures run


def when_accepted(hub: EventHub, server: Server, callback: Callable[[object], object]) -> None:
    """Run `callback` in the network's thread."""
    server.unanswered = {"a"}
    hub.publish(Event("a")).add_done_callback(callback)
    settled(hub, server)
    server.unanswered = set()
    server.drop()


@soon
def test_a_callback_that_exits_leaves_the_network_to_all_hubs(
    hub: EventHub, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    hub.connect()
    when_accepted(hub, server, lambda _: sys.exit(3))
    settled(hub, server)
    until(lambda: "raised SystemExit(3)" in caplog.text)
    assert hub.publish(Event("b")).result(LIMIT) is None


@soon
def test_asking_a_server_that_is_away_ends_at_its_timeout(hub: EventHub, server: Server) -> None:
    hub.connect()
    with hub.start():
        server.stop()
        until(lambda: not hub.connected)
        with pytest.raises(NoReply, match=r"within 0\.1 s"):
            asyncio.run(asyncio.wait_for(hub.ask(Event("a"), timeout=0.1), LIMIT))
        server.start()


def test_an_answer_counts_even_if_the_question_is_never_acknowledged(hub: EventHub, server: Server) -> None:
    server.unanswered = {"a"}
    hub.subscribe("topic=a", lambda _: 1)
    hub.connect()
    with hub.start():
        settled(hub, server)
        assert asyncio.run(hub.ask(Event("a"), timeout=LIMIT)).data == 1
    hub.close(timeout=0)


def test_a_question_that_the_server_refuses_is_not_waited_for(hub: EventHub, server: Server) -> None:
    server.refused = {"a"}
    hub.connect()
    with hub.start(), pytest.raises(EventError, match="not here"):
        asyncio.run(hub.ask(Event("a"), timeout=LIMIT))


def in_the_network_s_thread(call: Callable[[], Any]) -> Any:
    async def run() -> Any:
        return call()

    return asyncio.run_coroutine_threadsafe(run(), io_loop()).result(LIMIT)


def test_ending_a_hub_in_the_network_s_own_thread_does_not_wait_for_itself(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxhub.hub.connection._CLOSE_TIMEOUT_S", 0.3)
    server.unanswered = {"a"}
    with EventHub(server.url) as one, EventHub(server.url) as two:
        for hub, end in ((one, lambda: one.close(0.3)), (two, two.disconnect)):
            hub.connect()
            sent = hub.publish(Event("a"))
            settled(hub, server)
            # It would have been given up if this had waited.
            assert in_the_network_s_thread(lambda end=end, sent=sent: end() or sent.done()) is False
            with pytest.raises(HubConnectionError, match="had not been accepted"):
                sent.result(LIMIT)
            until(lambda: not server.clients)


def test_publishing_in_the_network_s_own_thread_does_not_wait_for_room(server: Server) -> None:
    server.unanswered = {"a"}
    with EventHub(server.url, overflow="block", outbox=1) as hub:
        hub.connect()
        hub.publish(Event("a"))
        with pytest.raises(Overflow, match="I/O thread"):
            in_the_network_s_thread(lambda: hub.publish(Event("b")))
        hub.close(timeout=0)


def test_many_that_reconnect_at_once(hub: EventHub, server: Server) -> None:
    hub.connect()
    for _ in range(10):
        at_once(*[lambda: hub.reconnect(attempts=1)] * 6)
    assert hub.connected
    settled(hub, server)
    until(lambda: len(server.clients) == 1)


# What goes wrong between threads, and between hubs


def test_who_looks_at_the_state_late_is_not_told_of_earlier_ones(hub: EventHub, server: Server) -> None:
    hub.state.subscribe()
    hub.connect()
    phases: list[Phase] = []
    hub.state.subscribe(lambda state: phases.append(state.phase))
    hub.drain()
    assert phases == [Phase.CONNECTED]
    hub.disconnect()
    hub.drain()
    assert phases == [Phase.CONNECTED, Phase.DISCONNECTED]


def test_a_subscriber_whose_metadata_is_no_json_replies(hub: EventHub, server: Server) -> None:
    hub.subscribe("topic=a", lambda _: 1, {"id": "live", "object": object()})
    hub.connect()
    with hub.start():
        settled(hub, server)
        assert asyncio.run(hub.ask(Event("a"), timeout=LIMIT)).source["id"] == "live"


def test_connecting_again_at_once_is_not_ended_by_the_end_of_the_last_attempt(
    hub: EventHub, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[Endpoint] = []
    really = client.SocketIOConnection.open

    async def hang_at_first(endpoint: Endpoint) -> client.SocketIOConnection:
        attempts.append(endpoint)
        if len(attempts) == 1:
            await asyncio.Event().wait()
        return await really(endpoint)

    monkeypatch.setattr(client.SocketIOConnection, "open", hang_at_first)
    hub.init_connection()
    sent = hub.publish(Event("a"))
    # A connect() that Ctrl-C ends, and another one.
    hub._link.transport.open(_WeakSink(hub._link))
    until(lambda: attempts)
    hub._link.transport.close(0.1, reconnecting=True)
    hub.connect()
    assert sent.result(LIMIT) is None and len(attempts) == 2


def test_threads_that_connect_at_once_make_one_connection(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = client._SocketIOSession.__init__

    def slowly(*arguments: Any) -> None:
        time.sleep(0.05)
        begin(*arguments)

    monkeypatch.setattr(client._SocketIOSession, "__init__", slowly)
    transport = client.SocketIOTransport(Endpoint(TransportConfig(url=server.url)), {})
    states: list[ConnectionState] = []

    class Sink:
        def on_state(self, state: ConnectionState) -> None:
            states.append(state)

    at_once(*[lambda: transport.open(Sink())] * 4)  # type: ignore[arg-type]
    until(lambda: any(states))
    transport.close().result(LIMIT)
    until(lambda: not server.clients)
    assert len(server.requests) == 1


def test_what_is_secret_is_not_logged_even_by_who_logs_everything(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers, cookies = {"Authorization": "Bearer sesame"}, {"token": "sesame"}
    with EventHub(server.url, "me", "sesame", headers, cookies) as hub:
        hub.connect()
        settled(hub, server)
        assert "sesame" not in repr(hub)
    told = [record.getMessage() for record in caplog.records if not record.name.startswith("tests.")]
    assert "sesame" not in " ".join(told)


def test_leaving_async_with_lets_the_loop_go_on_while_the_rest_is_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxhub.hub.lifetime.CLOSE_TIMEOUT_S", 0.3)
    turns: list[None] = []

    async def main() -> None:
        hub = EventHub(server.url)
        async with hub:
            await asyncio.to_thread(hub.connect)
            server.unanswered = {"a"}
            sent = hub.publish(Event("a"))
            hub.publish(Event("b")).result(LIMIT)
            asyncio.get_running_loop().call_later(0.05, lambda: turns.append(None))
        assert turns and isinstance(sent.exception(0), HubConnectionError)

    asyncio.run(main())


def test_a_stranger_s_farewell_does_not_end_waiting(hub: EventHub, server: Server) -> None:
    came: list[str] = []
    hub.subscribe("topic=ftrack.meta.disconnected or topic=b", lambda event: came.append(event.topic))
    hub.connect()
    settled(hub, server)
    with elsewhere(hub.wait):
        with EventHub(server.url) as stranger:
            stranger.connect()
            server.say('5:::{"name":"ftrack.event","args":[{"topic":"ftrack.meta.disconnected"}]}')
            stranger.publish(Event("b")).result(LIMIT)
        until(lambda: "b" in came)
        hub.disconnect(unsubscribe=False)
    assert came == ["ftrack.meta.disconnected", "b", "ftrack.meta.disconnected"]


def test_what_a_server_says_stays_one_short_line_in_the_log(
    hub: EventHub, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    hub.connect()
    server.say("7:::" + "no\n" * 100_000)
    settled(hub, server)
    [told] = [record.getMessage() for record in caplog.records if "reported an error" in record.getMessage()]
    assert len(told) < 1000 and "\n" not in told
