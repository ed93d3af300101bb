"""What a hub promises of a stream while servers die, stop and refuse: acknowledged is stored, and each event once."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest

from rxhub import Event, EventHub
from rxhub.errors import Refused
from rxhub.testing import Nats
from tests.nats_server import Cluster
from tests.proxy import Proxy
from tests.stored import limit, stored
from tests.threads import LIMIT, until


@pytest.fixture
def clustered(cluster: Cluster) -> Nats:
    """A stream that is not there yet, on a cluster of three."""
    return Nats(cluster.url, cluster.user, cluster.password, f"test-{uuid4().hex[:12]}")


@contextmanager
def connected(nats: Nats, url: str = "", **options: Any) -> Generator[EventHub]:
    with EventHub(url or nats.url, nats.user, nats.password, stream=nats.stream, **options) as hub:
        hub.connect()
        yield hub


class Publishing:
    """Events that a thread publishes, in order, as long as a block lasts."""

    def __init__(self, hub: EventHub) -> None:
        self.hub = hub
        self.sent: list[Future[None]] = []
        self._stopped = Flag()
        self._thread = Thread(target=self._publish, daemon=True)

    def _publish(self) -> None:
        while not self._stopped.wait(0.01):
            for _ in range(4):
                sent = self.hub.publish(Event("a", id=str(len(self.sent))))
                assert sent is not None
                self.sent.append(sent)

    @property
    def accepted(self) -> int:
        return sum(future.done() and future.exception() is None for future in list(self.sent))

    def __enter__(self) -> Publishing:
        self._thread.start()
        self.go_on(200)
        return self

    def go_on(self, count: int = 200) -> None:
        """Wait until so many more are accepted."""
        wanted = self.accepted + count
        until(lambda: self.accepted >= wanted)

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(LIMIT)


@contextmanager
def heard(nats: Nats) -> Generator[list[str]]:
    """What a hub beside hears meanwhile."""
    with connected(nats) as hub, hub.start():
        ids: list[str] = []
        hub.subscribe("topic=a", lambda event: ids.append(event.id))
        until(lambda: hub.subscriptions_synced)
        yield ids


def check(publishing: Publishing, nats: Nats, heard: list[str]) -> None:
    """All are accepted, stored once and heard once, in the order in which they are stored."""
    for future in publishing.sent:
        assert future.result(LIMIT) is None
    ids = [event["id"] for event in stored(nats)]
    assert sorted(ids, key=int) == [str(n) for n in range(len(publishing.sent))]
    until(lambda: len(heard) >= len(ids))
    assert heard == ids


def test_the_leader_is_killed(clustered: Nats, cluster: Cluster) -> None:
    with connected(clustered) as hub, heard(clustered) as ids:
        with Publishing(hub) as publishing:
            cluster.kill(cluster.leader(clustered.stream))
            publishing.go_on()
        check(publishing, clustered, ids)


def test_the_leader_is_held_up_and_goes_on(clustered: Nats, cluster: Cluster) -> None:
    with connected(clustered) as hub, heard(clustered) as ids:
        with Publishing(hub) as publishing:
            leader = cluster.leader(clustered.stream)
            cluster.stop(leader)
            publishing.go_on()
            cluster.cont(leader)
            publishing.go_on()
        check(publishing, clustered, ids)


def test_connections_are_reset(nats: Nats) -> None:
    with Proxy(int(nats.url.rpartition(":")[2])) as proxy, heard(nats) as ids:
        with connected(nats, f"nats://127.0.0.1:{proxy.port}") as hub:
            with Publishing(hub) as publishing:
                for after in (1, 5_000, 50_000):
                    proxy.reset_after(after)
                    until(lambda: not proxy.armed)
                    publishing.go_on()
            check(publishing, nats, ids)


def test_nothing_passes_for_a_while(nats: Nats) -> None:
    with Proxy(int(nats.url.rpartition(":")[2])) as proxy, heard(nats) as ids:
        with connected(nats, f"nats://127.0.0.1:{proxy.port}") as hub:
            with Publishing(hub) as publishing:
                proxy.black_hole = True
                until(lambda: not hub.connected)
                proxy.black_hole = False
                publishing.go_on()
            check(publishing, nats, ids)


def test_a_full_stream_tells_the_publisher_and_goes_on_when_there_is_room(nats: Nats) -> None:
    with connected(nats) as hub, heard(nats) as ids:
        limit(nats, 100_000)
        data = "x" * 1_000
        sent = [hub.forward(Event("a", id=str(n), data=data)) for n in range(200)]
        errors = [future.exception(LIMIT) for future in sent]
        taken = [str(n) for n, error in enumerate(errors) if error is None]
        assert 50 < len(taken) < 100
        assert all(isinstance(error, Refused) and "maximum bytes" in str(error) for error in errors if error)
        assert [event["id"] for event in stored(nats)] == taken
        limit(nats, -1)
        again = [hub.forward(Event("a", id=str(n), data=data)) for n, error in enumerate(errors) if error]
        for future in again:
            assert future.result(LIMIT) is None
        until(lambda: len(ids) == 200)
        assert [event["id"] for event in stored(nats)] == ids and sorted(ids, key=int) == [str(n) for n in range(200)]
