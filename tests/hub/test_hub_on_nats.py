"""A hub on a stream, as users see it: what one publishes the others get, whatever becomes of servers and lines."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import EventError, HubConnectionError, NoReply, Overflow, Refused
from rxhub.testing import Nats
from rxhub.transport.connection_state import ConnectionState, Phase
from tests.proxy import Proxy
from tests.threads import LIMIT, at_once, eager_collection, elsewhere, run_script, suspend, until
from tests.transport.nats.hubs import admin, hasty, hub, make, noted, proxy, published, refusal
from tests.transport.nats.servers import Admin, speaking, started

__all__ = ["admin", "hasty", "hub", "make", "proxy"]

ROOT = Path(__file__).parents[2]
# asyncio's debug mode tells of everything that took a tenth of a second, which on a busy machine is nobody's fault.
UNHURRIED = """
import asyncio
asyncio.BaseEventLoop.slow_callback_duration = property(lambda loop: 1000.0, lambda loop, seconds: None)
"""


# Between hubs


def test_what_one_publishes_all_get_in_order_and_once(
    hub: EventHub, make: Callable[..., EventHub], admin: Admin
) -> None:
    other = make()
    other.connect()
    other.start()
    here, there, none = noted(hub), noted(other, "topic=a and data.n>=100"), noted(other, "topic=b.*")
    published(hub, *range(150))
    until(lambda: len(here) == 150 and len(there) == 50)
    assert here == [*range(150)] and there == [*range(100, 150)] and not none
    first = next(event for event in admin.stored(hub._address.config.stream or "") if event["topic"] == "a")
    assert first["source"]["id"] == hub.id and first["source"]["user"]["username"]


def test_who_comes_later_gets_nothing_of_before(hub: EventHub, make: Callable[..., EventHub]) -> None:
    got = noted(hub)
    published(hub, 1)
    later = make()
    more = noted(later)
    later.connect()
    later.start()
    published(hub, 2)
    until(lambda: got == [1, 2] and more == [2])


def test_a_subscription_holds_from_when_it_is_announced(
    hub: EventHub, make: Callable[..., EventHub], proxy: Proxy
) -> None:
    """Whatever was stored before, and however the hub is connected when it is made."""
    other = make(proxy)
    other.connect()
    other.start()
    got: dict[str, list[int]] = {}

    def subscribe(topic: str) -> None:
        got[topic] = came = list[int]()
        other.subscribe(f"topic={topic}", lambda event: came.append(event.data["n"]))

    def store(n: int) -> None:
        for topic in ("early", "connected", "outage", "between"):
            published(hub, *[n] * 10, topic=topic)

    subscribe("early")
    until(lambda: other.subscriptions_synced)
    store(0)
    subscribe("connected")
    until(lambda: other.subscriptions_synced)
    store(1)
    proxy.black_hole = True
    proxy.reset()
    until(lambda: not other.connected)
    subscribe("outage")
    assert not other.subscriptions_synced
    store(2)
    proxy.black_hole = False
    until(lambda: other.connected and other.subscriptions_synced)
    store(3)
    other.disconnect(unsubscribe=False, reconnect=True)
    subscribe("between")
    assert not other.subscriptions_synced
    store(4)
    other.connect()
    assert other.subscriptions_synced
    store(5)
    until(lambda: all(came.count(5) == 10 for came in got.values()))
    for topic, numbers in (("early", range(6)), ("connected", range(1, 6)), ("outage", range(3, 6)), ("between", [5])):
        assert got[topic] == [n for n in numbers for _ in range(10)], topic


def test_an_event_published_right_after_a_subscription_comes(hub: EventHub) -> None:
    """Of the same hub, by any thread, while others publish all the time."""
    stop = Flag()

    def publish() -> None:
        while not stop.is_set():
            # Not more than the disk takes: else ours wait behind them.
            published(hub, *range(5), topic="noise")

    def subscribe(number: int) -> None:
        for n in range(25):
            topic = f"of-{number}.t{n}"
            came = Flag()
            identifier = hub.subscribe(f"topic={topic}", lambda _, came=came: came.set())
            hub.publish(Event(topic))
            assert came.wait(LIMIT), topic
            if n % 2:
                hub.unsubscribe(identifier)

    with elsewhere(publish):
        try:
            at_once(*[lambda number=number: subscribe(number) for number in range(4)])
        finally:
            stop.set()


def test_targets_and_replies_between_two_processes(hub: EventHub, nats: Nats) -> None:
    script = f"""
