"""One event's outcomes, as an observable that replays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.scheduler import ThreadPoolScheduler

from rxhub import Delivery, Dispatcher, Event, Outcome
from tests.by_hand import ByHand
from tests.threads import LIMIT, at_once


def seen(delivery: Delivery) -> list[Any]:
    """What an observer of the delivery gets now, and from now on."""
    got: list[Any] = []
    delivery.subscribe(lambda o: got.append(o.error or o.result), got.append, lambda: got.append("done"))
    return got


def fail(event: Event) -> None:
    raise ValueError(event.topic)


def test_it_emits_an_outcome_for_each_callback_in_the_order_in_which_they_ran() -> None:
    dispatcher = Dispatcher()
    last = dispatcher.subscribe("topic=a", lambda event: 3, priority=200)
    first = dispatcher.subscribe("topic=a", lambda event: 1, priority=1)
    event = Event("a")

    delivery = dispatcher.dispatch(event)

    assert delivery.event is event
    assert [outcome.subscriber for outcome in delivery] == [first, last]
    assert seen(delivery) == [1, 3, "done"]
    assert seen(delivery) == [1, 3, "done"]
    assert delivery.completed and len(delivery) == 2


def test_results_errors_and_who_stopped_it() -> None:
    dispatcher = Dispatcher()
    dispatcher.subscribe("", lambda event: None, priority=1)
    dispatcher.subscribe("", fail, priority=2)
    stopper = dispatcher.subscribe("", lambda event: event.stop(), priority=3)
    dispatcher.subscribe("", lambda event: "never", priority=4)

    delivery = dispatcher.dispatch(Event("a"))

    assert delivery.results == [None, None]
    assert [str(error) for error in delivery.errors] == ["a"]
    assert delivery.stopped_by is stopper
    assert [outcome.error is None for outcome in delivery.outcomes] == [True, False, True]
    assert "3 outcomes, 1 errors, stopped by" in repr(delivery)


def test_a_delivery_to_nobody_is_empty_but_true() -> None:
    delivery = Dispatcher().dispatch(Event("a"))
    assert len(delivery) == 0 and list(delivery) == [] and delivery
    assert delivery.stopped_by is None
    assert seen(delivery) == ["done"]
    assert repr(delivery) == "<Delivery of a: 0 outcomes, 0 errors>"


def test_it_is_an_observable_like_any_other() -> None:
    dispatcher = Dispatcher()
    for n in range(5):
        dispatcher.subscribe("", lambda event, n=n: n)
    delivery = dispatcher.dispatch(Event("a"))

    results = delivery.pipe(ops.map(lambda outcome: outcome.result), ops.take(3), ops.to_list()).run()
    assert results == [0, 1, 2]

    async def last() -> Outcome:
        return await delivery

    assert asyncio.run(last()).result == 4


def test_who_leaves_early_gets_nothing_further() -> None:
    dispatcher, scheduler = Dispatcher(), ByHand()
    dispatcher.subscribe("", lambda event: 1, scheduler=scheduler)
    delivery = dispatcher.dispatch(Event("a"))
    got: list[Any] = []
    delivery.subscribe(got.append, on_completed=lambda: got.append("done")).dispose()
    scheduler.run()
    assert got == []


def test_what_was_handed_over_comes_when_it_ends() -> None:
    dispatcher, scheduler = Dispatcher(), ByHand()
    dispatcher.subscribe("", lambda event: "later", scheduler=scheduler, priority=1)
    dispatcher.subscribe("", lambda event: "now", priority=2)

    delivery = dispatcher.dispatch(Event("a"))
    early = seen(delivery)
    assert early == ["now"] and not delivery.completed
    assert "1 under way" in repr(delivery)

    scheduler.run()
    assert early == ["now", "later", "done"] == seen(delivery)
    assert delivery.completed and delivery.results == ["now", "later"]


def test_a_subscriber_that_leaves_before_its_turn_at_the_scheduler_has_no_outcome() -> None:
    dispatcher, scheduler = Dispatcher(), ByHand()
    subscriber = dispatcher.subscribe("", lambda event: 1, scheduler=scheduler)
    delivery = dispatcher.dispatch(Event("a"))
    got = seen(delivery)
    dispatcher.unsubscribe(subscriber.id)
    scheduler.run()
    assert got == ["done"]


def test_an_observer_that_raises_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, scheduler = Dispatcher(), ByHand()
    dispatcher.subscribe("", lambda event: 1, scheduler=scheduler)
    delivery = dispatcher.dispatch(Event("a"))

    def refuse(outcome: Outcome) -> None:
        raise RuntimeError("no")

    delivery.subscribe(refuse)
    got = seen(delivery)
    scheduler.run()
    assert got == [1, "done"]
    assert "An observer of <Delivery of a" in caplog.text


def test_every_observer_gets_every_outcome_once_whatever_the_threads() -> None:
    dispatcher, scheduler = Dispatcher(), ThreadPoolScheduler(4)
    for n in range(20):
        dispatcher.subscribe("", lambda event, n=n: n, scheduler=scheduler)

    for _ in range(20):
        delivery = dispatcher.dispatch(Event("a"))
        observers = at_once(*[delivery.pipe(ops.to_list()).run] * 3)
        assert [sorted(outcome.result for outcome in got) for got in observers] == [list(range(20))] * 3
    scheduler.executor.shutdown()


def test_an_observer_may_subscribe_and_dispatch_in_turn() -> None:
    dispatcher = Dispatcher()
    dispatcher.subscribe("topic=a", lambda event: 1)
    dispatcher.subscribe("topic=b", lambda event: 2)
    delivery, got = dispatcher.dispatch(Event("a")), []

    def on_next(outcome: Outcome) -> None:
        got.append(seen(delivery))
        got.append(seen(dispatcher.dispatch(Event("b"))))

    delivery.subscribe(on_next)
    assert got == [[1, "done"], [2, "done"]]


def test_awaiting_from_another_thread_than_the_one_that_completes() -> None:
    dispatcher, scheduler = Dispatcher(), ThreadPoolScheduler(1)
    dispatcher.subscribe("", lambda event: "from the pool", scheduler=scheduler)

    async def wait() -> Any:
        return (await asyncio.wait_for(asyncio.ensure_future(_awaited(dispatcher.dispatch(Event("a")))), LIMIT)).result

    assert asyncio.run(wait()) == "from the pool"
    scheduler.executor.shutdown()


async def _awaited(delivery: Delivery) -> Outcome:
    return await delivery


def test_who_comes_to_observe_under_way_gets_the_delivery_without_latencies() -> None:
    dispatcher, got = Dispatcher(), []
    dispatcher.subscribe("", lambda event: dispatcher.deliveries.subscribe(got.append) and 1, priority=1)
    dispatcher.subscribe("", lambda event: 2, priority=2)

    async def main() -> None:
        await dispatcher.dispatch_async(Event("b"))

    assert dispatcher.dispatch(Event("a")).results == [1, 2]
    assert [outcome.latency for outcome in got[0]] == [None, None]
    asyncio.run(main())
    assert [delivery.event.topic for delivery in got] == ["a", "b", "b"]


def test_latencies_are_those_of_the_callbacks_that_ran_here() -> None:
    dispatcher, scheduler = Dispatcher(), ByHand()
    dispatcher.subscribe("", lambda event: None, priority=1, scheduler=scheduler)
    dispatcher.subscribe("", fail, priority=2)

    async def coroutine(event: Event) -> None:
        await asyncio.sleep(0)

    dispatcher.subscribe("", coroutine, priority=3)
    unseen = asyncio.run(dispatcher.dispatch_async(Event("a")))
    assert [outcome.latency for outcome in unseen] == [None, None]

    got: list[Delivery] = []
    dispatcher.deliveries.subscribe(got.append)
    asyncio.run(dispatcher.dispatch_async(Event("a")))
    assert [outcome.latency is not None and outcome.latency >= 0 for outcome in got[0]] == [True, True]
