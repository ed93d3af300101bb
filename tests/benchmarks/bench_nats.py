"""A hub on JetStream beside plain nats-py on the same server: acknowledged publishing, and reading live.

Wall clock, on the loopback, one server that keeps a stream in files. Both sides have 256 messages of 1 KB under way.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from itertools import count
from threading import Event as Flag
from time import perf_counter_ns
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from rxhub import Event, EventHub
from rxhub.transport.json_payload import write_event
from tests.benchmarks.jetstream import jetstream
from tests.benchmarks.loop import Loop
from tests.benchmarks.measure import Row, compare, faster

__all__ = ["run"]

_ROUNDS = 15
_EVENTS = 2_000
_SUBSCRIPTIONS = 10_000
_IN_FLIGHT = 256
_DATA = {"text": "x" * 700, "entities": [{"entityType": "task", "keys": ["name", "status"]}]}


def run() -> list[Row]:
    """Publishing, and reading with one subscription and with ten thousand; the first and the last are judged."""
    with ExitStack() as stack:
        server = stack.enter_context(jetstream())
        loop = stack.enter_context(Loop())
        publishing = compare(
            f"1 KB event, published and acknowledged, {_IN_FLIGHT} under way",
            _Publishing(stack, server),
            _PlainPublishing(stack, server, loop),
            faster(0.8),
            peer_name="nats-py",
            rounds=_ROUNDS,
        )
        awaiting = compare(
            "the same, beside a task for each that awaits its acknowledgement",
            _Publishing(stack, server),
            _PlainAwaiting(stack, server, loop),
            faster(0.8),
            peer_name="nats-py",
            rounds=_ROUNDS,
        )
        few = compare(
            "1 KB event, read live and handled",
            _Reading(stack, server, "few", 1),
            _PlainReading(stack, server, loop, "few"),
            peer_name="nats-py",
            rounds=_ROUNDS,
        )
        many = compare(
            f"the same among {_SUBSCRIPTIONS:,} subscriptions, of which one matches",
            _Reading(stack, server, "many", _SUBSCRIPTIONS),
            _PlainReading(stack, server, loop, "many"),
            faster(0.7),
            peer_name="nats-py",
            rounds=_ROUNDS,
        )
        return [publishing, awaiting, few, many]


_numbers = count()


def _hub(stack: ExitStack, server: str, stream: str) -> EventHub:
    hub = stack.enter_context(EventHub(server, stream=stream))
    hub.connect()
    stack.enter_context(hub.start())
    return hub


def _client(stack: ExitStack, server: str, loop: Loop) -> tuple[Client, JetStreamContext]:
    client: Client = loop.run(nats.connect(server))
    stack.callback(lambda: loop.run(client.close()))
    return client, client.jetstream(publish_async_max_pending=_IN_FLIGHT)


class _Publishing:
    """A hub that publishes; a round is done when the last event is acknowledged."""

    def __init__(self, stack: ExitStack, server: str) -> None:
        self._hub = _hub(stack, server, "ours")

    def __call__(self) -> float:
        events = [Event("bench.published", data=_DATA) for _ in range(_EVENTS)]
        began = perf_counter_ns()
        for future in [self._hub.publish(event) for event in events]:
            assert future is not None
            future.result(60)
        return (perf_counter_ns() - began) / _EVENTS


class _PlainPublishing:
    """nats-py with the same bytes and a message id."""

    def __init__(self, stack: ExitStack, server: str, loop: Loop) -> None:
        self._loop = loop
        _, self._stream = _client(stack, server, loop)
        loop.run(self._stream.add_stream(name="plain", subjects=["plain.>"]))
        self._numbers = _numbers

    def __call__(self) -> float:
        return self._loop.run(self._round())

    async def _round(self) -> float:
        payloads = [write_event(Event("bench.published", data=_DATA)).encode() for _ in range(_EVENTS)]
        began = perf_counter_ns()
        answers = [
            await self._stream.publish_async(
                "plain.bench.published", payload, headers={"Nats-Msg-Id": f"id{next(self._numbers)}"}
            )
            for payload in payloads
        ]
        await asyncio.gather(*answers)
        return (perf_counter_ns() - began) / _EVENTS


class _PlainAwaiting(_PlainPublishing):
    """nats-py's `publish`, which gives back the acknowledgement, in as many tasks."""

    async def _round(self) -> float:
        turns = iter([write_event(Event("bench.published", data=_DATA)).encode() for _ in range(_EVENTS)])

        async def work() -> None:
            for payload in turns:
                headers = {"Nats-Msg-Id": f"id{next(self._numbers)}"}
                await self._stream.publish("plain.bench.published", payload, headers=headers)

        began = perf_counter_ns()
        await asyncio.gather(*[work() for _ in range(_IN_FLIGHT)])
        return (perf_counter_ns() - began) / _EVENTS


class _Between:
    """Counts what is read, and takes the time between the first and the last."""

    def __init__(self) -> None:
        self._left = _EVENTS
        self._began = self._ended = 0
        self._done = Flag()

    def count(self) -> None:
        if self._left == _EVENTS:
            self._began = perf_counter_ns()
        self._left -= 1
        if not self._left:
            self._ended = perf_counter_ns()
            self._done.set()

    def result(self) -> float:
        assert self._done.wait(60)
        return (self._ended - self._began) / (_EVENTS - 1)


class _Reading:
    """A hub with some subscriptions, of which one matches; a round reads what was stored while it was away."""

    def __init__(self, stack: ExitStack, server: str, name: str, subscriptions: int) -> None:
        self._publisher = _hub(stack, server, f"read-{name}")
        self._hub = _hub(stack, server, f"read-{name}")
        for number in range(subscriptions):
            self._hub.subscribe(f"topic=bench.read and data.number={number}", self._count)
        self._between = _Between()

    def _count(self, event: Event) -> None:
        self._between.count()

    def __call__(self) -> float:
        self._between = _Between()
        self._hub.disconnect(unsubscribe=False, reconnect=True)
        events = [Event("bench.read", data={**_DATA, "number": 0}) for _ in range(_EVENTS)]
        for future in [self._publisher.publish(event) for event in events]:
            assert future is not None
            future.result(60)
        self._hub.connect()
        return self._between.result()


class _PlainReading:
    """nats-py's ordered consumer, on what a hub's stream holds; its callback decodes the event, and counts."""

    def __init__(self, stack: ExitStack, server: str, loop: Loop, name: str) -> None:
        self._loop = loop
        self._stream = f"read-{name}"
        _, self._jetstream = _client(stack, server, loop)

    def __call__(self) -> float:
        between = _Between()

        async def count(msg: Msg) -> None:
            json.loads(msg.data)
            between.count()

        async def subscribe() -> Any:
            last = (await self._jetstream.stream_info(self._stream)).state.last_seq
            return await self._jetstream.subscribe(
                f"{self._stream}.event.>",
                stream=self._stream,
                cb=count,
                ordered_consumer=True,
                config=ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=last - _EVENTS + 1),
            )

        subscription = self._loop.run(subscribe())
        try:
            return between.result()
        finally:
            self._loop.run(subscription.unsubscribe())