import asyncio, sys
from rxhub import Event, EventHub
hub = EventHub({nats.url!r}, {nats.user!r}, {nats.password!r}, stream={nats.stream!r})
hub.subscribe("topic=studio.question", lambda event: {{"answer": event.data["n"] + 1, "by": "them"}}, {{"id": "them"}})
hub.subscribe("topic=studio.question", lambda event: {{"answer": 0, "by": "others"}}, {{"id": "others"}})
hub.subscribe("topic=studio.end", lambda event: hub.disconnect())
hub.connect()
print("ready", flush=True)
hub.wait()
hub.close()
"""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", UNHURRIED + script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as peer:
        try:
            assert peer.stdout is not None and peer.stdout.readline() == "ready\n"
            replies: list[Any] = []
            asked = Event("studio.question", data={"n": 1}, target="id=them")
            hub.publish(asked, on_reply=lambda reply: replies.append(reply.data))
            until(lambda: replies == [{"answer": 2, "by": "them"}])
            asked = Event("studio.question", data={"n": 41}, target="id=others")
            assert asyncio.run(hub.ask(asked, timeout=LIMIT)).data == {"answer": 0, "by": "others"}
            both = Event("studio.question", data={"n": 5})
            answers: list[Any] = []
            hub.request(both, timeout=LIMIT).subscribe(lambda reply: answers.append(reply.data["by"]))
            until(lambda: sorted(answers) == ["others", "them"])
            with pytest.raises(NoReply):
                asyncio.run(hub.ask(Event("studio.question", target="id=nobody"), timeout=0.1))
            published(hub, 0, topic="studio.end")
            assert peer.wait(LIMIT) == 0
            assert peer.stderr is not None and peer.stderr.read() == ""
        finally:
            peer.kill()


def test_replies_are_read_by_who_asked_alone(hub: EventHub, make: Callable[..., EventHub], admin: Admin) -> None:
    other = make()
    other.connect()
    other.start()
    other.subscribe("topic=q", lambda event: {"n": 1})
    published(other, 0, topic="settled")
    seen: list[str] = []
    other.events.subscribe(lambda event: seen.append(event.topic))
    assert asyncio.run(hub.ask(Event("q"), timeout=LIMIT)).data == {"n": 1}
    published(hub, 1, topic="q")
    until(lambda: seen.count("q") == 2)
    assert "ftrack.meta.reply" not in seen


# Connecting


def test_connecting_to_what_is_no_server_for_us(nats: Nats) -> None:
    with EventHub("nats://127.0.0.1:1") as hub:
        assert "refused" in refusal(hub) and "Is the server running there?" in refusal(hub)
    with EventHub(nats.url, "me", "wrong") as hub:
        assert "uthorization" in refusal(hub) and "wrong" not in refusal(hub)
    with started({}) as server, EventHub(server.url) as hub:
        assert "JetStream is not enabled" in refusal(hub)
    with speaking() as url, EventHub(url) as hub:
        assert "did not complete the NATS handshake" in refusal(hub)
    with speaking(b"HTTP/1.1 400\r\n\r\n") as url, EventHub(url) as hub:
        assert "INFO" in refusal(hub)
    with speaking(b"\0" * 100_000) as url, EventHub(url) as hub:
        assert "not that of a NATS server" in refusal(hub)


def test_who_could_not_connect_can_once_the_server_is_there() -> None:
    with started({"jetstream": {}}) as server:
        pass
    with EventHub(server.url) as hub:
        hub.init_connection()
        waiting = hub.publish(Event("a"))
        refusal(hub)
        with started({"jetstream": {}}, server.port):
            hub.connect()
            assert waiting is not None and waiting.result(LIMIT) is None
            with pytest.raises(HubConnectionError, match="Already connected"):
                hub.connect()


def test_a_reader_that_must_not_publish_is_told(nats: Nats) -> None:
    users = [{"user": "me", "password": "x", "permissions": {"publish": {"deny": ["events.event.>"]}}}]
    with started({"authorization": {"users": users}, "jetstream": {}}) as server:
        with EventHub(server.url, "me", "x") as hub:
            hub.connect()
            # At once, if the server was quicker than the publisher; else by the future.
            with pytest.raises(Refused, match="does not permit to publish Studio.a"):
                sent = hub.publish(Event("Studio.a"))
                assert sent is not None
                sent.result(LIMIT)


def test_waiting_for_the_connection_ends_with_ctrl_c() -> None:
    assert run_script("""
