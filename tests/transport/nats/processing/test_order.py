"""Order across the processes of a group: one event at a time, or one at a time per key."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from threading import Event as Flag
from threading import Lock
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.testing import Nats
from rxhub.transport.nats.processing.group import PINNED, Group
from rxhub.transport.nats.processing.processing import Counts
from rxhub.transport.nats.pull_consumer import PullConsumer
from tests.threads import LIMIT, until
from tests.transport.nats.processing.made import hold
from tests.transport.nats.processing.working import Seen, another, ask, is_idle, publish


class Watched:
    """A handler that records when two events of one key run at the same time.

    Args:
        attempts: how often the event of each number fails before it succeeds.
    """

    def __init__(self, attempts: dict[int, int] | None = None) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.at_once: list[Any] = []
        self.most = 0
        self._left = defaultdict(int, attempts or {})
        self._inside: list[Any] = []
        self._lock = Lock()

    def __call__(self, event: Event) -> None:
        number, keys = event.data["number"], event.data["keys"]
        with self._lock:
            self.at_once += [key for key in keys if key in self._inside]
            self._inside += keys
            self.most = max(self.most, len(self._inside))
            self.begun.append(number)
        time.sleep(random.uniform(0, 0.003))
        with self._lock:
            for key in keys:
                self._inside.remove(key)
            self._left[number] -= 1
            if self._left[number] >= 0:
                raise ValueError(number)
            self.done.append(number)


def events_of(hub: EventHub, keys: list[list[str]]) -> None:
    futures = [hub.publish(Event("a", data={"number": n, "keys": own})) for n, own in enumerate(keys)]
    for future in futures:
        assert future is not None
        future.result(LIMIT)


def test_a_sequential_group_handles_one_event_at_a_time_in_all_its_processes(hub: EventHub, nats: Nats) -> None:
    watched = Watched()
    with another(nats) as second, another(nats) as third:
        for each in (hub, second, third):
            each.process("topic=a", watched, group="g", sequential=True)
        events_of(hub, [["same"]] * 150)
        until(lambda: len(watched.done) == 150)
    assert watched.done == list(range(150)) and not watched.at_once


def test_in_a_sequential_group_nothing_passes_an_event_that_fails(hub: EventHub) -> None:
    watched = Watched({1: 2, 3: 9})
    with hub.process("topic=a", watched, group="g", sequential=True, retries=3, backoff=0.02) as processing:
        events_of(hub, [["same"]] * 6)
        until(lambda: is_idle(hub, "g"))
        assert processing.counts == Counts(handled=5, failed=6, retried=5, dead=1, skipped=0)
    assert watched.begun == [0, 1, 1, 1, 2, 3, 3, 3, 3, 4, 5]
    assert [letter.event.data["number"] for letter in hub.dead_letters.list() if letter.event] == [3]


def test_a_sequential_group_passes_over_what_it_does_not_want(hub: EventHub) -> None:
    seen = Seen()
    with hub.process("topic=a and data.value > 40", seen, group="g", sequential=True) as processing:
        publish(hub, "a", *range(50))
        assert seen.wait(9) == list(range(41, 50))
        until(lambda: processing.counts.skipped == 41)


def test_events_of_a_key_run_in_order_and_others_at_the_same_time(hub: EventHub) -> None:
    watched = Watched()
    rows = [[f"k{(n * 7) % 10}"] for n in range(200)]
    with hub.process("topic=a", watched, group="g", key="data.keys", concurrency=8):
        events_of(hub, rows)
        until(lambda: len(watched.done) == 200)
    assert not watched.at_once and watched.most > 1
    for key in {row[0] for row in rows}:
        of_key = [n for n in watched.begun if rows[n] == [key]]
        assert of_key == sorted(of_key)


def test_an_event_with_several_values_waits_behind_all_of_them(hub: EventHub) -> None:
    watched = Watched()
    chance = random.Random(1)
    rows = [chance.sample("abcdef", chance.randint(1, 3)) for _ in range(150)]
    with hub.process("topic=a", watched, group="g", key="data.keys", concurrency=6):
        events_of(hub, rows)
        until(lambda: len(watched.done) == 150)
    assert not watched.at_once
    for key in "abcdef":
        of_key = [n for n in watched.begun if key in rows[n]]
        assert of_key == sorted(of_key)


def test_a_failing_event_keeps_its_place_among_those_of_its_key(hub: EventHub) -> None:
    watched = Watched({0: 2, 4: 99})
    rows = [["a"], ["a"], ["b"], ["b"], ["c"], ["c"]]
    with hub.process("topic=a", watched, group="g", key="data.keys", concurrency=4, retries=2, backoff=0.02) as it:
        events_of(hub, rows)
        until(lambda: is_idle(hub, "g"))
        assert it.counts == Counts(5, 5, 4, 1, 0)
    of_a = [n for n in watched.begun if n in (0, 1)]
    assert of_a == [0, 0, 0, 1]
    assert [n for n in watched.begun if n in (4, 5)] == [4, 4, 4, 5]


def test_one_process_orders_by_key_and_another_takes_over_at_once_when_it_stops(hub: EventHub, nats: Nats) -> None:
    first, second = Watched(), Watched()
    rows = [[f"k{n % 5}"] for n in range(300)]
    with another(nats) as other:
        one = hub.process("topic=a", first, group="g", key="data.keys", concurrency=3)
        events_of(other, [["k0"]])
        until(lambda: first.done)
        two = other.process("topic=a", second, group="g", key="data.keys", concurrency=3)
        first.begun.clear()
        first.done.clear()
        events_of(other, rows)
        until(lambda: len(first.done) > 50)
        assert two.counts.handled == 0
        one.stop()
        until(lambda: len(first.done) + len(second.done) == 300)
        assert sorted(first.done + second.done) == list(range(300))
    assert not first.at_once and not second.at_once
    for key in range(5):
        of_key = [n for n in first.begun + second.begun if n % 5 == key]
        assert of_key == sorted(of_key)


@pytest.mark.usefixtures("impatient")
def test_who_takes_over_begins_with_what_was_under_way(hub: EventHub, nats: Nats) -> None:
    lost, second = Watched(), Watched()
    with another(nats) as other:
        one = hub.process("topic=a", lost, group="g", key="data.keys", concurrency=3)
        events_of(other, [[f"k{n % 5}"] for n in range(60)])
        until(lambda: len(lost.done) > 10)
        # Like a killed process: disconnected, without pulls and reports.
        worker: Any = one._worker
        transport: Any = hub._link.transport
        transport.loop.call_soon_threadsafe(worker._handlers.executor.take_pending)
        transport.call(worker._link.close())
        other.process("topic=a", second, group="g", key="data.keys", concurrency=3)
        until(lambda: len(set(lost.done + second.done)) == 60)
        one.stop(timeout=0)
    assert not second.at_once
    for key in range(5):
        of_key = [n for n in second.begun if n % 5 == key]
        assert of_key == sorted(of_key)


def test_an_event_that_arrives_while_the_server_counts_does_not_hide_one_that_runs_elsewhere(
    hub: EventHub, nats: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, first, second = Flag(), Seen(), Seen()

    def slow(event: Event) -> None:
        first(event)
        hold(release)

    with another(nats) as other:
        hub.process("topic=a", slow, group="g", key="topic")
        publish(hub, "a", 0)
        first.wait(1)
        worker: Any = other.process("topic=a", second, group="g", key="topic")._worker
        read_info, counts = Group._info, []

        async def read_late(group: Group) -> dict[str, Any]:
            """The response about event 1, after event 2 has arrived."""
            found, held = await read_info(group), worker._in_flight.jobs
            if group is worker._group and held:
                counts.append(len(held))
                if counts == [1]:
                    await asyncio.to_thread(publish, hub, "a", 2)
                    while len(held) == 1:
                        await asyncio.sleep(0.01)
            return found

        monkeypatch.setattr(Group, "_info", read_late)
        ask(hub, "CONSUMER.UNPIN.{stream}.g", {"group": PINNED})
        publish(hub, "a", 1)
        until(lambda: len(counts) >= 2)
        assert first == [0] and second == []
        release.set()
        assert second.wait(2) == [1, 2] and first == [0]


@pytest.mark.usefixtures("impatient")
def test_an_event_that_is_lost_between_two_servers_keeps_its_place(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, receive, lost = Seen(), PullConsumer._receive, []

    def receive_most(pulling: PullConsumer, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        if b'"value":1' in data and not lost:
            lost.append(reply)
        else:
            receive(pulling, subject, reply, data, headers)

    monkeypatch.setattr(PullConsumer, "_receive", receive_most)
    hub.process("topic=a", seen, group="g", key="topic")
    publish(hub, "a", 0)
    seen.wait(1)
    publish(hub, "a", 1, 2, 3)
    assert seen.wait(4) == [0, 1, 2, 3] and lost
