"""Turns by time, and events that a context could not finish: the next one goes on at the next subscriber."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from threading import Event as Flag
from time import monotonic
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import CallbackInterrupted
from tests.threads import LIMIT, elsewhere, until

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


@pytest.fixture
def hub() -> Iterator[EventHub]:
    hub = EventHub()
    yield hub
    hub.close(timeout=LIMIT)


def busy(event: Event) -> None:
    """Take two milliseconds of the thread."""
    end = monotonic() + 0.002
    while monotonic() < end:
        pass


def many_events(hub: EventHub, ran: list[Any]) -> None:
    hub.subscribe("topic=a", lambda event: busy(event) or ran.append(event.data))
    for n in range(60):
        hub.publish(Event("a", data=n))


def many_subscribers(hub: EventHub, ran: list[Any]) -> None:
    for n in range(60):
        hub.subscribe("topic=a", lambda event, n=n: busy(event) or ran.append(n))
    hub.publish(Event("a"))


def many_actions(hub: EventHub, ran: list[Any]) -> None:
    for n in range(60):
        hub.scheduler.schedule(lambda *_, n=n: busy(Event("a")) or ran.append(n))


WORK: dict[str, Callable[[EventHub, list[Any]], None]] = {
    "many events": many_events,
    "one event with many subscribers": many_subscribers,
    "many actions": many_actions,
}


@pytest.mark.parametrize("pause", [0, 0.001])
@pytest.mark.parametrize("work", WORK)
def test_run_lets_other_tasks_run_after_a_few_callbacks(hub: EventHub, work: str, pause: float) -> None:
    ran: list[Any] = []
    seen: list[int] = []

    async def main() -> None:
        async with asyncio.timeout(LIMIT):
            task = asyncio.create_task(hub.run())
            while len(ran) < 60:
                await asyncio.sleep(pause)
                seen.append(len(ran))
            task.cancel()
            await asyncio.wait([task])

    WORK[work](hub, ran)
    asyncio.run(main())
    assert ran == [*range(60)]
    # Eight milliseconds are at most five callbacks.
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) <= 5


@pytest.mark.parametrize("work", WORK)
def test_a_host_s_main_loop_gets_its_turns_after_a_few_callbacks(hub: EventHub, work: str) -> None:
    ran: list[Any] = []
    turns: list[int] = []
    queue: deque[Callable[[], None]] = deque()
    WORK[work](hub, ran)
    with hub.start(invoke=queue.append):
        while len(ran) < 60:
            until(lambda: queue)
            before = len(ran)
            queue.popleft()()
            turns.append(len(ran) - before)
    assert ran == [*range(60)] and max(turns) <= 5


def test_between_two_batches_nothing_comes_between_the_subscribers_of_one_event(hub: EventHub) -> None:
    ran: list[Any] = []
    for n in range(20):
        hub.subscribe("topic=a", lambda event, n=n: busy(event) or ran.append((event.data, n)))
    hub.subscribe("topic=a", lambda event: hub.publish(Event("b")) and None, priority=1)
    hub.subscribe("topic=b", lambda event: ran.append("b"))
    seen: list[Any] = []
    hub.deliveries.subscribe(lambda delivery: seen.append((delivery.event.topic, len(delivery))))
    hub.scheduler.schedule_relative(0.01, lambda *_: ran.append("timer"))
    hub.publish(Event("a", data=1))
    hub.publish(Event("a", data=2))
    with hub.start(invoke=lambda batch: batch()):
        until(lambda: len(seen) == 4)
    ran.remove("timer")
    assert ran == [(1, n) for n in range(20)] + [(2, n) for n in range(20)] + ["b", "b"]
    assert seen == [("a", 21), ("a", 21), ("b", 1), ("b", 1)]


def test_who_stops_an_event_stops_it_for_later_turns_too(hub: EventHub) -> None:
    ran: list[int] = []

    def callback(event: Event, n: int) -> None:
        busy(event)
        ran.append(n)
        if n == 12:
            event.stop()

    for n in range(20):
        hub.subscribe("topic=a", lambda event, n=n: callback(event, n))
    stopped: list[Any] = []
    hub.deliveries.subscribe(lambda delivery: stopped.append(delivery.stopped_by))
    hub.publish(Event("a"))
    with hub.start(invoke=lambda batch: batch()):
        until(lambda: stopped)
    assert ran == [*range(13)] and stopped != [None]


# Interrupted


class Interrupted:
    """Three subscribers, the second of which is interrupted in its work."""

    def __init__(self, hub: EventHub, swallow: bool = False, stop: bool = False) -> None:
        self.ran: list[str] = []
        self.begun = asyncio.Event()
        self.outcomes: list[Any] = []
        self.deliveries: list[Any] = []

        async def second(event: Event) -> None:
            self.ran.append("second")
            self.begun.set()
            if stop:
                event.stop()
            try:
                await asyncio.sleep(LIMIT)
            except asyncio.CancelledError:
                if not swallow:
                    raise

        async def third(event: Event) -> None:
            await asyncio.sleep(0)
            self.ran.append("third")

        hub.subscribe("topic=a", lambda event: self.ran.append("first"))
        hub.subscribe("topic=a", second)
        hub.subscribe("topic=a", third)
        hub.subscribe("topic=a", lambda event: self.ran.append("fourth"))
        hub.errors.subscribe(lambda outcome: self.outcomes.append(type(outcome.error)))
        hub.deliveries.subscribe(self.deliveries.append)
        hub.publish(Event("a"))

    async def interrupt(self, hub: EventHub) -> None:
        task = asyncio.create_task(hub.run())
        await asyncio.wait_for(self.begun.wait(), LIMIT)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=LIMIT)
        assert done and task.cancelled()


@pytest.mark.parametrize("swallow", [False, True])
def test_after_a_cancelled_run_the_next_context_goes_on_at_the_next_subscriber(hub: EventHub, swallow: bool) -> None:
    work = Interrupted(hub, swallow)
    asyncio.run(work.interrupt(hub))
    assert not hub.is_running and work.ran == ["first", "second"] and work.deliveries == []
    assert hub.drain() == 0
    assert work.ran == ["first", "second", "third", "fourth"]
    assert work.outcomes == ([] if swallow else [CallbackInterrupted])
    assert len(work.deliveries) == 1 and len(work.deliveries[0]) == 4
    assert [type(error) for error in work.deliveries[0].errors] == work.outcomes


def test_an_event_that_was_stopped_before_the_cancellation_goes_no_further(hub: EventHub) -> None:
    work = Interrupted(hub, stop=True)
    asyncio.run(work.interrupt(hub))
    hub.drain()
    assert work.ran == ["first", "second"] and len(work.deliveries) == 1


def test_what_comes_later_stays_behind_the_event_that_was_interrupted(hub: EventHub) -> None:
    work = Interrupted(hub)
    hub.subscribe("topic=b", lambda event: work.ran.append("b"))
    hub.publish(Event("b"))
    asyncio.run(work.interrupt(hub))
    hub.drain()
    assert work.ran == ["first", "second", "third", "fourth", "b"]


def test_a_timeout_around_run_ends_it_with_its_own_error(hub: EventHub) -> None:
    for swallow in (False, True):
        work = Interrupted(hub, swallow)

        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await hub.run()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(hub.run(), 0.01)

        asyncio.run(main())
        assert "second" in work.ran and not hub.is_running
        for subscriber in hub.describe().subscribers:
            hub.unsubscribe(subscriber.id)
        hub.drain()


def test_a_task_group_that_fails_loses_nothing(hub: EventHub) -> None:
    work = Interrupted(hub)

    async def fail() -> None:
        await work.begun.wait()
        raise KeyError

    async def main() -> None:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(hub.run())
                group.create_task(fail())

    asyncio.run(main())
    hub.drain()
    assert work.ran == ["first", "second", "third", "fourth"]


def test_a_callback_that_cancels_run_leaves_the_next_coroutine_to_the_next_context(hub: EventHub) -> None:
    ran: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def second(event: Event) -> None:
        ran.append("second")

    hub.subscribe("topic=a", lambda event: tasks[0].cancel() and None)
    hub.subscribe("topic=a", second)
    hub.publish(Event("a"))

    async def main() -> None:
        tasks.append(asyncio.create_task(hub.run()))
        done, _ = await asyncio.wait(tasks, timeout=LIMIT)
        assert done and tasks[0].cancelled() and ran == []

    asyncio.run(main())
    hub.drain()
    assert ran == ["second"]


def test_whenever_run_is_cancelled_each_subscriber_gets_each_event_once(hub: EventHub) -> None:
    begun: list[tuple[int, int]] = []

    def plain(event: Event, n: int) -> None:
        begun.append((event.data, n))

    async def coroutine(event: Event, n: int) -> None:
        begun.append((event.data, n))
        await asyncio.sleep(0)

    for n in range(6):
        callback = plain if n % 2 else coroutine
        hub.subscribe("topic=a", partial(callback, n=n))
    for data in range(60):
        hub.publish(Event("a", data=data))

    async def main() -> None:
        steps = 0
        while len(begun) < 360:
            task = asyncio.create_task(hub.run())
            steps = steps % 5 + 1
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(asyncio.wait_for(main(), LIMIT))
    hub.drain()
    assert begun == [(data, n) for data in range(60) for n in range(6)]


def test_a_run_in_a_task_that_was_cancelled_before_is_not_ended_by_a_callback_s_own_cancellation(hub: EventHub) -> None:
    ran: list[str] = []

    async def cancelled(event: Event) -> None:
        raise asyncio.CancelledError

    hub.subscribe("topic=a", cancelled)
    hub.subscribe("topic=a", lambda event: ran.append("next"))
    hub.publish(Event("a"))

    async def last_events() -> None:
        try:
            await asyncio.sleep(LIMIT)
        except asyncio.CancelledError:
            await hub.run()

    async def main() -> None:
        task = asyncio.create_task(last_events())
        await asyncio.sleep(0)
        task.cancel()
        while not ran:
            await asyncio.sleep(0)
        assert hub.is_running
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(asyncio.wait_for(main(), LIMIT))


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
@pytest.mark.parametrize("context", ["wait", "drain", "start", "invoke", "run"])
def test_what_ends_a_context_in_a_callback_leaves_the_rest_to_the_next(
    hub: EventHub, context: str, kind: str, raised: type[BaseException]
) -> None:
    ran: list[str] = []
    outcomes: list[Any] = []

    def plain(event: Event) -> None:
        raise raised

    async def coroutine(event: Event) -> None:
        await asyncio.sleep(0)
        raise raised

    hub.subscribe("topic=a", plain if kind == "plain" else coroutine)
    hub.subscribe("topic=a", lambda event: ran.append("next"))
    hub.errors.subscribe(lambda outcome: outcomes.append(type(outcome.error)))
    hub.publish(Event("a"))
    if context == "start":
        hub.start()
        until(lambda: not hub.is_running)
    elif context == "invoke":
        with pytest.raises(raised):
            _turn_by_hand(hub)
    else:
        with pytest.raises(raised):
            asyncio.run(hub.run()) if context == "run" else getattr(hub, context)()
    assert not hub.is_running and ran == [] and outcomes == [CallbackInterrupted]
    hub.drain()
    assert ran == ["next"]


def _turn_by_hand(hub: EventHub) -> None:
    queue: deque[Callable[[], None]] = deque()
    with hub.start(invoke=queue.append):
        until(lambda: queue)
        queue.popleft()()


def test_ctrl_c_in_an_observer_of_all_events_leaves_the_event_to_the_next_context(hub: EventHub) -> None:
    ran: list[str] = []
    with hub.events.subscribe(lambda event: signal.raise_signal(signal.SIGINT)):
        hub.subscribe("topic=a", lambda event: ran.append(event.topic))
        hub.publish(Event("a"))
        with pytest.raises(KeyboardInterrupt):
            hub.wait()
    hub.drain()
    assert ran == ["a"]


def test_the_rest_of_an_event_that_no_context_comes_for_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    hub = EventHub()
    asyncio.run(Interrupted(hub).interrupt(hub))
    hub.close()
    assert "1 events were waiting unhandled" in caplog.text


def test_a_context_that_is_ended_in_an_event_finishes_it_first(hub: EventHub) -> None:
    ran: list[int] = []
    entered = Flag()
    for n in range(20):
        hub.subscribe("topic=a", lambda event, n=n: entered.set() or busy(event) or ran.append(n))

    async def warm(event: Event) -> None:
        await asyncio.sleep(0)

    hub.subscribe("topic=a", warm, priority=1)
    handle = hub.start()
    hub.publish(Event("a"))
    assert entered.wait(LIMIT)
    with elsewhere(handle.dispose):
        pass
    assert ran == [*range(20)]
