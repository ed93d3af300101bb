"""Short texts beside a stream."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from rxhub import EventHub
from rxhub.errors import HubConnectionError, NotDurable
from rxhub.testing import Nats
from tests.threads import LIMIT


@pytest.fixture
def hub(nats: Nats) -> Generator[EventHub]:
    with connected(nats) as hub:
        yield hub


def connected(nats: Nats) -> EventHub:
    hub = EventHub(nats.url, nats.user, nats.password, stream=nats.stream)
    hub.connect()
    return hub


def test_the_latest_text_of_a_key_is_kept_and_outlives_the_hub(hub: EventHub, nats: Nats) -> None:
    assert hub.kept("a").result(LIMIT) is None
    for text in ("one", "two ☃\n", ""):
        hub.keep("a", text).result(LIMIT)
        assert hub.kept("a").result(LIMIT) == text
    hub.keep("b", "another").result(LIMIT)
    hub.keep("a", "last").result(LIMIT)
    hub.close()
    with connected(nats) as other:
        assert (other.kept("a").result(LIMIT), other.kept("b").result(LIMIT)) == ("last", "another")
        assert other.kept("c").result(LIMIT) is None


def test_notes_are_no_events(hub: EventHub, nats: Nats) -> None:
    got: list[str] = []
    hub.subscribe("topic=*", lambda event: got.append(event.topic))
    hub.keep("a", "text").result(LIMIT)
    with connected(Nats(nats.url, nats.user, nats.password, f"{nats.stream}-other")) as other:
        assert other.kept("a").result(LIMIT) is None
    hub.drain()
    assert [topic for topic in got if not topic.startswith("ftrack.meta.")] == []


@pytest.mark.parametrize("key", ["", "a.b", "*", ">", "a b", "ä", "x" * 101])
def test_a_key_is_plain(hub: EventHub, key: str) -> None:
    for asked in (hub.keep(key, "text"), hub.kept(key)):
        with pytest.raises(ValueError, match="letters, digits"):
            asked.result(LIMIT)


def test_a_text_that_is_too_long_is_refused(hub: EventHub) -> None:
    with pytest.raises(HubConnectionError, match="not acknowledged"):
        hub.keep("a", "x" * 20_000_000).result(LIMIT)
    hub.keep("a", "short").result(LIMIT)


def test_a_hub_must_be_connected(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        for asked in (hub.keep("a", "text"), hub.kept("a")):
            with pytest.raises(HubConnectionError, match=r"connect\(\)"):
                asked.result(LIMIT)


@pytest.mark.parametrize("url", ["memory://", "http://127.0.0.1:9"])
def test_other_transports_keep_nothing(url: str) -> None:
    with EventHub(url) as hub:
        for ask in (lambda: hub.keep("a", "text"), lambda: hub.kept("a")):
            with pytest.raises(NotDurable, match="nats://"):
                ask()
