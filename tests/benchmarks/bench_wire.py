"""A hub on a wire: receiving and publishing beside ftrack's hub on one server; npm's socket.io as the server.

Wall clock, on the loopback. What is received comes from prebuilt frames; what is published is acknowledged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event as Flag
from threading import Thread
from time import perf_counter_ns
from typing import Any

import ftrack_api.event.base
import ftrack_api.event.hub

from rxhub import Event, EventHub
from tests.benchmarks.flood_server import FLOOD
from tests.benchmarks.measure import Row, compare, faster
from tests.npm import install
from tests.transport.socketio.relay import relaying

__all__ = ["run"]

_ROUNDS = 15
_PUBLISHED = 500
_TRIPS = 100
_ROOT = Path(__file__).parents[2]
_DATA = {"text": "x" * 700, "entities": [{"entityType": "task", "keys": ["name", "status"]}]}


def run() -> list[Row]:
    """Receiving, which is judged; publishing and single round trips, which are shown."""
    rows: list[Row] = []
    with ExitStack() as stack:
        url = f"http://127.0.0.1:{_program(stack, 'flood_server')[0]}"
        ours = stack.enter_context(EventHub(url, "me", "key"))
        stack.enter_context(ours.start())
        theirs = ftrack_api.event.hub.EventHub(url, "me", "key")
        for hub in (ours, theirs):
            hub.connect()
        stack.callback(theirs.disconnect)
        Thread(target=theirs.wait, daemon=True).start()
        rows += [
            compare(
                "1 KB event, received and handled",
                _Receiving(ours, Event),
                _Receiving(theirs, ftrack_api.event.base.Event),
                faster(3),
                peer_name="ftrack's hub",
                rounds=_ROUNDS,
            ),
            compare(
                "1 KB event, published and acknowledged",
                _Publishing(lambda done: _when_done(ours.publish(Event("bench", data=_DATA)), done)),
                _Publishing(
                    lambda done: theirs._publish(
                        ftrack_api.event.base.Event("bench", data=_DATA), callback=lambda _: done()
                    )
                ),
                peer_name="ftrack's hub",
                rounds=_ROUNDS,
            ),
        ]
    if shutil.which("npm") and shutil.which("node"):
        rows.append(_beside_npm())
    return rows


def _beside_npm() -> Row:
    with ExitStack() as stack:
        port, user, key = _program(stack, "event_server")
        folder = Path(stack.enter_context(TemporaryDirectory()))
        relay = stack.enter_context(relaying(install("relay", folder)))
        return compare(
            "1 KB event to the server and back, one after the other",
            _Trips(stack, f"http://127.0.0.1:{port}", user, key),
            _Trips(stack, relay, "me", "key"),
            peer_name="npm's socket.io 0.9",
            rounds=_ROUNDS,
        )


def _program(stack: ExitStack, module: str) -> list[str]:
    """Start a server in a process of its own; what it prints of itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.benchmarks.{module}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    assert process.stdout is not None
    return process.stdout.readline().split()


class _Receiving:
    """A connected, handled hub with one subscriber; a round is one flood."""

    def __init__(self, hub: Any, event: Any) -> None:
        self._hub = hub
        self._event = event
        self._left = 0
        self._done = Flag()
        hub.subscribe("topic=bench.event", self._count)

    def _count(self, event: object) -> None:
        self._left -= 1
        if not self._left:
            self._done.set()

    def __call__(self) -> float:
        self._left = FLOOD
        self._done.clear()
        begin = perf_counter_ns()
        self._hub.publish(self._event("bench.flood"))
        assert self._done.wait(60)
        return (perf_counter_ns() - begin) / FLOOD


class _Publishing:
    """A round ends with the last acknowledgement."""

    def __init__(self, publish: Callable[[Callable[[], None]], object]) -> None:
        self._publish = publish

    def __call__(self) -> float:
        acknowledged: list[None] = []
        done = Flag()

        def count() -> None:
            acknowledged.append(None)
            if len(acknowledged) == _PUBLISHED:
                done.set()

        begin = perf_counter_ns()
        for _ in range(_PUBLISHED):
            self._publish(count)
        assert done.wait(60)
        return (perf_counter_ns() - begin) / _PUBLISHED


def _when_done(sent: Any, done: Callable[[], None]) -> None:
    sent.add_done_callback(lambda _: done())


class _Trips:
    """A hub that gets its own events back from a server; each is published when the one before has come."""

    def __init__(self, stack: ExitStack, url: str, user: str, key: str) -> None:
        self._hub = stack.enter_context(EventHub(url, user, key))
        self._came = Flag()
        self._hub.subscribe("topic=bench.trip", lambda _: self._came.set())
        stack.enter_context(self._hub.start())
        self._hub.connect()

    def __call__(self) -> float:
        begin = perf_counter_ns()
        for _ in range(_TRIPS):
            self._came.clear()
            self._hub.publish(Event("bench.trip", data=_DATA))
            assert self._came.wait(60)
        return (perf_counter_ns() - begin) / _TRIPS


if __name__ == "__main__":
    from tests.benchmarks.measure import table

    print(table(run()))
