"""Events as an async iterator."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from reactivex.disposable import Disposable

from rxhub import Event, EventHub, Subject
from rxhub.errors import ExpressionError, HubClosed, NotHandled
from rxhub.hub.stream import EventStream
from tests.threads import LIMIT, elsewhere

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


def stream(source: Subject[Event], capacity: int = 10, handled: bool = True) -> EventStream:
    return EventStream(source, capacity, Present(handled))


class Present:
    """A hub that is handled for good, or never."""

    here = False

    def __init__(self, handled: bool) -> None:
        self._handled = handled

    def stops_in(self) -> float | None:
        return None if self._handled else 0.0

    def watch(self, tell: object) -> Disposable:
        return Disposable()


async def read(events: EventStream, count: int) -> list[Any]:
    return [(await asyncio.wait_for(anext(events), LIMIT)).data for _ in range(count)]


def test_it_gives_the_events_from_its_making_on_and_ends_with_the_source() -> None:
    async def main() -> list[Any]:
        source: Subject[Event] = Subject()
        source.on_next(Event("a", data="before"))
        events = stream(source)
        for n in (1, 2, 3):
            source.on_next(Event("a", data=n))
        source.on_completed()
        return [event.data async for event in events]

    assert asyncio.run(main()) == [1, 2, 3]


def test_who_waits_is_woken_from_any_thread() -> None:
    async def main() -> list[Any]:
        source: Subject[Event] = Subject()
        events = stream(source, capacity=50)
        reading = asyncio.create_task(read(events, 50))
        await asyncio.sleep(0)

        def publish() -> None:
            for n in range(50):
                source.on_next(Event("a", data=n))

        with elsewhere(publish):
            pass
        return await reading

    assert asyncio.run(main()) == list(range(50))


def test_the_end_wakes_who_waits() -> None:
    async def main() -> None:
        source: Subject[Event] = Subject()
        events = stream(source)
        reading = asyncio.create_task(read(events, 1))
        await asyncio.sleep(0)
        source.on_completed()
        with pytest.raises(StopAsyncIteration):
            await reading
        with pytest.raises(StopAsyncIteration):
            await anext(events)

    asyncio.run(main())


def test_an_error_of_the_source_is_raised_after_what_is_buffered() -> None:
    async def main() -> None:
        source: Subject[Event] = Subject()
        events = stream(source)
        source.on_next(Event("a", data=1))
        source.on_error(ValueError("source"))
        assert await read(events, 1) == [1]
        for _ in range(2):
            with pytest.raises(ValueError, match="source"):
                await anext(events)

    asyncio.run(main())


def test_a_slow_consumer_loses_the_oldest_and_they_are_counted() -> None:
    async def main() -> None:
        source: Subject[Event] = Subject()
        events = stream(source, capacity=3)
        for n in range(10):
            source.on_next(Event("a", data=n))
        assert events.dropped == 7
        assert await read(events, 3) == [7, 8, 9]

    asyncio.run(main())


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_is_at_least_one(capacity: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        stream(Subject(), capacity)


def test_it_does_not_wait_for_what_nobody_handles() -> None:
    async def main() -> None:
        source: Subject[Event] = Subject()
        events = stream(source, handled=False)
        source.on_next(Event("a", data=1))
        assert await read(events, 1) == [1]
        with pytest.raises(NotHandled, match=r"hub.start\(\)"):
            await anext(events)

    asyncio.run(main())


def test_closing_leaves_the_order_and_what_is_buffered_can_be_read() -> None:
    async def main() -> list[Any]:
        source: Subject[Event] = Subject()
        async with stream(source) as events:
            source.on_next(Event("a", data=1))
        assert source.observers == []
        source.on_next(Event("a", data=2))
        events.close()
        return [event.data async for event in events]

    assert asyncio.run(main()) == [1]


def test_who_gives_up_waiting_loses_nothing() -> None:
    async def main() -> list[Any]:
        source: Subject[Event] = Subject()
        events = stream(source)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.001)
        source.on_next(Event("a", data=1))
        return await read(events, 1)

    assert asyncio.run(main()) == [1]


def test_two_tasks_cannot_wait_for_the_same_event() -> None:
    async def main() -> list[Any]:
        source: Subject[Event] = Subject()
        events = stream(source)
        first = asyncio.create_task(read(events, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="Each task needs its own"):
            await anext(events)
        source.on_next(Event("a", data=1))
        return await first

    assert asyncio.run(main()) == [1]


def test_a_loop_that_was_closed_does_not_concern_the_source() -> None:
    source: Subject[Event] = Subject(on_observer_error="raise")
    events = stream(source)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(read(events, 1))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    waiting.cancel()
    loop.run_until_complete(asyncio.wait([waiting]))
    loop.close()
    source.on_next(Event("a"))


def test_a_stream_that_nobody_holds_leaves_the_order() -> None:
    hub = EventHub()
    events = hub.stream("topic=a")
    seen = weakref.ref(events)
    assert len(hub.describe()) == 1
    del events
    gc.collect()
    assert seen() is None and len(hub.describe()) == 0
    hub.close()


# hub.stream


def test_a_hub_streams_what_matches_and_ends_when_it_closes() -> None:
    async def main() -> list[Any]:
        got: list[Any] = []

        async def consume(events: EventStream) -> None:
            async for event in events:
                got.append(event.data)
                await asyncio.sleep(0)

        async with EventHub() as hub:
            consuming = asyncio.create_task(consume(hub.stream("topic=a and data>1")))
            for n in (1, 2, 3):
                await hub.apublish(Event("a", data=n))
            await hub.apublish(Event("b", data=4))
            while len(got) < 2:
                await asyncio.sleep(0)
        await asyncio.wait_for(consuming, LIMIT)
        return got

    assert asyncio.run(main()) == [2, 3]


def test_a_stream_has_its_place_in_the_order() -> None:
    async def main() -> list[Any]:
        async with EventHub() as hub:
            early, late = hub.stream("topic=a", priority=1), hub.stream("topic=a", priority=200)
            hub.subscribe("topic=a and data=1", lambda event: event.stop())
            await hub.apublish(Event("a", data=1))
            await hub.apublish(Event("a", data=2))
            return [await read(early, 2), await read(late, 1)]

    assert asyncio.run(main()) == [[1, 2], [2]]


def test_disconnecting_with_its_subscribers_ends_a_stream() -> None:
    async def main() -> None:
        async with EventHub() as hub:
            events = hub.stream("topic=a")
            reading = asyncio.create_task(read(events, 1))
            await asyncio.sleep(0)
            hub.disconnect()
            with pytest.raises(StopAsyncIteration):
                await reading

    asyncio.run(main())


def test_a_bad_subscription_and_a_closed_hub_are_refused() -> None:
    hub = EventHub()
    with pytest.raises(ExpressionError):
        hub.stream("topic=")
    hub.close()
    with pytest.raises(HubClosed):
        hub.stream("topic=a")


def test_a_consumer_in_another_thread_s_loop() -> None:
    hub = EventHub()
    events = hub.stream("topic=a")
    with hub.start(), elsewhere(asyncio.run, read(events, 20)) as reading:
        for n in range(20):
            hub.publish(Event("a", data=n))
        assert reading.join() == list(range(20))
    hub.close()
