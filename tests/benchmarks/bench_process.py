"""`hub.process` beside plain nats-py on the same server: taking events of a durable consumer and acknowledging each.

Wall clock, on the loopback, one server that keeps a stream in files. Both read what is stored already, 1 KB an event.
The peer fetches 256 messages at a time, decodes none of them, and acknowledges each.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from threading import Event as Flag
from threading import Lock
from time import perf_counter_ns, sleep
from typing import Any

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext

from rxhub import Event, EventHub
from tests.benchmarks.jetstream import jetstream
from tests.benchmarks.loop import Loop
from tests.benchmarks.measure import Row, at_most, compare, faster

__all__ = ["Processing", "run"]

_ROUNDS = 15
_EVENTS = 3_000
_FETCHED = 256
_SLOW_ROUNDS = 5
_SLOW_EVENTS = 3_000
_PATIENCE = 60.0
_DATA = {"text": "x" * 700, "entities": [{"entityType": "task", "keys": ["name", "status"]}]}

_PROCESSOR = """
import sys, time
from rxhub import EventHub

server, group = sys.argv[1:]
hub = EventHub(server, stream="process")
processing = hub.process(f"topic=bench.{group}", lambda event: time.sleep(0.001), group=group)
print("ready", flush=True)
sys.stdin.read()
hub.close()
"""


def run() -> list[Row]:
    """All are judged."""
    with ExitStack() as stack:
        server = stack.enter_context(jetstream())
        hub = stack.enter_context(EventHub(server, stream="process"))
        hub.connect()
        loop = stack.enter_context(Loop())
        trivial = compare(
            "1 KB event, durable consume and acknowledge",
            Processing(hub),
            _PlainFetching(stack, server, loop, hub),
            faster(0.8),
            peer_name="nats-py",
            rounds=_ROUNDS,
        )
        stored = [
            compare(
                f"handled once, {count} at a time",
                Processing(hub, f"once{count}", once=True, concurrency=count),
                Processing(hub, f"plain{count}", concurrency=count),
                at_most(most),
                peer_name="without once",
                rounds=_SLOW_ROUNDS,
            )
            for count, most in ((1, 3.0), (50, 1.5))
        ]
        two = compare(
            "two processors against one, handler waiting 1 ms",
            _Processors(stack, server, loop, hub, "two", 2),
            _Processors(stack, server, loop, hub, "one", 1),
            faster(1.9),
            peer_name="one processor",
            rounds=_SLOW_ROUNDS,
        )
        return [trivial, *stored, two]


def _store(hub: EventHub, topic: str, count: int, source: dict[str, str] | None = None) -> None:
    for future in [hub.publish(Event(topic, data=_DATA, source={**(source or {})})) for _ in range(count)]:
        assert future is not None
        future.result(_PATIENCE)


def _client(stack: ExitStack, server: str, loop: Loop) -> tuple[Client, JetStreamContext]:
    client: Client = loop.run(nats.connect(server))
    stack.callback(lambda: loop.run(client.close()))
    return client, client.jetstream()


class Processing:
    """A group of one process; a round is from the first call of its handler until the last event is acknowledged."""

    def __init__(
        self, hub: EventHub, group: str = "ours", source: dict[str, str] | None = None, **options: Any
    ) -> None:
        self._hub = hub
        self._source = source or {}
        self._topic = f"bench.{group}"
        self._options = {"group": group, **options}
        hub.process(f"topic={self._topic}", print, **self._options).stop()

    def __call__(self) -> float:
        _store(self._hub, self._topic, _EVENTS, source=self._source)
        left, began, handled, counting = _EVENTS, 0, Flag(), Lock()

        def handle(event: Event) -> None:
            nonlocal left, began
            if not began:
                began = perf_counter_ns()
            with counting:
                left -= 1
                if not left:
                    handled.set()

        with self._hub.process(f"topic={self._topic}", handle, **self._options) as processing:
            assert handled.wait(_PATIENCE)
            while processing.counts.handled < _EVENTS:
                sleep(0.0001)
            # All acknowledgements are on their way when it has stopped.
        return (perf_counter_ns() - began) / _EVENTS


class _PlainFetching:
    """nats-py's pull consumer."""

    def __init__(self, stack: ExitStack, server: str, loop: Loop, hub: EventHub) -> None:
        self._loop = loop
        self._hub = hub
        self._client, jetstream = _client(stack, server, loop)
        self._subscription = loop.run(
            jetstream.pull_subscribe("process.event.bench.plain", durable="plain", stream="process")
        )

    def __call__(self) -> float:
        _store(self._hub, "bench.plain", _EVENTS)
        return self._loop.run(self._round())

    async def _round(self) -> float:
        left, began = _EVENTS, 0
        while left:
            messages = await self._subscription.fetch(min(left, _FETCHED), timeout=_PATIENCE)
            began = began or perf_counter_ns()
            for message in messages:
                await message.ack()
            left -= len(messages)
        await self._client.flush()
        return (perf_counter_ns() - began) / _EVENTS


class _Processors:
    """Processes of one group; a round is from the first event that is published until all are acknowledged."""

    def __init__(self, stack: ExitStack, server: str, loop: Loop, hub: EventHub, group: str, count: int) -> None:
        self._loop = loop
        self._hub = hub
        self._group = group
        _, self._jetstream = _client(stack, server, loop)
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _PROCESSOR, server, group], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            assert process.stdin is not None and process.stdout is not None
            stack.callback(process.stdin.close)
            assert process.stdout.readline() == b"ready\n"

    def __call__(self) -> float:
        began = perf_counter_ns()
        _store(self._hub, f"bench.{self._group}", _SLOW_EVENTS)
        while not self._are_all_acknowledged():
            sleep(0.002)
        return (perf_counter_ns() - began) / _SLOW_EVENTS

    def _are_all_acknowledged(self) -> bool:
        info = self._loop.run(self._jetstream.consumer_info("process", self._group))
        return not info.num_pending and not info.num_ack_pending


if __name__ == "__main__":
    from tests.benchmarks.measure import table

    print(table(run()))