import os, signal, socket, threading
from rxhub import EventHub
with socket.create_server(("127.0.0.1", 0)) as silent:
    hub = EventHub("nats://127.0.0.1:%d" % silent.getsockname()[1])
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        hub.connect()
    except KeyboardInterrupt:
        print("interrupted", hub.connected)
    hub.close()
""").split() == ["interrupted", "False"]


# Outages


def test_what_is_stored_while_we_are_away_comes_when_we_are_back(
    hub: EventHub, make: Callable[..., EventHub], proxy: Proxy
) -> None:
    away = make(proxy)
    away.connect()
    away.start()
    got = noted(away)
    published(hub, 0)
    count = 1
    for fault in ("reset", "silence", "reset"):
        proxy.black_hole = True
        if fault == "reset":
            proxy.reset()
        until(lambda: not away.connected)
        published(hub, *range(count, count + 10))
        count += 10
        sent = away.publish(Event("of us"))
        proxy.black_hole = False
        proxy.reset()
        assert sent is not None and sent.result(LIMIT) is None
    until(lambda: len(got) == 31)
    assert got == [*range(31)]


def test_the_state_through_an_outage(make: Callable[..., EventHub], nats: Nats) -> None:
    states: list[ConnectionState] = []
    with started({"jetstream": {}}) as server:
        hub = EventHub(server.url)
        hub.start()
        hub.state.subscribe(states.append)
        hub.connect()
        until(lambda: states[-1].phase is Phase.CONNECTED)
    until(lambda: states[-1].attempts >= 2)
    with started({"jetstream": {}}, server.port):
        until(lambda: states[-1].phase is Phase.CONNECTED)
        hub.close()
    shown = [phase for phase, _ in groupby(states, lambda state: state.phase.value)]
    assert shown == ["disconnected", "connecting", "connected", "disconnected", "connecting", "connected", "closed"]
    assert "refused" in next(state.reason for state in states if state.attempts >= 2)


def test_a_server_that_is_back_without_its_store_gets_the_stream_again(caplog: pytest.LogCaptureFixture) -> None:
    with started({"jetstream": {}}) as server:
        hub = EventHub(server.url)
        hub.connect()
        hub.start()
        got = noted(hub)
        published(hub, 1, 2, 3)
        until(lambda: got == [1, 2, 3])
    until(lambda: not hub.connected)
    with started({"jetstream": {}}, server.port):
        published(hub, 4, 5)
        until(lambda: got == [1, 2, 3, 4, 5])
        hub.close()
    assert "was recreated" in caplog.text


def test_a_stream_that_is_deleted_under_us(hub: EventHub, admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    got = noted(hub)
    published(hub, 1)
    until(lambda: got == [1])
    config = admin.ask(f"STREAM.INFO.{hub._address.config.stream}")["config"]
    admin.ask(f"STREAM.DELETE.{hub._address.config.stream}")
    sent = hub.publish(Event("a", data={"n": 2}))
    until(lambda: "stream not found" in caplog.text)
    assert sent is not None and not sent.done() and hub.connected
    admin.ask(f"STREAM.CREATE.{hub._address.config.stream}", config)
    assert sent.result(LIMIT) is None
    published(hub, 3)
    until(lambda: got == [1, 2, 3])


def test_a_server_that_is_held_up_for_long_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with started({"jetstream": {}}) as server:
        hub = EventHub(server.url)
        hub.connect()
        hub.start()
        got = noted(hub)
        published(hub, 0)
        suspend(server.process.pid)
        try:
            sent = [hub.publish(Event("a", data={"n": n})) for n in range(1, 20)]
            until(lambda: not hub.connected)
        finally:
            server.process.send_signal(signal.SIGCONT)
        for future in sent:
            assert future is not None and future.result(LIMIT) is None
        until(lambda: len(got) == 20)
        assert got == [*range(20)]
        hub.close()


# What is in the stream


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"\xff\xfe", b"nonsense", b"[]", b"null", b"3", b"{}", b'{"topic":5}', b'{"topic":null}', b'{"topic":"a"',
        b'{"topic":"a","data":1e999}', b'{"topic":"a","data":' + b"[" * 100 + b"]" * 100 + b"}", b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_event_is_passed_over(
    hub: EventHub, admin: Admin, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    got = noted(hub)
    published(hub, 1)
    stored = admin.store(f"{hub._address.config.stream}.event.a", garbage)
    published(hub, 2)
    until(lambda: got == [1, 2])
    assert (
        f"Skipped message {stored} of the stream {hub._address.config.stream}, which is not a valid event"
        in caplog.text
    )


def test_an_event_that_others_have_made(hub: EventHub, admin: Admin) -> None:
    """Its topic need not be the one of its subject, and fields may be missing."""
    got: list[Event] = []
    hub.subscribe("topic=a", got.append)
    published(hub, 1)
    admin.store(
        f"{hub._address.config.stream}.event.a", b'{"topic":"a","more":"x","inReplyToEvent":"y"}', {"Odd": "header\xff"}
    )
    admin.store(f"{hub._address.config.stream}.event.a", b'{"topic":"b"}')
    published(hub, 2)
    until(lambda: len(got) == 3)
    assert got[1]["more"] == "x" and got[1].in_reply_to_event == "y" and got[1].data == {}


def test_what_cannot_be_stored_is_refused_to_who_publishes(hub: EventHub) -> None:
    deep: Any = []
    for _ in range(70):
        deep = [deep]
    with pytest.raises(EventError, match="nests deeper"):
        hub.publish(Event("a", data=deep))
    with pytest.raises(EventError, match="JSON"):
        hub.publish(Event("a", data=object()))
    with pytest.raises(EventError):
        hub.publish(Event("x" * 5_000))
    with pytest.raises(EventError, match="max_payload"):
        # At once, or by the future.
        hub.publish(Event("a", data="x" * 9_000_000)).result(LIMIT)
    published(hub, 1)
    assert hub.connected and hub.unsent == 0


def test_odd_topics_come_as_they_were(hub: EventHub) -> None:
    topics = ["a", "a.b", "a..b", ".a", "é", "a b", "a*", ">", "*.x", "a\r\nb", "%61", "x" * 900]
    got: list[str] = []
    hub.events.subscribe(lambda event: got.append(event.topic))
    hub.subscribe("", print)
    for topic in topics:
        sent = hub.publish(Event(topic))
        assert sent is not None and sent.result(LIMIT) is None
    until(lambda: len([topic for topic in got if "ftrack.meta" not in topic]) == len(topics))
    assert [topic for topic in got if "ftrack.meta" not in topic] == topics


# Bounds


def test_a_full_inbox_that_blocks_holds_up_reading_and_loses_nothing(
    hub: EventHub, make: Callable[..., EventHub], proxy: Proxy
) -> None:
    slow = make(proxy, inbox=3, overflow="block")
    got = noted(slow)
    slow.connect()
    published(hub, *range(600))
    until(lambda: len(slow._inbox) == 3)
    life = slow._link.transport._session
    assert life is not None
    until(lambda: len(life._waiting) == 512 - 3)
    # A line that breaks, and reconnecting, bring nothing twice and leave nothing out.
    proxy.reset()
    until(lambda: slow.connected)
    slow.reconnect()
    life = slow._link.transport._session
    until(lambda: life._waiting)
    assert len(life._waiting) <= 512
    with slow.start():
        until(lambda: len(got) >= 600)
    assert got == [*range(600)] and slow.dropped == 0


@pytest.mark.parametrize(
    ("overflow", "kept"),
    [("error", range(3)), ("drop-newest", range(3)), ("drop-oldest", range(47, 50)), ("latest", None)],
)
def test_a_full_inbox_of_another_policy(
    hub: EventHub, make: Callable[..., EventHub], overflow: str, kept: range | None
) -> None:
    here = noted(hub)
    full = make(inbox=3, overflow=overflow)
    got = noted(full)
    full.connect()
    # Told of the connection itself, past the bound.
    published(hub, *range(50))
    until(lambda: len(here) == 50 and full.dropped >= 47)
    full.drain()
    assert full.dropped + len(got) == 50 and (kept is None or got == [*kept])
    published(hub, 50)
    until(lambda: len(here) == 51 and len(full._inbox) == 1)
    full.drain()
    assert got[-1] == 50


def test_a_full_outbox(make: Callable[..., EventHub]) -> None:
    hub = make(outbox=2)
    hub.init_connection()
    hub.publish(Event("a")), hub.publish(Event("b"))
    with pytest.raises(Overflow, match="full outbox refused c"):
        hub.publish(Event("c"))
    assert (hub.unsent, hub.refused, hub.dropped) == (2, 1, 0)
    hub.connect()
    until(lambda: hub.unsent == 0)
    published(hub, 1)


def test_a_publisher_that_waits_for_room(make: Callable[..., EventHub], admin: Admin) -> None:
    hub = make(outbox=1, overflow="block")
    hub.init_connection()
    hub.publish(Event("a"))
    waiting = elsewhere(lambda: hub.publish(Event("b")).result(LIMIT))

    async def main() -> None:
        await asyncio.wait_for(hub.apublish(Event("c")), LIMIT)

    also = elsewhere(asyncio.run, main())
    hub.connect()
    waiting.join(), also.join()
    assert (
        sorted(event["topic"] for event in admin.stored(hub._address.config.stream or "")) == ["a", "b", "c"]
        and hub.refused == 0
    )


# The end


def test_closing_flushes_and_leaves_nothing_on_the_server(make: Callable[..., EventHub], admin: Admin) -> None:
    hub = make()
    hub.connect()
    handling = hub.start()
    got = noted(hub)
    for n in range(300):
        hub.publish(Event("a", data={"n": n}))
    hub.close()
    handling.dispose()
    assert len(admin.data(hub._address.config.stream or "")) == 301 and got == [*range(len(got))]
    until(lambda: not admin.consumers(hub._address.config.stream or ""))


def test_closing_while_the_server_is_away_tells_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    with started({"jetstream": {}}) as server:
        hub = EventHub(server.url)
        hub.connect()
    until(lambda: not hub.connected)
    sent = [hub.publish(Event("a")) for _ in range(3)]
    elsewhere(lambda: hub.close(timeout=0.2)).join()
    assert "3 events were not known to be stored" in caplog.text and hub.unsent == 0
    for future in sent:
        assert future is not None
        with pytest.raises(HubConnectionError, match="not known to be stored"):
            future.result(LIMIT)


def test_closing_while_nobody_answers(hub: EventHub, make: Callable[..., EventHub], proxy: Proxy) -> None:
    other = make(proxy)
    other.connect()
    proxy.black_hole = True
    sent = other.publish(Event("a", data="x" * 3_000_000))
    elsewhere(lambda: other.close(timeout=0.2)).join()
    assert sent is not None
    with pytest.raises(HubConnectionError):
        sent.result(LIMIT)


def test_closing_while_connecting() -> None:
    with speaking() as url:
        hub = EventHub(url)
        connecting = elsewhere(hub.connect)
        until(lambda: hub._link.state.phase is Phase.CONNECTING)
        elsewhere(hub.close).join()
        with pytest.raises(HubConnectionError):
            connecting.join()


def test_disconnecting_and_connecting_again(hub: EventHub, make: Callable[..., EventHub], admin: Admin) -> None:
    got = noted(hub)
    published(hub, 1)
    until(lambda: got == [1])
    other = make()
    other.connect()
    hub.disconnect(unsubscribe=False)
    assert not hub.connected
    until(lambda: len(admin.consumers(hub._address.config.stream or "")) <= 1)
    published(other, 2)
    hub.connect()
    published(other, 3)
    until(lambda: got == [1, 3])


def test_reconnecting_loses_nothing(hub: EventHub, make: Callable[..., EventHub]) -> None:
    other = make()
    other.connect()
    got, stop = noted(hub), Flag()
    count = 0

    def publish() -> None:
        nonlocal count
        while not stop.is_set():
            for each in (hub, other):
                each.publish(Event("a", data={"n": count}))
                count += 1
            time.sleep(0.002)

    with elsewhere(publish):
        for _ in range(4):
            hub.reconnect()
        hub.disconnect(unsubscribe=False, reconnect=True)
        time.sleep(0.02)
        hub.connect()
        stop.set()
    until(lambda: len(got) >= count)
    assert sorted(got) == [*range(count)]
    assert [n for n in got if n % 2] == [*range(1, count, 2)], "in the order of each publisher"


def test_a_hub_that_is_dropped_goes(nats: Nats, admin: Admin) -> None:
    hub = EventHub(nats.url, nats.user, nats.password, stream=nats.stream)
    hub.subscribe("topic=a", print)
    hub.connect()
    sent = hub.publish(Event("a"))
    gone = weakref.ref(hub)
    transport = weakref.ref(hub._link.transport)
    del hub
    gc.collect()
    assert gone() is None
    assert sent is not None and sent.result(LIMIT) is None
    until(lambda: not admin.consumers(nats.stream))

    def is_gone() -> bool:
        gc.collect()
        return transport() is None

    until(is_gone)


def test_many_hubs_of_one_process(make: Callable[..., EventHub], admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    # Twenty at once hang up politely, which takes them longer than one.
    monkeypatch.setattr("rxhub.transport.nats.connection._CONNECT_TIMEOUT_S", LIMIT)
    hubs = [make() for _ in range(20)]
    at_once(*[hub.connect for hub in hubs])
    got = [noted(hub) for hub in hubs]
    with eager_collection():
        for n, hub in enumerate(hubs):
            hub.start()
            hub.publish(Event("a", data={"n": n}))
    until(lambda: all(len(each) >= 1 for each in got))
    at_once(*[lambda hub=hub: hub.close() for hub in hubs])
    until(lambda: not admin.consumers(hubs[0]._address.config.stream or ""))


def test_ten_thousand_subscribers_come_and_go(hub: EventHub, admin: Admin) -> None:
    got = noted(hub)
    identifiers = [hub.subscribe(f"topic=x{n % 17}.y{n % 113}.z{n}", print) for n in range(10_000)]
    published(hub, 1)
    until(lambda: got == [1])
    consumers = admin.consumers(hub._address.config.stream or "")
    assert len(consumers) <= 2
    for identifier in identifiers:
        hub.unsubscribe(identifier)
    published(hub, 2)
    until(lambda: got == [1, 2])
    # What is read shrinks, a while after.
    until(lambda: len(_filters(admin, hub)) <= 3)
    published(hub, 3)
    until(lambda: got == [1, 2, 3])


def _filters(admin: Admin, hub: EventHub) -> list[str]:
    found: list[str] = []
    for name in admin.consumers(hub._address.config.stream or ""):
        config = admin.ask(f"CONSUMER.INFO.{hub._address.config.stream}.{name}").get("config", {})
        found += [config["filter_subject"]] if "filter_subject" in config else config.get("filter_subjects", ["?"] * 9)
    return found


def test_streams_of_events_that_are_dropped_anywhere(hub: EventHub) -> None:
    def come_and_go() -> None:
        with eager_collection():
            for n in range(150):
                stream: Any = hub.stream(f"topic=x{n}.y")
                stream.me = [stream]
                del stream

    elsewhere(come_and_go).join()
    gc.collect()
    got = noted(hub)
    published(hub, 1)
    until(lambda: got == [1])
    assert len(hub._link.transport.filters) == 2, "ours, and who hears replies"


# Processes


def test_a_forked_child_is_disconnected_and_leaves_the_parent_s_line_alone(nats: Nats, admin: Admin) -> None:
    assert run_script(f"""
