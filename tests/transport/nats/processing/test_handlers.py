"""`hub.process` on a real server: timeouts, where handlers run, and stopping."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from threading import Event as Flag
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubClosed
from rxhub.testing import Nats
from rxhub.transport.nats.processing.processing import Counts, Processing
from tests.threads import LIMIT, until
from tests.transport.nats.processing.made import hold
from tests.transport.nats.processing.working import Seen, is_idle, publish

# Time


def test_a_thread_that_is_stuck_is_left_to_itself_and_its_late_result_ignored(
    hub: EventHub, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, seen = Flag(), Seen()

    def handle(event: Event) -> None:
        if event.data["value"] == "stuck" and not stuck.is_set():
            hold(stuck)
        seen(event)

    with hub.process("topic=a", handle, group="g", timeout=0.05, retries=0) as processing:
        publish(hub, "a", "stuck", 1)
        until(lambda: processing.counts.dead)
        assert seen.wait(1) == [1]
        stuck.set()
        until(lambda: "after its timeout" in caplog.text)
        assert processing.counts == Counts(1, 1, 0, 1, 0)
    assert next(hub.dead_letters.list()).reason == "The handler has not ended within 0.05 s."


def test_a_coroutine_is_cancelled_at_its_timeout(hub: EventHub) -> None:
    cancelled = Flag()

    async def handle(event: Event) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with hub.process("topic=a", handle, group="g", timeout=0.05, retries=0) as processing:
        publish(hub, "a", 1)
        until(lambda: processing.counts.dead)
    assert cancelled.is_set()


@pytest.mark.usefixtures("impatient")
def test_a_handler_that_takes_longer_than_the_server_waits_runs_once(hub: EventHub) -> None:
    seen = Seen()
    enough = Flag()

    def handle(event: Event) -> None:
        seen(event)
        enough.wait(1.5)

    with hub.process("topic=a", handle, group="g") as processing:
        # The second event waits all the time.
        publish(hub, "a", 1, 2)
        until(lambda: processing.counts.handled == 2)
    assert seen == [1, 2]


# Where handlers run


def test_as_many_run_at_a_time_as_may(hub: EventHub) -> None:
    barrier = threading.Barrier(4)
    with hub.process("topic=a", lambda _: barrier.wait(LIMIT), group="g", concurrency=4) as processing:
        publish(hub, "a", *range(8))
        until(lambda: processing.counts.handled == 8)


def test_coroutines_run_on_the_loop_of_the_caller_which_goes_on(nats: Nats) -> None:
    async def program() -> None:
        loop, seen = asyncio.get_running_loop(), list[Any]()

        async def handle(event: Event) -> None:
            assert asyncio.get_running_loop() is loop
            seen.append(event.data["value"])

        async with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
            await asyncio.to_thread(hub.connect)
            async with hub.process("topic=a", handle, group="g", concurrency=8) as processing:
                for value in range(20):
                    await hub.apublish(Event("a", data={"value": value}))
                while processing.counts.handled < 20:
                    await asyncio.sleep(0.005)
            assert sorted(seen) == list(range(20)) and not processing.is_active

    asyncio.run(asyncio.wait_for(program(), LIMIT))


def test_a_loop_that_ends_is_told_and_its_events_come_again(hub: EventHub, nats: Nats) -> None:
    begun = asyncio.Event()

    async def handle(event: Event) -> None:
        begun.set()
        await asyncio.sleep(1000)

    async def program() -> Processing:
        processing = hub.process("topic=a", handle, group="g", backoff=0.01)
        await asyncio.to_thread(publish, hub, "a", 1, 2)
        await begun.wait()
        return processing

    processing = asyncio.run(program())
    with pytest.raises(HubClosed, match="has ended"):
        processing.wait(LIMIT)
    seen = Seen()
    hub.process("topic=a", seen, group="g")
    assert sorted(seen.wait(2)) == [1, 2]


def test_handlers_may_publish(hub: EventHub) -> None:
    seen = Seen()
    hub.process("topic=a", lambda event: publish(hub, "b", event.data["value"] + 1), group="g")
    hub.process("topic=b", seen, group="h")
    publish(hub, "a", 1)
    assert seen.wait(1) == [2]


# Stopping


def test_stopping_lets_handlers_end_and_hands_back_what_has_not_begun(hub: EventHub) -> None:
    going, seen = Flag(), Seen()

    def handle(event: Event) -> None:
        seen(event)
        hold(going)

    first = hub.process("topic=a", lambda _: None, group="g")
    publish(hub, "a", *range(300))
    until(lambda: first.counts.handled == 300)
    first.stop()
    processing = hub.process("topic=a", handle, group="g", concurrency=2)
    publish(hub, "a", *range(10))
    seen.wait(2)
    stopping = threading.Thread(target=processing.stop, args=(LIMIT,))
    stopping.start()
    others = Seen()
    with hub.process("topic=a", others, group="g"):
        # At once, while two handlers still run.
        others.wait(8)
        going.set()
        stopping.join(LIMIT)
        until(lambda: is_idle(hub, "g"))
    assert processing.counts.handled == 2 and sorted(seen + others) == list(range(10))
    assert not processing.is_active and processing.wait(0)


def test_stopping_gives_up_threads_and_cancels_coroutines_after_the_timeout(
    hub: EventHub, caplog: pytest.LogCaptureFixture
) -> None:
    going, cancelled, begun = Flag(), Flag(), list[Event]()

    def handle(event: Event) -> None:
        begun.append(event)
        hold(going)

    async def handle_async(event: Event) -> None:
        begun.append(event)
        try:
            await asyncio.sleep(1000)
        finally:
            cancelled.set()

    stuck = hub.process("topic=a", handle, group="g")
    sleeping = hub.process("topic=a", handle_async, group="h")
    publish(hub, "a", 1)
    until(lambda: len(begun) == 2)
    stuck.stop(timeout=0.1)
    sleeping.stop(timeout=0.1)
    assert cancelled.is_set() and "g: 1 handlers still run" in caplog.text
    assert sleeping.counts == Counts(0, 0, 0, 0, 0)
    seen = Seen()
    with hub.process("topic=a", seen, group="h"):
        assert seen.wait(1) == [1]
    going.set()


def test_a_handler_may_stop_its_own_processing(hub: EventHub) -> None:
    stopped: list[Processing] = []

    def handle(event: Event) -> None:
        processing.stop()
        stopped.append(processing)

    processing = hub.process("topic=a", handle, group="g")
    publish(hub, "a", 1, 2)
    assert processing.wait(LIMIT) and processing.counts.handled == 1
    with hub.process("topic=a", seen := Seen(), group="g"):
        assert seen.wait(1) == [2]


def test_closing_the_hub_stops_its_processings_first(nats: Nats) -> None:
    hub = EventHub(nats.url, nats.user, nats.password, stream=nats.stream)
    hub.connect()
    begun, published = Flag(), list[Future[None] | None]()

    def handle(event: Event) -> None:
        begun.set()
        until(lambda: processing._worker._stopping is not None)  # type: ignore[union-attr]
        published.append(hub.publish(Event("b")))

    processing = hub.process("topic=a", handle, group="g")
    completed: list[bool] = []
    processing.failures.subscribe(on_completed=lambda: completed.append(True))
    publish(hub, "a", 1)
    assert begun.wait(LIMIT)
    hub.close()
    assert processing.counts.handled == 1 and not processing.is_active
    assert published[0] is not None and published[0].result(0) is None
    until(lambda: completed)
    with pytest.raises(HubClosed):
        hub.process("topic=a", print, group="g")


def test_a_closed_hub_begins_nothing_by_a_decorator_that_it_gave_before(hub: EventHub) -> None:
    decorate = hub.process("topic=a", group="g")
    hub.close()
    with pytest.raises(HubClosed):
        decorate(print)


def test_a_hub_that_is_closed_while_it_connects_for_a_group_stops_it(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Processing] = []
    start = Processing.start

    def and_close(processing: Processing, *arguments: Any) -> None:
        start(processing, *arguments)
        begun.append(processing)
        hub.close()

    monkeypatch.setattr(Processing, "start", and_close)
    with pytest.raises(HubClosed):
        hub.process("topic=a", print, group="g")
    assert begun[0].wait(LIMIT)


def test_stopping_twice_or_with_the_server_gone_ends_in_time(hub: EventHub) -> None:
    processing = hub.process("topic=a", print, group="g")
    processing.stop()
    processing.stop()
    assert "has ended" in repr(processing)
