"""Receiving 1 KB events from a server through a hub, beside ftrack's hub on the same server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from time import perf_counter_ns
from typing import Any

import ftrack_api.event.base
import ftrack_api.event.hub

from rxhub import Event, EventHub
from tests.benchmarks.flood_server import FLOOD
from tests.benchmarks.measure import Row, compare, faster

__all__ = ["run"]

_ROUNDS = 15


class _Receiving:
    """A connected, handled hub with one subscriber; a round is one flood."""

    def __init__(self, hub: Any, event: Any) -> None:
        self._hub = hub
        self._event = event
        self._left = 0
        self._done = Flag()
        hub.subscribe("topic=bench.event", self._count)
        hub.connect()

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


def run() -> list[Row]:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "tests.benchmarks.flood_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            with EventHub(url, "me", "key") as hub, hub.start():
                theirs = ftrack_api.event.hub.EventHub(url, "me", "key")
                ours, peer = _Receiving(hub, Event), _Receiving(theirs, ftrack_api.event.base.Event)
                Thread(target=theirs.wait, daemon=True).start()
                row = compare(
                    "1 KB event, received and handled",
                    ours,
                    peer,
                    faster(3),
                    peer_name="ftrack's hub",
                    rounds=_ROUNDS,
                )
                theirs.disconnect()
            return [row]
        finally:
            server.kill()