import os, signal
from rxhub import Event, EventHub
got = []
hub = EventHub({nats.url!r}, {nats.user!r}, {nats.password!r}, stream={nats.stream!r})
hub.subscribe("topic=*", lambda event: got.append(event.topic))
hub.connect()
hub.publish(Event("a")).result(5)
child = os.fork()
if child == 0:
    signal.alarm(10)
    assert not hub.connected and hub.unsent == 0
    # Numbers of files that were the parent's are ours to use now.
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    hub.connect()
    hub.publish(Event("b")).result(5)
    import gc
    gc.collect()
    for file in files:
        os.fstat(file)
    hub.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert hub.connected
hub.publish(Event("c")).result(5)
with hub.start():
    while got[-1:] != ["c"]:
        pass
print(*[topic for topic in got if "meta" not in topic])
hub.close()
""").split() == ["a", "b", "c"]
    assert [event["topic"] for event in admin.stored(nats.stream)] == ["a", "b", "c"]


ENDS = {
    "left open": "",
    "closed, and others dropped, not connected, refused": """
EventHub(url).connect()
gc.collect()
other = EventHub("nats://127.0.0.1:1")
other.init_connection()
other.publish(Event("b"))
try:
    EventHub("nats://127.0.0.1:1").connect()
except ConnectionError:
    pass
