"""Rx observers in the dispatch order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from threading import Barrier
from threading import Event as Flag
from typing import Any

import pytest
import reactivex
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.subject import Subject as TheirSubject

from rxhub import Dispatcher, Event, resume
from rxhub.dispatching.pipeline import Subscribable
from rxhub.errors import ExpressionError, PipelineEnded
from tests.threads import LIMIT, at_once, eager_collection, elsewhere

COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")


def on(dispatcher: Dispatcher, subscription: str = "", priority: float = 100) -> Subscribable:
    return Subscribable(dispatcher, subscription, priority)


def fail(_: object) -> Any:
    raise ValueError("no")


def by_hand(source: Observable[Any]) -> Observable[Any]:
    """An operator as people write them, that passes an error on."""

    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        def on_next(value: Any) -> None:
            try:
                fail(value)
            except ValueError as error:
                observer.on_error(error)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


# Order and stop


def test_pipelines_and_callbacks_share_one_order() -> None:
    dispatcher, ran = Dispatcher(), []
    on(dispatcher, priority=3).subscribe(lambda event: ran.append("pipeline 3"))
    dispatcher.subscribe("", lambda event: ran.append("callback 2"), priority=2)
    on(dispatcher, priority=1).pipe(ops.map(lambda event: event.topic)).subscribe(ran.append)
    on(dispatcher, priority=3).subscribe(lambda event: ran.append("pipeline 3 too"))
    dispatcher.dispatch(Event("a"))
    assert ran == ["a", "callback 2", "pipeline 3", "pipeline 3 too"]


def test_a_pipeline_may_stop_the_event() -> None:
    dispatcher, ran = Dispatcher(), []
    on(dispatcher, priority=1).pipe(ops.filter(lambda event: event.data == 1)).subscribe(lambda event: event.stop())
    dispatcher.subscribe("", lambda event: ran.append(event.data))
    assert dispatcher.dispatch(Event("a", data=1)).stopped_by is not None
    dispatcher.dispatch(Event("a", data=2))
    assert ran == [2]


def test_each_subscription_is_a_subscriber_and_leaves_when_disposed() -> None:
    dispatcher, ran = Dispatcher(), []
    source = on(dispatcher, "topic=a")
    assert len(dispatcher) == 0
    first, second = source.subscribe(ran.append), source.subscribe(ran.append)
    assert len(dispatcher) == 2
    dispatcher.dispatch(Event("a"))
    first.dispose()
    first.dispose()
    dispatcher.dispatch(Event("a"))
    dispatcher.dispatch(Event("b"))
    assert len(ran) == 3
    second.dispose()
    assert len(dispatcher) == 0


def test_an_operator_that_has_enough_leaves_without_an_error() -> None:
    dispatcher, got = Dispatcher(), []
    on(dispatcher).pipe(ops.take(1)).subscribe(got.append, got.append, lambda: got.append("done"))
    assert dispatcher.dispatch(Event("a")).errors == []
    assert len(dispatcher) == 0 and got[1:] == ["done"]


def test_it_decorates_callbacks() -> None:
    dispatcher = Dispatcher()

    @on(dispatcher, "topic=a", priority=5)
    def callback(event: Event) -> str:
        return event.topic

    assert callback(Event("b")) == "b"
    assert dispatcher.dispatch(Event("a")).results == ["a"]
    assert dispatcher.subscribers[0].callback is callback and dispatcher.subscribers[0].priority == 5
    with pytest.raises(TypeError, match="must be callable"):
        on(dispatcher)("no function")  # type: ignore[arg-type]


def test_a_bad_subscription_is_refused_where_it_stands() -> None:
    with pytest.raises(ExpressionError):
        on(Dispatcher(), "topic=")
    assert repr(on(Dispatcher(), "topic=a", 5)) == "<events of 'topic=a' at priority 5>"


def test_an_observer_runs_in_a_copy_of_the_context_of_subscribing() -> None:
    dispatcher, seen = Dispatcher(), []

    def look(event: Event) -> None:
        seen.append(COLOUR.get())
        COLOUR.set("lost")

    token = COLOUR.set("red")
    on(dispatcher).subscribe(look)
    COLOUR.reset(token)
    dispatcher.dispatch(Event("a"))
    dispatcher.dispatch(Event("a"))
    assert seen == ["red", "red"] and COLOUR.get() == "none"


# Errors

ENDING: dict[str, list[Callable[[Observable[Any]], Observable[Any]]]] = {
    "map": [ops.map(fail)],
    "filter": [ops.filter(fail)],
    "do_action": [ops.do_action(fail)],
    "scan": [ops.scan(lambda _, event: fail(event), 0)],
    "throw in flat_map": [ops.flat_map(lambda _: reactivex.throw(ValueError("no")))],
    "throw in concat_map": [ops.concat_map(lambda _: reactivex.throw(ValueError("no")))],
    "in switch_map": [ops.switch_map(fail)],
    "behind share": [ops.share(), ops.map(fail)],
    "behind a buffer": [ops.buffer_with_count(1), ops.map(fail)],
    "an operator by hand": [by_hand],
    "the last of several": [ops.map(lambda event: event), ops.filter(lambda _: True), ops.map(fail)],
}


@pytest.mark.parametrize("name", ENDING)
@pytest.mark.parametrize("handled", [True, False])
def test_an_error_in_an_operator_ends_the_pipeline_and_the_outcome_says_so(
    name: str, handled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher, got, told = Dispatcher(), [], []
    dispatcher.errors.subscribe(told.append)
    on(dispatcher, priority=1).pipe(*ENDING[name]).subscribe(got.append, got.append if handled else None)
    dispatcher.subscribe("", lambda event: got.append("the next one"), priority=2)

    delivery = dispatcher.dispatch(Event("a"))

    (error,) = delivery.errors
    assert type(error) is PipelineEnded and str(error.__cause__) == "no"
    assert [outcome.error for outcome in told] == [error]
    assert "resume" in caplog.text
    assert [str(value) for value in got] == ["no", "the next one"][not handled :]
    assert len(dispatcher) == 1
    assert dispatcher.dispatch(Event("a")).errors == []


CARING: dict[str, list[Callable[[Observable[Any]], Observable[Any]]]] = {
    "catch": [ops.map(fail), ops.catch(lambda error, source: reactivex.of(str(error)))],
    "materialize": [ops.map(fail), ops.materialize()],
    "retry": [ops.map(fail), ops.retry()],
    "an inner catch": [
        ops.flat_map(lambda _: reactivex.throw(ValueError("no")).pipe(ops.catch(reactivex.of("caught"))))
    ],
}


@pytest.mark.parametrize("name", CARING)
def test_an_error_that_an_operator_takes_care_of_is_none(name: str) -> None:
    dispatcher = Dispatcher()
    on(dispatcher).pipe(*CARING[name]).subscribe()
    assert dispatcher.dispatch(Event("a")).errors == []


def test_an_observer_that_raises_keeps_its_place() -> None:
    dispatcher = Dispatcher()
    on(dispatcher).pipe(ops.map(lambda event: event)).subscribe(fail)
    for _ in range(2):
        (error,) = dispatcher.dispatch(Event("a")).errors
        assert type(error) is ValueError


def test_disposing_in_an_except_clause_is_an_ordinary_end() -> None:
    dispatcher = Dispatcher()

    def on_next(event: Event) -> None:
        try:
            fail(event)
        except ValueError:
            subscription.dispose()

    subscription = on(dispatcher).subscribe(on_next)
    assert dispatcher.dispatch(Event("a")).errors == []
    assert len(dispatcher) == 0


def test_an_end_inside_the_error_handler_of_another_pipeline_is_its_own() -> None:
    dispatcher = Dispatcher()
    inner: list[Any] = []

    def on_error(error: Exception) -> None:
        inner.append(dispatcher.dispatch(Event("b")))

    on(dispatcher, "topic=a").pipe(ops.map(fail)).subscribe(on_error=on_error)
    on(dispatcher, "topic=b").pipe(ops.take(1)).subscribe()
    assert [type(error) for error in dispatcher.dispatch(Event("a")).errors] == [PipelineEnded]
    assert inner[0].errors == []


def test_an_error_in_a_timer_is_logged_and_names_resume(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, got, later = Dispatcher(), [], TheirSubject()
    on(dispatcher).pipe(ops.merge(later.pipe(ops.map(fail)))).subscribe(got.append, got.append)
    later.on_next(1)
    assert [str(value) for value in got] == ["no"] and len(dispatcher) == 0
    assert "resume" in caplog.text


def test_resume_reports_the_error_and_keeps_the_place() -> None:
    dispatcher, got, told = Dispatcher(), [], []
    dispatcher.errors.subscribe(told.append)
    on(dispatcher, priority=1).pipe(resume(ops.map(lambda event: 6 / event.data))).subscribe(got.append)
    dispatcher.subscribe("", lambda event: got.append("next"), priority=2)

    deliveries = [dispatcher.dispatch(Event("a", data=n)) for n in (1, 0, 2)]

    assert got == [6, "next", "next", 3, "next"]
    assert [len(delivery.errors) for delivery in deliveries] == [0, 1, 0]
    assert [type(outcome.error) for outcome in told] == [ZeroDivisionError]


# A busy observer


def test_an_event_published_by_an_observer_waits_for_it() -> None:
    dispatcher, ran = Dispatcher(), []

    def on_next(event: Event) -> None:
        ran.append(f"{event.topic} begins")
        if event.topic == "a":
            dispatcher.dispatch(Event("b"))
        ran.append(f"{event.topic} ends")

    on(dispatcher).subscribe(on_next)
    dispatcher.dispatch(Event("a"))
    assert ran == ["a begins", "a ends", "b begins", "b ends"]


def test_a_busy_observer_gets_what_another_thread_publishes_through_a_queue() -> None:
    dispatcher, ran = Dispatcher(), []
    entered, leave = Flag(), Flag()

    def on_next(event: Event) -> None:
        ran.append(event.topic)
        if event.topic == "a":
            entered.set()
            assert leave.wait(LIMIT)

    on(dispatcher).subscribe(on_next)
    dispatcher.subscribe("topic=b", lambda event: "of the callback")
    with elsewhere(dispatcher.dispatch, Event("a")) as other:
        assert entered.wait(LIMIT)
        # It does not wait for the busy one, and its callbacks run here.
        assert dispatcher.dispatch(Event("b")).results == [None, "of the callback"]
        assert ran == ["a"]
        leave.set()
        other.join()
        assert ran == ["a", "b"]


def test_an_observer_is_never_called_while_it_is_busy() -> None:
    dispatcher, busy, got = Dispatcher(), [0], []
    start = Barrier(4)

    def on_next(event: Event) -> None:
        busy[0] += 1
        assert busy[0] == 1
        got.append(event.data)
        busy[0] -= 1

    on(dispatcher).pipe(ops.map(lambda event: event)).subscribe(on_next)

    def publish(who: int) -> list[Exception]:
        start.wait(LIMIT)
        return [error for n in range(200) for error in dispatcher.dispatch(Event("a", data=(who, n))).errors]

    assert at_once(*(lambda who=who: publish(who) for who in range(4))) == [[]] * 4
    assert sorted(got) == [(who, n) for who in range(4) for n in range(200)]
    for who in range(4):
        assert [n for w, n in got if w == who] == list(range(200))


def test_what_waits_is_dropped_when_the_pipeline_ends() -> None:
    dispatcher, got = Dispatcher(), []

    def on_next(event: Event) -> None:
        got.append(event.topic)
        dispatcher.dispatch(Event("b"))

    on(dispatcher).pipe(ops.take(1)).subscribe(on_next)
    dispatcher.dispatch(Event("a"))
    assert got == ["a"]


def test_several_failures_in_one_turn_are_told_together() -> None:
    dispatcher = Dispatcher()

    def on_next(event: Event) -> None:
        if event.topic == "a":
            dispatcher.dispatch(Event("b"))
        raise ValueError(event.topic)

    on(dispatcher).subscribe(on_next)
    (error,) = dispatcher.dispatch(Event("a")).errors
    assert isinstance(error, ExceptionGroup)
    assert [str(one) for one in error.exceptions] == ["a", "b"]


def test_an_interrupt_passes_and_leaves_the_pipeline_usable() -> None:
    dispatcher, got = Dispatcher(), []

    def on_next(event: Event) -> None:
        got.append(event.topic)
        if event.topic == "a":
            raise KeyboardInterrupt

    on(dispatcher).subscribe(on_next)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.dispatch(Event("a"))
    dispatcher.dispatch(Event("b"))
    assert got == ["a", "b"]


# The end


def test_completing_the_dispatcher_completes_who_comes_later() -> None:
    dispatcher, got = Dispatcher(), []
    dispatcher.complete()
    on(dispatcher).subscribe(got.append, got.append, lambda: got.append("done"))
    assert got == ["done"] and len(dispatcher) == 0


def test_it_can_be_awaited_from_another_thread() -> None:
    dispatcher = Dispatcher()
    subscribed = Flag()

    async def wait() -> Event:
        async def last() -> Event:
            return await on(dispatcher)

        task = asyncio.create_task(last())
        await asyncio.sleep(0)
        subscribed.set()
        return await asyncio.wait_for(task, LIMIT)

    with elsewhere(asyncio.run, wait()) as waiting:
        assert subscribed.wait(LIMIT)
        for n in range(3):
            dispatcher.dispatch(Event("a", data=n))
        for subscriber in dispatcher.subscribers:
            subscriber.callback.complete()
        assert waiting.join().data == 2


def test_a_finalizer_may_dispose_in_the_middle_of_anything() -> None:
    dispatcher = Dispatcher()

    class Owner:
        def __init__(self) -> None:
            self.cycle, self.subscription = self, on(dispatcher).subscribe()

        def __del__(self) -> None:
            self.subscription.dispose()

    def work() -> None:
        for n in range(300):
            Owner()
            dispatcher.unsubscribe(dispatcher.subscribe(f"topic=t{n}", print).id)
            dispatcher.dispatch(Event("a"))

    with eager_collection(), elsewhere(work):
        pass
    assert len(dispatcher) == 0
