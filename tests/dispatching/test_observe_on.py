"""A subscriber with a scheduler: its own line, its place at hand-over."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
from reactivex.scheduler import CurrentThreadScheduler, EventLoopScheduler, ImmediateScheduler, ThreadPoolScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxhub import Dispatcher, Event
from rxhub.errors import CallbackInterrupted, TooLate
from tests.by_hand import ByHand
from tests.threads import eager_collection, elsewhere

COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")


def test_the_place_is_taken_at_hand_over() -> None:
    dispatcher, scheduler, ran = Dispatcher(), ByHand(), []
    dispatcher.subscribe("", lambda event: ran.append("one"), priority=1)
    dispatcher.subscribe("", lambda event: ran.append("handed over"), priority=2, scheduler=scheduler)
    dispatcher.subscribe("", lambda event: ran.append("three"), priority=3)

    dispatcher.dispatch(Event("a"))
    assert ran == ["one", "three"]
    scheduler.run()
    assert ran == ["one", "three", "handed over"]


def test_who_stops_before_keeps_it_from_being_handed_over() -> None:
    dispatcher, scheduler, ran = Dispatcher(), ByHand(), []
    dispatcher.subscribe("", lambda event: event.stop(), priority=1)
    dispatcher.subscribe("", ran.append, priority=2, scheduler=scheduler)
    delivery = dispatcher.dispatch(Event("a"))
    scheduler.run()
    assert ran == [] and delivery.completed


def test_stopping_after_hand_over_is_too_late() -> None:
    dispatcher, scheduler, ran = Dispatcher(), ByHand(), []
    subscriber = dispatcher.subscribe("", lambda event: event.stop(), priority=1, scheduler=scheduler)
    dispatcher.subscribe("", lambda event: ran.append(event.topic), priority=2)

    event = Event("a")
    delivery = dispatcher.dispatch(event)
    scheduler.run()

    assert ran == ["a"]
    assert [type(error) for error in delivery.errors] == [TooLate]
    assert delivery.outcomes[-1].subscriber is subscriber
    assert delivery.stopped_by is None and not event.is_stopped()


@pytest.mark.parametrize("kind", [ThreadPoolScheduler, EventLoopScheduler])
def test_its_events_come_in_order_one_at_a_time(kind: Any) -> None:
    dispatcher, scheduler, got, busy = Dispatcher(), kind(), [], [0]

    def callback(event: Event) -> int:
        busy[0] += 1
        assert busy[0] == 1
        got.append(event.data)
        busy[0] -= 1
        return event.data

    dispatcher.subscribe("", callback, scheduler=scheduler)
    deliveries = [dispatcher.dispatch(Event("a", data=n)) for n in range(1, 301)]
    with elsewhere(lambda: [delivery.run() for delivery in deliveries]):
        pass
    assert got == list(range(1, 301))
    assert [delivery.results for delivery in deliveries] == [[n] for n in got]
    _end(scheduler)


def _end(scheduler: Any) -> None:
    if isinstance(scheduler, ThreadPoolScheduler):
        scheduler.executor.shutdown()
    else:
        scheduler.dispose()


@pytest.mark.parametrize("scheduler", [ImmediateScheduler(), CurrentThreadScheduler()])
def test_a_scheduler_that_runs_at_once_will_do(scheduler: Any) -> None:
    dispatcher, ran = Dispatcher(), []

    def callback(event: Event) -> None:
        ran.append(event.topic)
        if len(ran) < 50:
            dispatcher.dispatch(Event(f"a{len(ran)}"))

    dispatcher.subscribe("", callback, scheduler=scheduler)
    assert dispatcher.dispatch(Event("a0")).completed
    assert ran == [f"a{n}" for n in range(50)]


def test_a_failure_is_told_as_any_other(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, scheduler, told = Dispatcher(), ByHand(), []
    dispatcher.errors.subscribe(told.append)

    def callback(event: Event) -> None:
        raise ValueError("no")

    dispatcher.subscribe("", callback, scheduler=scheduler)
    delivery = dispatcher.dispatch(Event("a"))
    scheduler.run()
    assert [str(outcome.error) for outcome in told] == ["no"] == [str(error) for error in delivery.errors]
    assert "Error calling <Subscriber" in caplog.text


def test_answers_are_passed_on_when_they_come() -> None:
    dispatcher, scheduler, answers = Dispatcher(), ByHand(), []
    subscriber = dispatcher.subscribe("", lambda event: event.data, scheduler=scheduler)
    dispatcher.dispatch(Event("a", data=5), lambda event, who, result: answers.append((event.topic, who, result)))
    assert answers == []
    scheduler.run()
    assert answers == [("a", subscriber, 5)]


def test_who_unsubscribes_is_not_called_for_what_waits_in_line() -> None:
    dispatcher, scheduler, ran = Dispatcher(), ByHand(), []
    subscriber = dispatcher.subscribe("", lambda event: ran.append(event.data), scheduler=scheduler)
    deliveries = [dispatcher.dispatch(Event("a", data=n)) for n in (1, 2, 3)]
    scheduler.waiting.pop(0)()
    dispatcher.unsubscribe(subscriber.id)
    scheduler.run()
    assert ran == [1]
    assert all(delivery.completed for delivery in deliveries)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_callback_that_wants_to_exit_does_not_block_its_line(kind: type[BaseException]) -> None:
    dispatcher, scheduler, ran = Dispatcher(), ByHand(), []

    def callback(event: Event) -> None:
        ran.append(event.data)
        if event.data == 1:
            raise kind

    dispatcher.subscribe("", callback, scheduler=scheduler)
    first, second = (dispatcher.dispatch(Event("a", data=n)) for n in (1, 2))
    with pytest.raises(kind):
        scheduler.run()
    scheduler.run()

    assert ran == [1, 2]
    assert [type(error) for error in first.errors] == [CallbackInterrupted]
    assert isinstance(first.errors[0].__cause__, kind)
    assert second.completed and second.errors == []


def test_a_scheduler_that_takes_nothing_any_more_is_an_error_of_its_subscriber_alone() -> None:
    dispatcher, scheduler, ran = Dispatcher(), EventLoopScheduler(), []
    scheduler.dispose()
    dispatcher.subscribe("", lambda event: ran.append("never"), scheduler=scheduler, priority=1)
    dispatcher.subscribe("", lambda event: ran.append("later"), priority=2)

    for _ in range(2):
        delivery = dispatcher.dispatch(Event("a"))
        assert delivery.completed and len(delivery.errors) == 1
    assert ran == ["later"] * 2


def test_a_callback_runs_in_a_copy_of_the_context_of_subscribing() -> None:
    dispatcher, scheduler, seen = Dispatcher(), ByHand(), []

    def callback(event: Event) -> None:
        seen.append(COLOUR.get())
        COLOUR.set("lost")

    async def coroutine(event: Event) -> None:
        await asyncio.sleep(0)
        callback(event)

    token = COLOUR.set("red")
    dispatcher.subscribe("topic=a", callback, scheduler=scheduler)
    dispatcher.subscribe("topic=b", coroutine, scheduler=scheduler)
    COLOUR.reset(token)

    for topic in "aabb":
        dispatcher.dispatch(Event(topic))
    scheduler.run()
    assert seen == ["red"] * 4
    assert COLOUR.get() == "none"


def test_a_coroutine_runs_on_the_loop_that_its_scheduler_brings_it_to() -> None:
    dispatcher, seen = Dispatcher(), []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def callback(event: Event) -> Any:
            await asyncio.sleep(0.001)
            seen.append((event.data, asyncio.get_running_loop() is loop, COLOUR.get()))
            if event.data == 2:
                raise ValueError("two")
            if event.data == 3:
                asyncio.current_task().cancel()
                await asyncio.sleep(1)
            return event.data

        token = COLOUR.set("blue")
        dispatcher.subscribe("", callback, scheduler=AsyncIOScheduler(loop))
        COLOUR.reset(token)
        deliveries = [dispatcher.dispatch(Event("a", data=n)) for n in (1, 2, 3, 4)]
        for delivery in deliveries:
            await delivery
        assert [delivery.results for delivery in deliveries] == [[1], [], [], [4]]
        assert [str(error) for error in deliveries[1].errors] == ["two"]
        assert [type(error) for error in deliveries[2].errors] == [CallbackInterrupted]

    asyncio.run(main())
    assert seen == [(n, True, "blue") for n in (1, 2, 3, 4)]


def test_a_coroutine_on_a_thread_gets_a_loop_of_its_own() -> None:
    dispatcher, scheduler = Dispatcher(), ThreadPoolScheduler(1)

    async def callback(event: Event) -> str:
        await asyncio.sleep(0)
        return "awaited"

    dispatcher.subscribe("", callback, scheduler=scheduler)
    assert dispatcher.dispatch(Event("a")).run().result == "awaited"
    scheduler.executor.shutdown()


def test_publishing_a_handed_over_event_again_starts_fresh() -> None:
    dispatcher, scheduler, ran = Dispatcher(), ByHand(), []
    dispatcher.subscribe("topic=a", lambda event: dispatcher.dispatch(event.envelope()), scheduler=scheduler)
    dispatcher.subscribe("topic=a", lambda event: ran.append(event.stop()))
    event = Event("a")
    dispatcher.dispatch(event)
    assert event.is_stopped()
    scheduler.waiting.pop(0)()
    assert len(ran) == 2


def test_a_finalizer_may_dispatch_in_the_middle_of_a_hand_over() -> None:
    dispatcher, scheduler = Dispatcher(), ByHand()
    dispatcher.subscribe("", lambda event: None, scheduler=scheduler)

    class Owner:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            dispatcher.dispatch(Event("b"))

    def work() -> None:
        for _ in range(300):
            Owner()
            dispatcher.dispatch(Event("a")).subscribe()
        scheduler.run()

    with eager_collection(), elsewhere(work):
        pass