hub.close()
""",
    "closed by another thread, by an exception": """
threading.Thread(target=hub.close, daemon=True).start()
raise SystemExit(0)
""",
    "after its line was cut": """
cut()
hub.publish(Event("b")).result(9)
hub.close()
""",
    "while the server is away": """
os.kill(pid, 9)
time.sleep(.2)
hub.publish(Event("b"))
hub.close(.2)
""",
    "while the server is held up": """
os.kill(pid, 19)
time.sleep(.1)
hub.publish(Event("b", data="x" * 900_000))
hub.close(.2)
""",
}


@pytest.mark.parametrize("end", list(ENDS))
def test_however_a_process_ends_it_says_nothing_of_tasks(end: str) -> None:
    with started({"jetstream": {}}) as server:
        script = f"""
import gc, logging, os, threading, time
before = dict(logging.root.__dict__), list(logging.root.handlers), logging.root.level, logging.getLogger("nats").level
from rxhub import Event, EventHub
url = {server.url!r}
hub = EventHub(url)
pid = {server.process.pid}
hub.subscribe("topic=a", lambda event: None)
hub.connect()
hub.start()
def cut():
    transport = hub._link.transport
    writer = transport.link.connection.client._transport._bare_io_writer
    transport.loop.call_soon_threadsafe(writer.transport.abort)
    time.sleep(.1)
