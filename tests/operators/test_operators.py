"""Subscriptions, dispatch and resilience as operators."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops
from reactivex.testing import ReactiveTest, TestScheduler

from rxhub import Delivery, Dispatcher, Event, Subject, dispatch, resume, where
from rxhub.errors import ExpressionError
from rxhub.expression import Dialect, parse

on_next, on_error, on_completed, subscribed = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)


def seen(source: Observable[Any]) -> list[Any]:
    """What an observer of `source` gets now, and from now on."""
    got: list[Any] = []
    source.subscribe(got.append, lambda error: got.append(repr(error)), lambda: got.append("done"))
    return got


# where

SUBSCRIPTIONS = ["", "n=1", "not n=1", "n in (1, 2) and s=a*", "n>=1 or s!=b", "deep.list=x"]
candidates = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(0, 3) | st.none(),
        "s": st.sampled_from(["a", "ab", "b", ""]),
        "deep": st.fixed_dictionaries({"list": st.lists(st.sampled_from(["x", "y"]), max_size=2)}),
    },
)


@given(st.sampled_from(SUBSCRIPTIONS), st.lists(candidates))
def test_where_lets_through_what_matches(subscription: str, values: list[dict[str, Any]]) -> None:
    matching = [value for value in values if parse(subscription).matches(value)]
    assert seen(reactivex.from_iterable(values).pipe(where(subscription))) == [*matching, "done"]


def test_where_takes_events_and_any_mapping() -> None:
    values = [Event("a", data={"n": 1}), {"data": {"n": 1}}, UserDict(data={"n": 1}), Event("a"), {}]
    assert seen(reactivex.from_iterable(values).pipe(where("data.n=1"))) == [*values[:3], "done"]


def test_where_is_compiled_where_it_stands() -> None:
    with pytest.raises(ExpressionError):
        where("topic=")


def test_where_reads_the_wildcards_of_its_dialect() -> None:
    values = [{"s": "an update"}, {"s": "update it"}]
    assert seen(reactivex.from_iterable(values).pipe(where("s=update*"))) == [values[1], "done"]
    assert seen(reactivex.from_iterable(values).pipe(where("s=update*", Dialect.FTRACK))) == [*values, "done"]


def test_where_passes_errors_on_and_leaves_its_source() -> None:
    scheduler = TestScheduler()
    broken = ValueError("source")
    source = scheduler.create_hot_observable(on_next(210, {"n": 1}), on_next(220, {"n": 2}), on_error(230, broken))
    result = scheduler.start(lambda: source.pipe(where("n=2")))
    assert result.messages == [on_next(220, {"n": 2}), on_error(230, broken)]
    assert source.subscriptions == [subscribed(200, 230)]

    again = scheduler.create_hot_observable(on_next(1210, {"n": 1}))
    result = scheduler.start(lambda: again.pipe(where("")), created=1100, subscribed=1200, disposed=1205)
    assert result.messages == [] and again.subscriptions == [subscribed(1200, 1205)]


# dispatch


def test_dispatch_turns_events_into_deliveries() -> None:
    dispatcher, events = Dispatcher(), [Event("a"), Event("b")]
    dispatcher.subscribe("topic=a", lambda event: 1)
    got: list[Delivery] = []
    reactivex.from_iterable(events).pipe(dispatch(dispatcher)).subscribe(got.append)
    assert [delivery.event for delivery in got] == events
    assert [delivery.results for delivery in got] == [[1], []]


def test_dispatch_goes_on_after_a_callback_that_raises() -> None:
    dispatcher = Dispatcher()
    dispatcher.subscribe("", lambda event: 1 / event.data)
    events = reactivex.of(*(Event("a", data=n) for n in (1, 0, 2)))
    assert events.pipe(dispatch(dispatcher), ops.map(lambda d: d.results), ops.to_list()).run() == [[1], [], [0.5]]


def test_dispatch_goes_on_after_an_item_that_is_no_event() -> None:
    source, got, errors = reactivex.Subject(), [], []
    source.pipe(dispatch(Dispatcher())).subscribe(got.append, errors.append)
    with pytest.raises(AttributeError):
        source.on_next(None)
    source.on_next(Event("a"))
    assert [delivery.event.topic for delivery in got] == ["a"] and errors == []


def test_where_and_dispatch_make_a_hub_of_any_source() -> None:
    dispatcher, source, ran = Dispatcher(), Subject(), []
    dispatcher.subscribe("data.n>1", lambda event: ran.append(event.data["n"]))
    source.pipe(where("topic=a"), dispatch(dispatcher)).subscribe()
    for topic, n in (("a", 1), ("a", 2), ("b", 3), ("a", 4)):
        source.on_next(Event(topic, data={"n": n}))
    assert ran == [2, 4]


# resume

inverse = ops.map(lambda n: 1 / n)


@given(st.lists(st.integers(-2, 2)))
def test_resume_leaves_out_what_fails(values: list[int]) -> None:
    expected: list[Any] = [1 / n for n in values if n]
    assert seen(reactivex.from_iterable(values).pipe(resume(inverse))) == [*expected, "done"]


@given(st.lists(st.integers(-2, 2)))
def test_what_stateful_operators_hold_lives_until_an_error(values: list[int]) -> None:
    expected: list[Any] = []
    total = 0
    for n in values:
        total = total + n if n else 0
        if n:
            expected.append(total)

    def add(total: int, n: int) -> int:
        if n == 0:
            raise ValueError
        return total + n

    assert seen(reactivex.from_iterable(values).pipe(resume(ops.scan(add, 0)))) == [*expected, "done"]


def test_without_operators_it_changes_nothing() -> None:
    assert seen(reactivex.of(1, 2).pipe(resume())) == [1, 2, "done"]


def test_outside_a_hub_an_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    seen(reactivex.of(0).pipe(resume(inverse)))
    assert "resumed: division by zero" in caplog.text


def test_an_error_of_the_source_ends_it() -> None:
    assert seen(reactivex.throw(ValueError(1)).pipe(resume(inverse))) == ["ValueError(1)"]


def test_operators_that_have_enough_end_it() -> None:
    source: Subject[int] = Subject()
    got = seen(source.pipe(resume(ops.take(2))))
    for n in (1, 2, 3):
        source.on_next(n)
    assert got == [1, 2, "done"] and source.observers == []


@pytest.mark.parametrize(
    ("operators", "values", "expected"),
    [
        ([ops.last()], [], ["done"]),
        ([ops.buffer_with_count(2), ops.map(lambda pair: pair[1])], [1, 2, 3], [2, "done"]),
        ([ops.reduce(lambda total, n: total / n)], [1, 0], ["done"]),
    ],
)
def test_what_fails_at_the_end_still_ends(operators: list[Any], values: list[int], expected: list[Any]) -> None:
    assert seen(reactivex.from_iterable(values).pipe(resume(*operators))) == expected


@pytest.mark.parametrize("behind", [[], [ops.merge(reactivex.never())], [ops.start_with(1)]])
def test_operators_that_fail_on_being_subscribed_to_are_not_tried_for_ever(behind: list[Any]) -> None:
    source: Subject[int] = Subject()
    got = seen(source.pipe(resume(ops.start_with(0), inverse), *behind))
    assert got[-1] == "ZeroDivisionError('division by zero')"
    assert source.observers == []


def test_an_operator_that_fails_in_a_timer_starts_afresh() -> None:
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(on_next(210, 1), on_next(300, 2), on_completed(400))
    result = scheduler.start(lambda: source.pipe(resume(ops.timeout(30, scheduler=scheduler))))
    assert result.messages == [on_next(210, 1), on_next(300, 2), on_completed(400)]


def test_an_observer_that_raises_is_no_operator_that_fails() -> None:
    source, got = Subject(on_observer_error="raise"), []

    def refuse(n: float) -> None:
        got.append(n)
        raise RuntimeError("observer")

    source.pipe(resume(ops.scan(lambda total, n: total + n, 0))).subscribe(refuse)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="observer"):
            source.on_next(1)
    assert got == [1, 2]


def test_disposing_leaves_the_source_and_the_operators() -> None:
    source, inside = Subject(), Subject()
    subscription = source.pipe(resume(ops.merge(inside))).subscribe()
    assert len(source.observers) == len(inside.observers) == 1
    subscription.dispose()
    assert source.observers == inside.observers == []


def test_starting_afresh_leaves_nothing_behind() -> None:
    source, inside = Subject(), Subject()
    source.pipe(resume(ops.merge(inside), inverse)).subscribe()
    for _ in range(5):
        source.on_next(0)
    assert len(inside.observers) == 1
