"""The line under failure: nothing that was acknowledged is lost or doubled, and memory stays bounded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from time import sleep
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import Overflow
from tests.proxy import Proxy
from tests.threads import LIMIT, suspend, until
from tests.transport.socketio.server import Server

pytestmark = pytest.mark.usefixtures("back_soon")

ROOT = Path(__file__).parents[3]
MANY = 250


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(heartbeat=1, interval=0.2) as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


class Pair:
    """A hub that publishes over a bad line, and one on a good line that notes what comes."""

    def __init__(self, bad: str, good: str) -> None:
        self.got: list[int] = []
        self.sent: list[Future[None]] = []
        self.publisher, self.receiver = EventHub(bad), EventHub(good)
        self.receiver.subscribe("topic=a", lambda event: self.got.append(event.data["n"]))
        self.handling = self.receiver.start()
        self.receiver.connect()
        self.publisher.connect()
        self.receiver.publish(Event("settled")).result(LIMIT)

    def publish(self, count: int, data: Any = "") -> None:
        for _ in range(count):
            sent = self.publisher.publish(Event("a", data={"n": len(self.sent), "data": data}))
            assert isinstance(sent, Future)
            self.sent.append(sent)

    def check(self) -> None:
        """All was acknowledged, and came once and in order."""
        for future in self.sent:
            assert future.result(LIMIT) is None
        until(lambda: len(self.got) >= len(self.sent))
        self.receiver.publish(Event("settled")).result(LIMIT)
        assert self.got == list(range(len(self.sent))) and self.publisher.unsent == 0

    def close(self) -> None:
        self.publisher.close()
        self.receiver.close()


@pytest.fixture
def pair(server: Server, proxy: Proxy) -> Iterator[Pair]:
    pair = Pair(proxy.url, server.url)
    yield pair
    pair.close()


def test_resets_in_the_middle_of_frames(pair: Pair, proxy: Proxy, server: Server) -> None:
    for after in (1, 777, 12_345):
        until(lambda: pair.publisher.connected)
        proxy.reset_after(after)
        pair.publish(MANY)
        until(lambda: not proxy.armed)
    pair.check()
    assert len(server.requests) > 2


def test_resets_at_any_time(pair: Pair, proxy: Proxy) -> None:
    for _ in range(4):
        pair.publish(MANY)
        proxy.reset()
    pair.check()


def test_a_connection_that_breaks_before_the_acknowledgement_is_read(pair: Pair, proxy: Proxy, server: Server) -> None:
    server.unanswered = {"a"}
    pair.publish(20)
    until(lambda: len(pair.got) == 20)
    server.unanswered = set()
    proxy.reset()
    pair.check()
    assert len([event for event in server.taken if event["topic"] == "a"]) == 40


def test_a_black_hole(pair: Pair, proxy: Proxy, server: Server) -> None:
    pair.publish(MANY)
    proxy.black_hole = True
    pair.publish(MANY)
    until(lambda: not pair.publisher.connected)
    pair.publish(MANY)
    proxy.black_hole = False
    pair.check()


def test_latency(pair: Pair, proxy: Proxy, server: Server) -> None:
    proxy.latency = 0.1
    pair.publish(MANY)
    pair.check()
    assert len(server.requests) == 2


def test_a_slow_line(pair: Pair, proxy: Proxy, server: Server) -> None:
    proxy.rate = 200_000
    pair.publish(50, "x" * 4000)
    pair.check()
    assert len(server.requests) == 2


def test_a_half_open_connection(pair: Pair, proxy: Proxy) -> None:
    proxy.half_open()
    pair.publish(MANY)
    pair.check()


def test_a_server_that_stops_reading_leaves_memory_bounded(server: Server) -> None:
    with EventHub(server.url, outbox=100) as hub:
        server.heartbeat = None
        hub.connect()
        hub.publish(Event("settled")).result(LIMIT)
        paused = list(server.clients)
        server.call(lambda: [client.socket.transport.pause_reading() for client in paused])
        until(lambda: not any(client.socket.transport.is_reading() for client in paused))
        sent: list[Any] = []
        with pytest.raises(Overflow):
            for _ in range(1000):
                sent.append(hub.publish(Event("a", data="x" * 100_000)))
        assert len(sent) <= 200 and hub.unsent <= 100
        server.call(lambda: [client.socket.transport.resume_reading() for client in paused])
        for future in sent:
            future.result(LIMIT)


# A server that is a program of its own


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@contextmanager
def program(port: int, journal: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.transport.socketio.server", str(port), str(journal)]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def test_a_server_that_is_killed_and_started_again(tmp_path: Path) -> None:
    port, journal = free_port(), tmp_path / "journal"
    events = [Event("a", data={"n": n}) for n in range(3 * MANY)]
    with EventHub(f"http://127.0.0.1:{port}") as hub:
        sent: list[Any] = []
        for turn in range(3):
            with program(port, journal):
                if turn == 0:
                    hub.connect()
                sent += [hub.publish(event) for event in events[turn * MANY : (turn + 1) * MANY]]
                sent[turn * MANY + 50].result(LIMIT)
        acknowledged = {event.id for event, future in zip(events, sent, strict=True) if future.done()}
        assert acknowledged <= set(journal.read_text().split())
        with program(port, journal):
            for future in sent:
                assert future.result(LIMIT) is None
        assert {event.id for event in events} <= set(journal.read_text().split())


def test_a_server_that_is_stopped_and_goes_on(tmp_path: Path) -> None:
    port, journal = free_port(), tmp_path / "journal"
    with program(port, journal) as process:
        pair = Pair(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}")
        pair.publish(MANY)
        suspend(process.pid)
        pair.publish(MANY)
        until(lambda: not pair.publisher.connected)
        pair.publish(MANY)
        sleep(0.2)
        process.send_signal(signal.SIGCONT)
        for future in pair.sent:
            assert future.result(LIMIT) is None
        # What passed while the receiver itself was away is lost to it, but nothing comes twice.
        assert len(set(pair.got)) == len(pair.got)
        pair.close()
    assert len(set(journal.read_text().split())) >= 3 * MANY