for n in range(30):
    last = hub.publish(Event("a"))
last.result(9)
after = dict(logging.root.__dict__), list(logging.root.handlers), logging.root.level, logging.getLogger("nats").level
assert before == after
logging.getLogger("rxhub").addHandler(logging.NullHandler())
{ENDS[end]}
"""
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-c", UNHURRIED + script],
            cwd=ROOT, capture_output=True, text=True, timeout=2 * LIMIT, check=False,
        )  # fmt: skip
        os.kill(server.process.pid, signal.SIGCONT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_no_warning_is_logged_in_an_ordinary_life(
    make: Callable[..., EventHub], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        hub = make()
        hub.connect()
        hub.start()
        got = noted(hub)
        published(hub, *range(20))
        until(lambda: len(got) == 20)
        hub.reconnect()
        published(hub, 20)
        until(lambda: len(got) == 21)
        hub.close()
    assert caplog.text == ""


def test_a_bad_name_for_a_stream() -> None:
    for name in ("", "a b", "a.b", "a*", "a>", "x" * 101, "a-dead", "é"):
        with pytest.raises(ValueError, match="stream"):
            EventHub("nats://a", stream=name)
    with pytest.raises(ValueError, match="has no streams"):
        EventHub("memory://", stream="a")
    with pytest.raises(ValueError, match="capacity"):
        EventHub("nats://a", outbox=0)
