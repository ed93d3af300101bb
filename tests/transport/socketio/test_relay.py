"""Our client against the npm package socket.io 0.9, which wrote the protocol: the peer is the judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError
from tests.npm import install
from tests.threads import LIMIT, until
from tests.transport.socketio.relay import relaying


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest) -> Path:
    """The relay beside its package, which is downloaded once and kept in pytest's cache."""
    return install("relay", Path(request.config.cache.mkdir("relay")))  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def relay(installed: Path) -> Iterator[str]:
    with relaying(installed) as url:
        yield url


@pytest.fixture
def hubs(relay: str) -> Iterator[tuple[EventHub, EventHub]]:
    """Two connected, handled hubs."""
    with EventHub(relay, "me", "key") as one, EventHub(relay, "you", "key") as other, one.start(), other.start():
        one.connect()
        other.connect()
        yield one, other


def settled(*hubs: EventHub) -> None:
    for hub in hubs:
        hub.publish(Event("settled")).result(LIMIT)


def test_a_wrong_key(relay: str) -> None:
    with EventHub(relay, "me", "wrong") as hub, pytest.raises(HubConnectionError, match=r"HTTP status 403.*api_key"):
        hub.connect()


def test_a_filter_is_tested_whole(hubs: tuple[EventHub, EventHub]) -> None:
    one, other = hubs
    got: list[int] = []
    other.subscribe("topic=studio.* and data.n>=2 and not data.n=3", lambda event: got.append(event.data["n"]))
    settled(other)
    for n in range(5):
        one.publish(Event("studio.a", data={"n": n})).result(LIMIT)
    until(lambda: got == [2, 4])


@pytest.mark.parametrize("text", ["ä ☃ \U0001f40d", 'a:b::c:::"\\', "\u2028\0\x1b\ufffd", "5:1+::{}", "x" * 500_000])
def test_texts_arrive_as_they_were(hubs: tuple[EventHub, EventHub], text: str) -> None:
    one, other = hubs
    got: list[Any] = []
    other.subscribe("topic=texts", lambda event: got.append(dict(event)))
    settled(other)
    event = Event("texts", data={"text": text, text[:50]: [1, 2.5, None, True]})
    one.publish(event).result(LIMIT)
    until(lambda: got)
    assert got == [dict(event)]


def test_replies(hubs: tuple[EventHub, EventHub]) -> None:
    one, other = hubs
    replies: list[Any] = []
    other.subscribe("topic=question", lambda event: {"answer": event.data["n"] * 2})
    settled(other)
    for n in range(3):
        one.publish(Event("question", data={"n": n}), on_reply=lambda event: replies.append(event.data["answer"]))
    until(lambda: replies == [0, 2, 4])


def test_unsubscribing(hubs: tuple[EventHub, EventHub]) -> None:
    one, other = hubs
    got: list[str] = []
    other.events.subscribe(lambda event: got.append(event.topic))
    identifier = other.subscribe("topic=gone", print)
    other.subscribe("topic=stays", print)
    settled(other)
    other.unsubscribe(identifier)
    settled(other)
    for topic in ("gone", "stays"):
        one.publish(Event(topic)).result(LIMIT)
    until(lambda: "stays" in got)
    assert "gone" not in got


def test_disconnecting_and_connecting_again(hubs: tuple[EventHub, EventHub]) -> None:
    one, other = hubs
    got: list[int] = []
    other.subscribe("topic=again", lambda event: got.append(event.data))
    for n in range(3):
        if n:
            other.disconnect(unsubscribe=False)
            assert not other.connected
            other.connect()
        settled(other)
        one.publish(Event("again", data=n)).result(LIMIT)
        until(lambda n=n: got == list(range(n + 1)))


def test_a_server_that_hangs_up_is_come_back_to(hubs: tuple[EventHub, EventHub]) -> None:
    one, other = hubs
    got: list[str] = []
    other.subscribe("topic=after", lambda event: got.append(event.topic))
    states: list[str] = []
    other.state.subscribe(lambda state: states.append(state.phase.value))
    other.publish(Event("relay.hang-up")).result(LIMIT)
    until(lambda: states[-2:] == ["connecting", "connected"] and len(states) > 2)
    settled(other)
    one.publish(Event("after")).result(LIMIT)
    until(lambda: got == ["after"])


def test_heartbeats(installed: Path) -> None:
    """Both ends live on heartbeats of a fifth of a second, and would end the connection after one."""
    with relaying(installed, interval=0.2, timeout=1) as url, EventHub(url, "me", "key") as hub, hub.start():
        states: list[str] = []
        hub.state.subscribe(lambda state: states.append(state.phase.value))
        hub.connect()
        beats = 0
        line = hub._link.transport._session.connection  # type: ignore[attr-defined]
        heard = line._heartbeat._heard
        while beats < 12:
            until(lambda: line._heartbeat._heard != heard)
            heard, beats = line._heartbeat._heard, beats + 1
        hub.publish(Event("a")).result(LIMIT)
        assert "connecting" not in states[2:] and states[-1] == "connected"
