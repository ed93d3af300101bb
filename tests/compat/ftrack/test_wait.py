"""`wait()` ends as in ftrack's own hub, and takes as long."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from tests.compat.ftrack.judged import BOTH, OURS, THEIRS
from tests.threads import until
from tests.transport.socketio.server import Server

SIDES = pytest.mark.parametrize("side", BOTH, ids=["theirs", "ours"])


def unconnected(side: Any) -> Any:
    hub = side.EventHub("http://127.0.0.1:1", "me", "key")
    hub.init_connection()
    return hub


def calls_within(hub: Any, duration: float, seconds: float) -> int:
    end, calls = monotonic() + seconds, 0
    while monotonic() < end:
        hub.wait(duration)
        calls += 1
    return calls


@pytest.mark.parametrize("duration", [-1, 0, 0.01, 0.1, 0.15, 0.25])
def test_a_loop_of_waits_is_as_slow_as_with_ftracks_hub(duration: float) -> None:
    counted = [0, 0]

    def count(place: int, side: Any) -> None:
        counted[place] = calls_within(unconnected(side), duration, 1.5)

    threads = [threading.Thread(target=count, args=each) for each in enumerate(BOTH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    theirs, ours = counted
    # They ran side by side, on a machine that may be busy.
    assert 0 < ours <= 16
    assert abs(ours - theirs) <= max(2, theirs / 3)


@SIDES
def test_a_wait_for_no_time_handles_one_event_that_waits(side: Any) -> None:
    hub = unconnected(side)
    seen: list[int] = []
    hub.subscribe("topic=n", lambda event: seen.append(event["data"]["n"]))
    for n in range(3):
        hub._event_queue.put(side.Event("n", data={"n": n}))
    hub.wait(0)
    assert seen == [0]
    hub.wait(0.01)
    hub.wait(0.2)
    assert seen == [0, 1, 2]


@SIDES
def test_a_wait_inside_a_callback_takes_as_long(side: Any) -> None:
    hub = unconnected(side)
    took: list[float] = []

    def callback(event: Any) -> None:
        before = monotonic()
        hub.wait(0)
        took.append(monotonic() - before)

    hub.subscribe("topic=a", callback)
    hub._event_queue.put(side.Event("a"))
    hub.wait(0)
    assert took[0] >= 0.09


@SIDES
@pytest.mark.parametrize("way", ["put", "put_nowait"])
@pytest.mark.parametrize("form", ["event", "subclass", "dict"])
def test_a_farewell_that_is_put_into_the_queue_ends_it(side: Any, way: str, form: str) -> None:
    hub = unconnected(side)
    seen: list[str] = []
    hub.subscribe("topic=ftrack.meta.disconnected", lambda event: seen.append(event["topic"]))
    hub.subscribe("topic=later", lambda event: seen.append(event["topic"]))
    kind = type("Mine", (side.Event,), {}) if form == "subclass" else side.Event
    event = kind("ftrack.meta.disconnected")
    if form == "dict":
        event = dict(event)
        hub._subscribers[:1] = []  # its callback gets a dict, which ftrack's hub cannot stop
        hub._handle = lambda event, synchronous=False: seen.append(event["topic"])
    getattr(hub._event_queue, way)(event)
    getattr(hub._event_queue, way)(side.Event("later"))
    hub.wait(60)
    assert seen == ["ftrack.meta.disconnected"]


@SIDES
def test_a_farewell_that_another_thread_puts_there_ends_it(side: Any) -> None:
    hub = unconnected(side)
    waiting = threading.Thread(target=hub.wait, daemon=True)
    waiting.start()
    hub._event_queue.put(side.Event("ftrack.meta.disconnected"))
    waiting.join(30)
    assert not waiting.is_alive()


class Balancer:
    """A load balancer in front of a server that cuts connections.

    Attributes:
        faults: where to cut the next connections: the "handshake" before its answer; a WebSocket after the "101"
            response, after the "greeting", or after the first "heartbeat".
        cut: the same of those that were cut.
    """

    def __init__(self, target: int) -> None:
        self.faults: list[str] = []
        self.cut: list[str] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Balancer:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._connection, args=self._listener.accept()[:1], daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            request = client.recv(65536)
            kind = "websocket" if b"/websocket/" in request else "handshake"
            fault = self.faults[0] if self.faults and (self.faults[0] == "handshake") == (kind == "handshake") else ""
            if fault:
                self.faults.pop(0)
            if fault == "handshake":
                self.cut.append(fault)
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                server.sendall(request)
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                self._pass_on(server, client, {"101": b"\r\n\r\n", "greeting": b"1::", "heartbeat": b"2::"}.get(fault))
            if fault:
                # Not before: until then the connection works.
                self.cut.append(fault)

    def _pass_on(self, source: socket.socket, sink: socket.socket, last: bytes | None = None) -> None:
        """Forward bytes until the end, or until a given ending."""
        passed, sent = b"", 0
        with suppress(OSError):
            while data := source.recv(65536):
                passed += data
                found = -1 if last is None else passed.find(last)
                end = len(passed) if found < 0 else found + len(last or b"")
                sink.sendall(passed[sent:end])
                sent = end
                if found >= 0:
                    break
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("fault", ["101", "greeting", "heartbeat", "handshake"])
@pytest.mark.parametrize("times", [1, 6])
def test_new_connections_that_break_at_once_do_not_end_it(fault: str, times: int) -> None:
    with Server(interval=0.1) as server, Balancer(server.port) as balancer:
        hub = OURS.EventHub(balancer.url, "me", "key")
        hub._auto_reconnect_delay = 0.2
        hub._backoff._longest = 0.2
        seen: list[str] = []
        hub.subscribe("topic=a", lambda event: seen.append(event["id"]))
        hub.connect()
        waiting = threading.Thread(target=hub.wait, daemon=True)
        waiting.start()
        balancer.faults += [fault] * times
        server.drop()
        until(lambda: len(balancer.cut) == times)
        # Its own subscriber, to replies, and ours.
        until(lambda: any(len(client.subscribers) == 2 for client in server.clients))
        event = OURS.Event("a")
        hub.publish(event)
        until(lambda: seen == [event["id"]])
        assert waiting.is_alive()
        hub.disconnect()
        waiting.join(30)
        assert not waiting.is_alive()
        hub.close()


def test_it_ends_when_the_server_stays_away_as_with_ftracks_hub() -> None:
    ended: list[bool] = []
    for side in (THEIRS, OURS):
        with Server() as server:
            hub = side.EventHub(server.url, "me", "key")
            hub._auto_reconnect_attempts, hub._auto_reconnect_delay = 2, 0.1
            hub.connect()
            waiting = threading.Thread(target=hub.wait, daemon=True)
            waiting.start()
            until(lambda: server.clients)
            server.drop(stop=True)
        waiting.join(30)
        ended.append(not waiting.is_alive())
    assert ended == [True, True]


def test_it_is_tried_for_as_long_as_with_ftracks_hub() -> None:
    hub = OURS.EventHub("http://127.0.0.1:1", "me", "key")
    before = monotonic()
    with pytest.raises(OURS.exception.EventHubConnectionError, match="Failed to reconnect"):
        hub.reconnect(attempts=4, delay=0.5)
    assert monotonic() - before >= 2
