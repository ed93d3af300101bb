"""Acknowledged events are delivered although a stream was recreated or lost its end, and reuses sequences."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from shutil import copytree
from typing import Any
from uuid import uuid4

import pytest

from rxhub.concurrency.backoff import Backoff
from rxhub.server import Backplane, running
from rxhub.testing import Nats
from rxhub.transport.nats import reconnecting as link_module
from tests.server.wire import Wire, answer, packet, wire
from tests.threads import until
from tests.transport.nats.servers import Admin, started


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "Backoff", lambda *_: Backoff(0.01, 0.05))


def publish(client: Wire, numbers: range, topic: str = "studio.a") -> None:
    """Publish many events at once. All are acknowledged."""
    for number in numbers:
        client.send(packet(topic, number, number))
    for number in numbers:
        assert answer(client.receive()) == (number, {"success": True})


def got(client: Wire, count: int) -> list[Any]:
    return [client.event()["data"] for _ in range(count)]


def test_all_that_is_stored_in_a_stream_that_was_made_anew_comes(nats: Nats) -> None:
    plane = Backplane(nats.url, nats.user, nats.password, nats.stream)
    with running(backplane=plane) as node, wire(node) as writer, wire(node) as early, wire(node) as late:
        early.subscribe("topic=studio.*", "early")
        publish(writer, range(50))
        late.subscribe("topic=studio.a", "late")
        assert got(early, 50) == [*range(50)]
        with Admin(nats.url, nats.user, nats.password) as admin:
            config = admin.ask(f"STREAM.INFO.{nats.stream}")["config"]
            for _ in range(2):
                assert admin.ask(f"STREAM.DELETE.{nats.stream}")["success"]
                assert "error" not in admin.ask(f"STREAM.CREATE.{nats.stream}", config)
                publish(writer, range(50, 110))
                for reader in (early, late):
                    assert got(reader, 60) == [*range(50, 110)]
        # Who comes now gets nothing of before.
        with wire(node) as last:
            last.subscribe("topic=studio.a", "last")
            publish(writer, range(1))
            assert got(last, 1) == got(early, 1) == got(late, 1) == [0]


class Site(ExitStack):
    """A server whose NATS server is replaced by one of another store, at the same address.

    Attributes:
        nats: the address.
    """

    def __init__(self, store: Path) -> None:
        super().__init__()
        self._nats = self.enter_context(ExitStack())
        self._port = self._nats.enter_context(started(_on(store))).port
        self.nats = f"nats://127.0.0.1:{self._port}"
        self._node = self.enter_context(running(backplane=Backplane(self.nats)))

    def stop(self) -> None:
        self._nats.close()

    def go_on(self, store: Path) -> None:
        self._nats.enter_context(started(_on(store), self._port))

    def client(self, subscription: str = "") -> Wire:
        client = self.enter_context(wire(self._node))
        if subscription:
            assert client.subscribe(subscription, uuid4().hex) == {"success": True}
        return client


def _on(store: Path) -> dict[str, Any]:
    return {"jetstream": {"store_dir": str(store)}}


def test_a_nats_server_that_is_back_without_its_store_gets_the_streams_again(tmp_path: Path) -> None:
    with Site(tmp_path / "one") as site:
        writer, reader = site.client(), site.client("topic=studio.*")
        publish(writer, range(30))
        assert got(reader, 30) == [*range(30)]
        site.stop()
        site.go_on(tmp_path / "other")
        publish(writer, range(30, 50))
        assert got(reader, 20) == [*range(30, 50)]
        # Nobody else may have the id of who is there, so its claim is made again; and new ones can be made.
        with Admin(site.nats) as admin:
            until(lambda: admin.last("events-ids") == 1)
        late = site.client("topic=studio.*")
        publish(writer, range(50, 60))
        assert got(late, 10) == got(reader, 10) == [*range(50, 60)]


def test_a_nats_server_that_has_lost_the_end_of_the_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with Site(whole) as site:
        writer, early = site.client(), site.client("topic=studio.*")
        publish(writer, range(30))
        site.stop()
        copytree(whole, cut)
        site.go_on(whole)
        publish(writer, range(30, 50))
        assert got(early, 50) == [*range(50)]
        late = site.client("topic=studio.a")
        site.stop()
        site.go_on(cut)
        publish(writer, range(50, 110))
        assert got(early, 60) == got(late, 60) == [*range(50, 110)]
    assert "ends at 30 although it contained 50" in caplog.text
