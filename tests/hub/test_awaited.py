"""Awaiting a hub's observables, and what is piped from them, while another thread handles the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Timer
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.internal.exceptions import SequenceContainsNoElementsError

from rxhub import Event, EventHub, Signal, Subject, overflow, resume, where
from rxhub.rx.awaitable import Awaitable
from rxhub.testing import Recording
from tests.threads import LIMIT, elsewhere, until

Make = Callable[[EventHub], Observable[Any]]

FIRST: dict[str, Make] = {
    "on": lambda hub: hub.on("topic=a").pipe(ops.take(1)),
    "on, several operators": lambda hub: hub.on("").pipe(where("topic=a"), ops.map(lambda e: e), ops.first()),
    "on, several pipes": lambda hub: hub.on("topic=a").pipe(ops.map(lambda e: e)).pipe(ops.take(1)),
    "on, a slice": lambda hub: hub.on("topic=a")[0:1],
    "on, behind another": lambda hub: (hub.on("topic=a") + reactivex.never()).pipe(ops.take(1)),
    "on, shared": lambda hub: hub.on("topic=a").pipe(ops.share(), ops.take(1)),
    "on, published": lambda hub: hub.on("topic=a").pipe(ops.publish()).auto_connect().pipe(ops.take(1)),
    "on, replayed": lambda hub: hub.on("topic=a").pipe(ops.replay(1)).pipe(ops.ref_count()).pipe(ops.take(1)),
    "on, divided": lambda hub: hub.on("").pipe(ops.partition(lambda e: e.topic == "a"))[0].pipe(ops.take(1)),
    "on, resumed": lambda hub: hub.on("topic=a").pipe(ops.take(1), resume(ops.map(lambda e: e))),
    "on, bounded": lambda hub: hub.on("topic=a").pipe(ops.take(1), overflow(10)),
    "events": lambda hub: hub.events.pipe(ops.filter(lambda e: e.topic == "a"), ops.take(1)),
    "deliveries": lambda hub: hub.deliveries.pipe(ops.take(1), ops.map(lambda delivery: delivery.event)),
    "state": lambda hub: hub.state.pipe(ops.merge(hub.on("topic=a")), ops.skip(1), ops.take(1)),
}


@pytest.mark.parametrize("name", FIRST)
def test_a_value_of_the_handling_thread_wakes_who_awaits_a_pipe(name: str) -> None:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        with EventHub() as hub, hub.start():
            # Later than the loop's falling asleep, so that only a wake-up across threads helps.
            loop.call_later(0.02, lambda: Timer(0.02, hub.publish, (Event("a", data=7),)).start())
            async with asyncio.timeout(LIMIT):
                return await FIRST[name](hub)

    assert asyncio.run(main()).data == 7


def test_run_of_a_pipe_waits_for_the_handling_thread() -> None:
    with EventHub() as hub, hub.start():
        with elsewhere(hub.on("topic=a").pipe(ops.take(1)).run) as running:
            until(lambda: hub.describe().subscribers)
            hub.publish(Event("a", data=7))
        assert running.result.data == 7


def test_the_reply_to_a_request_wakes_who_awaits_it() -> None:
    async def main() -> Any:
        with EventHub() as hub, hub.start():
            hub.subscribe("topic=a", lambda event: event.data + 1)
            async with asyncio.timeout(LIMIT):
                return await hub.request(Event("a", data=1)).pipe(ops.first(), ops.map(lambda reply: reply.data))

    assert asyncio.run(main()) == 2


def test_an_error_of_the_handling_thread_is_raised() -> None:
    def fail(event: Event) -> Event:
        raise KeyError("lost")

    async def main() -> None:
        with EventHub() as hub, hub.start():
            asyncio.get_running_loop().call_later(0.02, hub.publish, Event("a"))
            async with asyncio.timeout(LIMIT):
                await hub.on("topic=a").pipe(ops.map(fail))

    with pytest.raises(KeyError, match="lost"):
        asyncio.run(main())


def test_the_end_of_a_hub_without_a_value_is_reactivex_s_error() -> None:
    async def main() -> None:
        with EventHub() as hub, hub.start():
            waiting = asyncio.ensure_future(_awaited(hub.events.pipe(ops.map(lambda event: event))))
            while not hub.events.observers:
                await asyncio.sleep(0)
            Timer(0.02, hub.close).start()
            async with asyncio.timeout(LIMIT):
                await waiting

    with pytest.raises(SequenceContainsNoElementsError):
        asyncio.run(main())


def test_who_is_cancelled_leaves_the_order() -> None:
    async def main() -> list[Any]:
        with EventHub() as hub, hub.start():
            waiting = asyncio.ensure_future(_awaited(hub.on("topic=a").pipe(ops.take(1))))
            while not hub.describe().subscribers:
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            return list(hub.describe().subscribers)

    assert asyncio.run(main()) == []


def test_each_await_subscribes_anew_in_whichever_loop() -> None:
    with EventHub() as hub, hub.start():
        pipe = hub.on("topic=a").pipe(ops.take(1))
        for data in (1, 2):
            with elsewhere(asyncio.run, _awaited(pipe)) as one, elsewhere(asyncio.run, _awaited(pipe)) as other:
                until(lambda: len(hub.describe().subscribers) == 2)
                hub.publish(Event("a", data=data))
            assert [one.result.data, other.result.data] == [data, data]


def test_a_loop_that_was_closed_does_not_disturb_the_hub() -> None:
    with EventHub() as hub, hub.start():
        errors: list[Any] = []
        hub.errors.subscribe(errors.append)
        loop = asyncio.new_event_loop()
        steps: list[Any] = []

        async def begin() -> None:
            steps.append(hub.on("topic=a").pipe(ops.take(1)).__await__())
            steps[0].send(None)

        loop.run_until_complete(begin())
        loop.close()
        hub.publish(Event("a"))
        until(lambda: not hub.describe().subscribers)
        assert errors == []


def test_pipes_of_signals_subjects_and_recordings_wake_who_awaits_them() -> None:
    signal: Signal[...] = Signal("saved")
    subject = Subject[int]()
    recording = Recording([(0.0, Event("a", data=7))])

    async def main() -> list[Any]:
        waiting = [
            asyncio.ensure_future(_awaited(observable))
            for observable in (
                signal.pipe(ops.take(1), ops.map(lambda emission: emission["data"])),
                signal.on("data=7").pipe(ops.take(1), ops.map(lambda emission: emission["data"])),
                signal.of("x").pipe(ops.take(1), ops.map(lambda emission: emission["data"])),
                subject.pipe(ops.take(1)),
                recording.replay().pipe(ops.map(lambda event: event.data)),
            )
        ]
        await asyncio.sleep(0)
        Timer(0.02, lambda: (signal.send("x", data=7), subject.on_next(7))).start()
        async with asyncio.timeout(LIMIT):
            return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [7] * 5


def test_what_is_piped_costs_its_observers_nothing() -> None:
    subject = Subject[int]()
    plain = Observable(lambda observer, scheduler=None: subject.subscribe(observer, scheduler=scheduler))
    made = subject.pipe(lambda source: plain)
    assert isinstance(made, Awaitable)
    made.subscribe(print)
    # The source's own gate is the only one before the observer, and that of plain.
    assert len(subject.observers) == 1


def test_what_has_methods_of_its_own_stays_what_it_is() -> None:
    subject = Subject[int]()
    assert subject.pipe() is subject
    shared = subject.pipe(ops.publish())
    seen: list[int] = []
    shared.subscribe(seen.append)
    subject.on_next(1)
    with shared.connect():
        subject.on_next(2)
    subject.on_next(3)
    assert seen == [2]


async def _awaited(observable: Observable[Any]) -> Any:
    return await observable
