"""Short texts beside a stream."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from time import monotonic
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubClosed, HubConnectionError, NotDurable
from rxhub.testing import Nats
from rxhub.transport.nats import kv_bucket as notes
from tests.threads import LIMIT, suspend, until
from tests.transport.nats.servers import started


@pytest.fixture
def hub(nats: Nats) -> Generator[EventHub]:
    with connected(nats) as hub:
        yield hub


def connected(nats: Nats) -> EventHub:
    hub = EventHub(nats.url, nats.user, nats.password, stream=nats.stream)
    hub.connect()
    return hub


def test_the_latest_text_of_a_key_is_kept_and_outlives_the_hub(hub: EventHub, nats: Nats) -> None:
    assert hub.kv_get("a").result(LIMIT) is None
    for text in ("one", "two ☃\n", ""):
        hub.kv_put("a", text).result(LIMIT)
        assert hub.kv_get("a").result(LIMIT) == text
    hub.kv_put("b", "another").result(LIMIT)
    hub.kv_put("a", "last").result(LIMIT)
    hub.close()
    with connected(nats) as other:
        assert (other.kv_get("a").result(LIMIT), other.kv_get("b").result(LIMIT)) == ("last", "another")
        assert other.kv_get("c").result(LIMIT) is None


def test_notes_are_no_events(hub: EventHub, nats: Nats) -> None:
    got: list[str] = []
    hub.subscribe("topic=*", lambda event: got.append(event.topic))
    hub.start()
    hub.kv_put("a", "text").result(LIMIT)
    with connected(Nats(nats.url, nats.user, nats.password, f"{nats.stream}-other")) as other:
        assert other.kv_get("a").result(LIMIT) is None
    hub.publish(Event("last"))
    until(lambda: "last" in got)
    assert [topic for topic in got if not topic.startswith("ftrack.meta.")] == ["last"]


def test_notes_that_find_no_server_are_told_so_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_TIMEOUT_S", 0.5)
    with started({"jetstream": {}}) as server, EventHub(server.url) as hub:
        hub.connect()
        hub.kv_put("a", "text").result(LIMIT)
        suspend(server.process.pid)
        began = monotonic()
        waiting = [hub.kv_put("a", str(number)) for number in range(20)]
        for future in waiting:
            with pytest.raises(HubConnectionError, match="within 0.5 s"):
                future.result(LIMIT)
        # Together, and not one after the other: that would be ten seconds.
        assert monotonic() - began < 5
        os.kill(server.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("key", ["", "a.b", "*", ">", "a b", "ä", "x" * 101])
def test_a_key_is_plain(hub: EventHub, key: str) -> None:
    for asked in (hub.kv_put(key, "text"), hub.kv_get(key)):
        with pytest.raises(ValueError, match="letters, digits"):
            asked.result(LIMIT)


def test_only_a_text_is_kept(hub: EventHub) -> None:
    number: Any = 3
    with pytest.raises(TypeError, match="Only strings can be stored, not int"):
        hub.kv_put("a", number).result(LIMIT)


def test_a_text_that_is_too_long_is_refused(hub: EventHub) -> None:
    with pytest.raises(HubConnectionError, match="not acknowledged"):
        hub.kv_put("a", "x" * 20_000_000).result(LIMIT)
    hub.kv_put("a", "short").result(LIMIT)


def test_a_closed_hub_says_that_it_is(hub: EventHub) -> None:
    hub.close()
    for ask in (lambda: hub.kv_put("a", "text"), lambda: hub.kv_get("a"), lambda: hub.streams()):
        with pytest.raises(HubClosed):
            ask()


def test_a_hub_must_be_connected(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        for asked in (hub.kv_put("a", "text"), hub.kv_get("a")):
            with pytest.raises(HubConnectionError, match=r"connect\(\)"):
                asked.result(LIMIT)


@pytest.mark.parametrize("url", ["memory://", "http://127.0.0.1:9"])
def test_other_transports_keep_nothing(url: str) -> None:
    with EventHub(url) as hub:
        for ask in (lambda: hub.kv_put("a", "text"), lambda: hub.kv_get("a")):
            with pytest.raises(NotDurable, match="nats://"):
                ask()
