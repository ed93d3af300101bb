"""`rxhub bridge`: from an event server into a stream, as a service and at a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.bridge import GAP
from rxhub.bridge.checkpoint import Checkpoint
from rxhub.embedded import store
from rxhub.server import Running, running
from rxhub.testing import Nats
from tests.cli.terminal import COMMAND, rxhub
from tests.cli.wire import peer, variables
from tests.server.peers import PythonClient
from tests.stored import stored
from tests.threads import LIMIT, suspend, until
from tests.worker.programs import free_port
from tests.worker.test_metrics import value as metric


@pytest.fixture(scope="module")
def server() -> Generator[Running]:
    with running() as server:
        yield server


def environment(server: Running, nats: Nats) -> dict[str, str]:
    there = {"RXHUB_NATS": nats.url, "RXHUB_NATS_USER": nats.user, "RXHUB_NATS_PASSWORD": nats.password}
    return {**variables(server), **there}


def gaps(nats: Nats) -> list[dict[str, Any]]:
    return [event["data"] for event in stored(nats) if event["topic"] == GAP]


def ids(nats: Nats) -> list[str]:
    return [event["id"] for event in stored(nats) if event["topic"] != GAP]


def until_noted(server: Running, nats: Nats) -> None:
    """Wait until it is written down how far the bridges have come."""
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        progress = Checkpoint(hub, server.url, "topic=*", "test")
        until(lambda: (place := progress.load()) is not None and place.floor is not None)


class Bridging:
    """`rxhub bridge` in a process, whose start is marked; `told` is what it has said on stderr."""

    def __init__(self, server: Running, nats: Nats, *arguments: str, command: list[str] = COMMAND) -> None:
        already = len(gaps(nats))
        self.told = ""
        self._process = subprocess.Popen(
            [*command, "bridge", "--stream", nats.stream, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(server, nats),
        )
        self._reader = Thread(target=self._read)
        self._reader.start()
        until(lambda: self._process.poll() is not None or len(gaps(nats)) > already)

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.told += line

    def end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        status = self._process.wait(2 * LIMIT)
        self._reader.join(LIMIT)
        assert self._process.stdout is not None and self._process.stderr is not None
        assert self._process.stdout.read() == ""
        self._process.stdout.close()
        self._process.stderr.close()
        assert "Traceback" not in self.told
        return status


@contextmanager
def bridging(server: Running, nats: Nats, *arguments: str, **options: Any) -> Generator[Bridging]:
    bridge = Bridging(server, nats, *arguments, **options)
    try:
        yield bridge
    finally:
        if bridge._process.poll() is None:
            bridge.end(signal.SIGKILL)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_at_its_end_what_was_read_is_stored(server: Running, nats: Nats, number: signal.Signals, status: int) -> None:
    with peer(server) as publisher, bridging(server, nats, "--name", "one") as bridge:
        for n in range(200):
            publisher.publish(Event("a", id=str(n)))
        publisher.publish(Event("b")).result(LIMIT)
        until(lambda: "199" in ids(nats))
        assert bridge.end(number) == status
    read, there = re.findall(r"ended: ([\d,]+) read, ([\d,]+) stored, 0 waiting, 1 gap\n", bridge.told)[0]
    assert read == there == str(len(ids(nats))) and ids(nats)[:200] == [str(n) for n in range(200)]
    assert gaps(nats)[0]["bridge"] == "one" and server.url in bridge.told and server.api_key not in bridge.told


def test_only_what_a_subscription_matches_is_stored(server: Running, nats: Nats) -> None:
    with peer(server) as publisher, bridging(server, nats, "--subscription", "topic=studio.* and data.n>1") as bridge:
        for n in range(4):
            publisher.publish(Event("studio.a", id=str(n), data={"n": n})).result(LIMIT)
        until(lambda: ids(nats) == ["2", "3"])
        assert bridge.end(signal.SIGTERM) == 0


def test_it_serves_its_metrics(server: Running, nats: Nats) -> None:
    port = free_port()
    with peer(server) as publisher, bridging(server, nats, "--name", "one", "--metrics", str(port)) as bridge:
        for _ in range(3):
            publisher.publish(Event("a")).result(LIMIT)
        until(lambda: metric(port, "rxhub_bridge_stored_total", bridge="one") == 3)
        assert metric(port, "rxhub_hubs") == 2
        assert bridge.end(signal.SIGTERM) == 0


def test_one_that_is_killed_and_started_again_tells_since_when_events_may_be_missing(
    server: Running, nats: Nats
) -> None:
    client = PythonClient(server)
    client.connect()
    sent = 0

    def publish_until_stored() -> None:
        nonlocal sent
        before = len(ids(nats))
        for _ in range(50):
            client.publish("ftrack.update", {"n": sent})
            sent += 1
        until(lambda: len(ids(nats)) == before + 50)

    with bridging(server, nats) as bridge:
        publish_until_stored()
        until_noted(server, nats)
        assert bridge.end(signal.SIGKILL) == -signal.SIGKILL
    missing = datetime.now(UTC)
    client.publish("ftrack.update", {"n": "missing"})
    with bridging(server, nats) as bridge:
        publish_until_stored()
        assert bridge.end(signal.SIGTERM) == 0
    client.close()
    first, second = gaps(nats)
    assert (first["why"], first["since"], second["why"]) == ("started", None, "started")
    assert datetime.fromisoformat(first["until"]) <= datetime.fromisoformat(second["since"]) <= missing
    assert missing <= datetime.fromisoformat(second["until"])
    events = [event for event in stored(nats) if event["topic"] == "ftrack.update"]
    assert [event["data"]["n"] for event in events] == list(range(100))
    assert {event["source"]["id"] for event in events} == {client.hub.id}


def test_two_of_them_store_each_event_once(server: Running, nats: Nats) -> None:
    with peer(server) as publisher, bridging(server, nats) as one, bridging(server, nats, "--name", "other") as other:
        for n in range(200):
            publisher.publish(Event("a", id=str(n)))
        publisher.publish(Event("b", id="last")).result(LIMIT)
        until(lambda: "last" in ids(nats))
        assert (one.end(signal.SIGTERM), other.end(signal.SIGTERM)) == (0, 0)
    assert ids(nats) == [*map(str, range(200)), "last"]
    assert "201 stored" in one.told and "201 stored" in other.told
    assert len(gaps(nats)) == 2


def test_what_cannot_be_stored_before_its_end_is_told(server: Running, tmp_path: Path) -> None:
    impatient = "from rxhub.cli import bridge, main; bridge._GRACE = 0.5; raise SystemExit(main())"
    with store(tmp_path) as held, peer(server) as publisher:
        nats = Nats.on(held)
        with bridging(server, nats, command=[sys.executable, "-c", impatient]) as bridge:
            assert held.pid is not None
            suspend(held.pid)
            try:
                for n in range(3):
                    publisher.publish(Event("a", id=str(n))).result(LIMIT)
                assert bridge.end(signal.SIGTERM) == 1
            finally:
                os.kill(held.pid, signal.SIGCONT)
    assert "NATS did not acknowledge 3 events in time" in bridge.told


def test_a_second_ctrl_c_waits_for_nothing(server: Running, tmp_path: Path) -> None:
    patient = "from rxhub.cli import bridge, main; bridge._GRACE = 600; raise SystemExit(main())"
    with store(tmp_path) as held, peer(server) as publisher:
        nats = Nats.on(held)
        with bridging(server, nats, command=[sys.executable, "-c", patient]) as bridge:
            before = server.stats["subscriptions"]
            assert held.pid is not None
            suspend(held.pid)
            try:
                publisher.publish(Event("a")).result(LIMIT)
                bridge._process.send_signal(signal.SIGINT)
                # It reads no more, and waits for NATS.
                until(lambda: server.stats["subscriptions"] < before)
                assert bridge.end(signal.SIGINT) == 130
            finally:
                os.kill(held.pid, signal.SIGCONT)


def test_it_shows_a_line_on_a_terminal(server: Running, nats: Nats) -> None:
    master, slave = pty.openpty()
    command = subprocess.Popen(
        [*COMMAND, "bridge", "--stream", nats.stream],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment(server, nats), "TERM": "xterm-256color", "COLUMNS": "200"},
    )
    os.close(slave)
    seen: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(master, 65_536):
                seen.append(chunk)
        except OSError:  # Linux says EIO where the last writer has closed a terminal
            pass

    reader = Thread(target=read)
    reader.start()
    try:
        with peer(server) as publisher:
            until(lambda: gaps(nats))
            publisher.publish(Event("a", id="1")).result(LIMIT)
            until(lambda: b"1 read, 1 stored, 0 waiting, 1 gap" in b"".join(seen))
            command.send_signal(signal.SIGINT)
            assert command.wait(LIMIT) == 130
    finally:
        command.kill()
        reader.join(LIMIT)
        os.close(master)
    text = b"".join(seen).decode()
    assert (
        f"{server.url} → {nats.stream} at {nats.url}" in text and "Ctrl-C to exit" in text and "Traceback" not in text
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["http://127.0.0.1:9"], "http://127.0.0.1:9"),
        (["--user", "jane", "--key", "a wrong one"], "Check api_user and api_key"),
        (["--nats-user", "jane", "--nats-password", "a wrong one"], "Check that the password of jane is correct"),
        (["--subscription", "topic==a"], "topic==a"),
        (["--stream", "a.b"], "letters, digits"),
        (["--metrics", "a port"], "is not a port or ADDRESS:PORT"),
    ],
)
def test_what_is_wrong_is_told(server: Running, nats: Nats, arguments: list[str], message: str) -> None:
    ran = rxhub("bridge", *arguments, env=environment(server, nats))
    told = " ".join(re.sub(r"[│╭╰╮╯─]", "", ran.stderr.decode()).split())
    assert ran.returncode == 2 and message in told and "Traceback" not in told and "a wrong one" not in told
    assert nats.password not in told and server.api_key not in told


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "memory://", "127.0.0.1:4222", "nats://127.0.0.1:9"])
def test_it_leads_to_nats_alone(server: Running, url: str) -> None:
    ran = rxhub("bridge", server.url, url, env=variables(server))
    assert ran.returncode == 2 and b"nats" in ran.stderr.lower() and b"Traceback" not in ran.stderr
