"""Replay of a part of 100,000 stored events, beside plain nats-py with the same filter.

Wall clock, on the loopback, from the subscription to the end of history; times are for one event that the filter lets
through, so a replay is as proportional to what its filter lets through as they are equal. Both sides decode each event.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from time import perf_counter_ns
from typing import Any

import nats
from nats.aio.msg import Msg

from rxhub import Event, EventHub
from rxhub.transport.json_payload import write_event
from tests.benchmarks.jetstream import jetstream
from tests.benchmarks.measure import Row, at_most, compare

__all__ = ["run"]

_STREAM = "bench"
_EVENTS = 100_000
_DATA = {"text": "x" * 700, "entities": [{"entityType": "task", "keys": ["name", "status"]}]}
# How many of a hundred events have a topic; what lets a part of them through; and rounds, fewer where one takes longer.
_TOPICS = {"bench.rare": 1, "bench.some": 10, "bench.most": 89}
_PARTS = (("bench.rare", 1, 15), ("bench.some", 10, 7), ("bench.*", 100, 3))


def run() -> list[Row]:
    """The time for an event that is let through, of 1 %, of 10 % and of all; all of them are judged."""
    with ExitStack() as stack:
        server = stack.enter_context(jetstream())
        hub = stack.enter_context(EventHub(server, stream=_STREAM))
        hub.connect()
        stack.enter_context(hub.start())
        runner = stack.enter_context(asyncio.Runner())
        runner.run(_store(server))
        return [
            compare(
                f"{count:,} of {_EVENTS:,} events replayed, {percent} %",
                _Replaying(hub, topic, count),
                _PlainReading(runner, server, topic, count),
                at_most(1.5),
                peer_name="nats-py",
                rounds=rounds,
            )
            for topic, percent, rounds in _PARTS
            for count in (_EVENTS * percent // 100,)
        ]


async def _store(server: str) -> None:
    """Store the events, the topics evenly mixed."""
    client = await nats.connect(server)
    stream = client.jetstream(publish_async_max_pending=1_000)
    payloads = [
        (f"{_STREAM}.event.{topic}", write_event(Event(topic, data=_DATA)).encode())
        for topic, share in _TOPICS.items()
        for _ in range(share)
    ]
    payloads = [payloads[37 * number % 100] for number in range(100)]
    for _ in range(_EVENTS // 100):
        await asyncio.gather(*[await stream.publish_async(subject, payload) for subject, payload in payloads])
    await client.close()


class _Replaying:
    """A hub that replays; nothing is left to test of the subscription but its topic."""

    def __init__(self, hub: EventHub, topic: str, count: int) -> None:
        self._replay = hub.replay(f"topic={topic}")
        self._count = count

    def __call__(self) -> float:
        began = perf_counter_ns()
        self._replay.run()
        taken = perf_counter_ns() - began
        assert self._replay.progress.emitted == self._count
        return taken / self._count


class _PlainReading:
    """nats-py's ordered consumer, whose callback decodes the event and counts."""

    def __init__(self, runner: asyncio.Runner, server: str, topic: str, count: int) -> None:
        self._runner = runner
        self._server = server
        self._filter = f"{_STREAM}.event.{topic.replace('*', '>')}"
        self._count = count

    def __call__(self) -> float:
        return self._runner.run(self._read())

    async def _read(self) -> float:
        client = await nats.connect(self._server)
        left, done = self._count, asyncio.Event()

        async def count(msg: Msg) -> None:
            nonlocal left
            json.loads(msg.data)
            left -= 1
            if not left:
                done.set()

        began = perf_counter_ns()
        reading: Any = await client.jetstream().subscribe(
            self._filter, stream=_STREAM, cb=count, ordered_consumer=True, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        async with asyncio.timeout(120):
            await done.wait()
        taken = perf_counter_ns() - began
        await reading.unsubscribe()
        await client.close()
        return taken / self._count
