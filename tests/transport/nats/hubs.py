"""Hubs on the stream of a test, and what tests do with them. Faults are noticed sooner than usual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.concurrency.backoff import Backoff
from rxhub.errors import HubConnectionError
from rxhub.testing import Nats
from rxhub.transport.nats import connection as line_module
from rxhub.transport.nats import publishing
from rxhub.transport.nats import reconnecting as link_module
from tests.proxy import Proxy
from tests.threads import LIMIT, elsewhere
from tests.transport.nats.servers import Admin

__all__ = ["admin", "hasty", "hub", "make", "noted", "proxy", "published", "refusal"]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "Backoff", lambda *_: Backoff(0.01, 0.05))
    monkeypatch.setattr(publishing, "Backoff", lambda *_: Backoff(0.01, 0.05))
    monkeypatch.setattr(line_module, "_CONNECT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(line_module, "_PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(line_module, "_CLOSED_POLL_S", 0.02)


@pytest.fixture
def admin(nats: Nats) -> Iterator[Admin]:
    with Admin(nats.url, nats.user, nats.password) as admin:
        yield admin


@pytest.fixture
def proxy(nats: Nats) -> Iterator[Proxy]:
    with Proxy(int(nats.url.rpartition(":")[2])) as proxy:
        yield proxy
        proxy.black_hole = False


@pytest.fixture
def make(nats: Nats) -> Iterator[Callable[..., EventHub]]:
    """Makes hubs on the stream of the test, all of which are closed after it."""
    made: list[EventHub] = []

    def make(at: Proxy | None = None, **options: Any) -> EventHub:
        url = nats.url if at is None else f"nats://127.0.0.1:{at.port}"
        made.append(EventHub(url, nats.user, nats.password, stream=nats.stream, **options))
        return made[-1]

    yield make
    for hub in made:
        hub.close()


@pytest.fixture
def hub(make: Callable[..., EventHub]) -> EventHub:
    hub = make()
    hub.connect()
    hub.start()
    return hub


def noted(hub: EventHub, subscription: str = "topic=a") -> list[int]:
    """The numbers of the events that come from now on, whoever publishes them."""
    got: list[int] = []
    hub.subscribe(subscription, lambda event: got.append(event.data["n"]))
    if hub.connected:
        # Our own events wait for that, so others' may come as well.
        published(hub, 0, topic="settled")
    return got


def published(hub: EventHub, *numbers: int, topic: str = "a") -> None:
    """Publish events with these numbers; when it returns they are stored."""
    for future in [hub.publish(Event(topic, data={"n": n})) for n in numbers]:
        assert future is not None and future.result(LIMIT) is None


def refusal(hub: EventHub) -> str:
    with pytest.raises(HubConnectionError) as raised:
        elsewhere(hub.connect).join()
    assert not hub.connected
    return str(raised.value)
