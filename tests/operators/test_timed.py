"""`sessions`, `within` and `missing` on virtual time, compared with a loop over the recorded list."""

from __future__ import annotations

import gc
import inspect
import logging
import re
import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple
from weakref import ref

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.scheduler import EventLoopScheduler, VirtualTimeScheduler
from reactivex.testing import ReactiveTest, TestScheduler

from rxhub import Event, Subject, missing, sessions, within
from rxhub.testing import Marbles, virtual_hub
from tests.threads import until

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed


class Item(NamedTuple):
    """A value with a key and the time at which it comes."""

    time: int
    key: str
    number: int


def key(item: Item) -> Hashable:
    return item.key


@st.composite
def recordings(draw: st.DrawFn) -> list[Item]:
    """Values in the order in which they come, several of them at the same time."""
    moments = draw(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), max_size=25))
    found, time = [], 210
    for number, (delay, letter) in enumerate(moments):
        time += delay
        found.append(Item(time, letter, number))
    return found


def played(
    build: Callable[..., Observable[Any]], *recordings: list[Item], completed: int | None = 900
) -> list[tuple[Any, ...]]:
    """What a pipeline of hot sources emits, with times. All sources complete at the same time."""
    scheduler = TestScheduler()
    ends = [] if completed is None else [on_completed(completed)]
    sources = [
        scheduler.create_hot_observable(*(on_next(item.time, item) for item in items), *ends) for items in recordings
    ]
    result = scheduler.start(lambda: build(*sources), disposed=2000)
    return [
        (int(message.time), message.value.value if message.value.kind == "N" else message.value.kind)
        for message in result.messages
    ]


def marble_lines(operator: Callable[..., object]) -> list[str]:
    """The diagrams in the docstring of an operator, without the names of the lines and the legend."""
    lines = re.findall(r"^ {4}\S.*?  +([-a-z(|)]+)(?:  .*)?$", inspect.getdoc(operator) or "", re.MULTILINE)
    return [line for line in lines if "-" in line]


# Diagrams


def test_sessions_keeps_the_promise_of_its_diagram() -> None:
    source, expected = marble_lines(sessions)
    with Marbles() as marbles:
        made = marbles.hot(source).pipe(sessions(3.0))
        marbles.expect(made).to_be(expected, {"x": ["a", "b"], "y": ["c"]})


def test_within_keeps_the_promise_of_its_diagram() -> None:
    source, other, expected = marble_lines(within)
    with Marbles() as marbles:
        made = marbles.hot(source).pipe(within(marbles.hot(other), 2.0, key=lambda letter: letter))
        marbles.expect(made).to_be(expected, {"x": ("a", "a")})


def test_missing_keeps_the_promise_of_its_diagram() -> None:
    source, answer, expected = marble_lines(missing)
    with Marbles() as marbles:
        made = marbles.hot(source).pipe(missing(marbles.hot(answer), 5.0, key=lambda letter: letter))
        marbles.expect(made).to_be(expected)


# Against a loop over the list


@given(recordings(), st.integers(1, 6))
def test_a_session_ends_when_its_key_was_quiet(recording: list[Item], gap: int) -> None:
    expected: list[tuple[int, list[Item]]] = []
    for letter in "abc":
        own: list[Item] = []
        for item in (item for item in recording if item.key == letter):
            if own and item.time - own[-1].time >= gap:
                expected.append((own[-1].time + gap, own))
                own = []
            own = [*own, item]
        if own:
            expected.append((own[-1].time + gap, own))
    # Sessions that end at the same time do so in the order of their last values.
    expected.sort(key=lambda end: end[1][-1].number)
    assert played(lambda source: source.pipe(sessions(gap, key)), recording) == [*expected, (900, "C")]


@given(recordings(), st.integers(1, 6), st.integers(1, 5))
def test_a_limited_number_of_values_is_stored_and_none_is_lost(recording: list[Item], gap: int, limit: int) -> None:
    got = played(lambda source: source.pipe(sessions(gap, key, limit=limit)), recording)
    lists = [values for _, values in got[:-1]]
    assert sorted(item.number for values in lists for item in values) == [item.number for item in recording]
    assert all(len({item.key for item in values}) == 1 and len(values) <= limit + 1 for values in lists)


@given(recordings(), recordings(), st.integers(1, 6))
def test_within_emits_all_pairs_of_the_window(left: list[Item], right: list[Item], seconds: int) -> None:
    expected = [
        (max(one.time, two.time), (one, two))
        for one in left
        for two in right
        if one.key == two.key and abs(one.time - two.time) <= seconds
    ]
    got = played(lambda a, b: a.pipe(within(b, seconds, key)), left, right)
    assert got.pop() == (900, "C")
    assert sorted(got) == sorted(expected)
    assert [time for time, _ in got] == sorted(time for time, _ in got)


@given(recordings(), recordings(), st.integers(1, 6))
def test_missing_reports_what_has_no_answer_in_time(asked: list[Item], answers: list[Item], timeout: int) -> None:
    expected = [
        (question.time + timeout, question)
        for question in asked
        # Of a question and an answer at one time, the question comes first here: its source was created first.
        if not any(answer.key == question.key and 0 <= answer.time - question.time < timeout for answer in answers)
    ]
    got = played(lambda a, b: a.pipe(missing(b, timeout, key)), asked, answers)
    assert got == [*expected, (900, "C")]


# Ends


def test_open_sessions_are_emitted_at_completion_in_the_order_of_their_last_values() -> None:
    values = [Item(210, "a", 0), Item(211, "b", 1), Item(212, "a", 2)]
    got = played(lambda source: source.pipe(sessions(100, key)), values, completed=220)
    assert got == [(220, [values[1]]), (220, [values[0], values[2]]), (220, "C")]


def test_missing_waits_for_the_last_values_after_completion() -> None:
    values = [Item(210, "a", 0), Item(211, "b", 1)]
    got = played(lambda a, b: a.pipe(missing(b, 100, key)), values, [], completed=220)
    assert got == [(310, values[0]), (311, values[1]), (311, "C")]


def test_missing_completes_with_the_last_answer() -> None:
    scheduler = TestScheduler()
    asked = scheduler.create_hot_observable(on_next(210, "a"), on_completed(220))
    answers = scheduler.create_hot_observable(on_next(230, "a"))
    result = scheduler.start(lambda: asked.pipe(missing(answers, 100, key=str)))
    assert result.messages == [on_completed(230)]
    assert answers.subscriptions == [ReactiveTest.subscribe(200, 230)]


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("operator", [within, missing])
def test_an_error_of_either_source_ends_it_and_both_subscriptions(operator: Any, failing: int) -> None:
    scheduler, broken = TestScheduler(), ValueError("source")
    ends = [[], []]
    ends[failing] = [on_error(230, broken)]
    sources = [scheduler.create_hot_observable(on_next(210 + n, "ab"[n]), *ends[n]) for n in (0, 1)]
    result = scheduler.start(lambda: sources[0].pipe(operator(sources[1], 50, key=str)))
    assert result.messages == [on_error(230, broken)]
    assert [source.subscriptions for source in sources] == [[ReactiveTest.subscribe(200, 230)]] * 2


@pytest.mark.parametrize(("key", "expected"), [(lambda value: 1 / 0, ZeroDivisionError), (lambda value: [], TypeError)])
def test_a_key_that_fails_is_an_error_of_the_pipeline(key: Any, expected: type[Exception]) -> None:
    def errors(operator: Any) -> list[Any]:
        got: list[Any] = []
        reactivex.of(1).pipe(operator).subscribe(got.append, lambda error: got.append(type(error)))
        return got

    scheduler = VirtualTimeScheduler()
    for operator in (
        sessions(1.0, key, scheduler=scheduler),
        within(reactivex.never(), 1.0, key, scheduler=scheduler),
        missing(reactivex.never(), 1.0, key, scheduler=scheduler),
    ):
        assert errors(operator) == [expected]


def test_an_observer_that_raises_is_not_an_error_of_the_source() -> None:
    source: Subject[int] = Subject(on_observer_error="raise")
    got: list[Any] = []

    def fail(_: object) -> None:
        raise LookupError("mine")

    source.pipe(within(source, 1.0, scheduler=VirtualTimeScheduler())).subscribe(fail, got.append)
    with pytest.raises(LookupError, match="mine"):
        source.on_next(1)
    assert got == []


@pytest.mark.parametrize("name", ["sessions", "missing", "within"])
@pytest.mark.parametrize("wrong", [0, -1.0, float("inf"), float("nan")])
def test_times_and_limits_are_positive_numbers(name: str, wrong: float) -> None:
    build: Any = {
        "sessions": sessions,
        "missing": lambda *given, **named: missing(reactivex.never(), *given, **named),
        "within": lambda *given, **named: within(reactivex.never(), *given, **named),
    }[name]
    with pytest.raises(ValueError, match=f"{name}\\("):
        build(wrong)
    with pytest.raises(ValueError, match="limit="):
        build(1.0, limit=wrong)


# Memory and timers


def test_values_beyond_the_limit_are_dropped_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    values = [Item(210 + n, "abc"[n % 3], n) for n in range(9)]
    with caplog.at_level(logging.WARNING, "rxhub"):
        got = played(lambda a, b: a.pipe(missing(b, 100, key, limit=2)), values, [])
    assert got == [(317, values[7]), (318, values[8]), (900, "C")]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    caplog.clear()
    with caplog.at_level(logging.WARNING, "rxhub"):
        got = played(lambda a, b: a.pipe(within(b, 100, key, limit=3)), values, [Item(230, "c", 0)])
    assert got == [(230, (values[8], Item(230, "c", 0))), (900, "C")]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


class Value:
    key = "a"


@pytest.mark.parametrize("operator", ["sessions", "missing", "within"])
def test_values_are_released_when_their_time_is_over(operator: str) -> None:
    source: Subject[Any] = Subject()
    scheduler = VirtualTimeScheduler()
    build: Any = {
        "sessions": lambda: sessions(5.0, scheduler=scheduler),
        "missing": lambda: missing(reactivex.never(), 5.0, scheduler=scheduler),
        "within": lambda: within(reactivex.never(), 5.0, scheduler=scheduler),
    }[operator]
    with source.pipe(build()).subscribe(lambda _: None):
        value = Value()
        released = ref(value)
        source.on_next(value)
        del value
        scheduler.advance_by(6)
        source.on_next(Value())
        gc.collect()
        assert released() is None


@pytest.mark.parametrize("build", [lambda: sessions(5.0), lambda: missing(reactivex.never(), 5.0)])
def test_one_timer_serves_all_values_and_ends_with_the_subscription(build: Any) -> None:
    with virtual_hub() as hub:
        source: Subject[int] = Subject()
        got: list[Any] = []
        subscription = source.pipe(build()).subscribe(got.append, scheduler=hub.scheduler)
        for number in range(1000):
            source.on_next(number)
        assert hub._inbox.next_due() == 5.0
        subscription.dispose()
        assert hub._inbox.next_due() is None
        hub.advance(10)
        assert got == []


def test_a_late_timer_does_not_extend_a_session() -> None:
    clock = VirtualTimeScheduler()
    source: Subject[str] = Subject()
    got: list[Any] = []
    source.pipe(sessions(3.0, scheduler=clock)).subscribe(got.append)
    source.on_next("a")
    clock.sleep(10)  # the time passes, and no action runs
    source.on_next("b")
    assert got == [["a"]]
    clock.advance_by(3)
    assert got == [["a"], ["b"]]


# Hubs and threads


def test_pipelines_of_a_hub_use_its_clock() -> None:
    with virtual_hub() as hub:
        got: list[Any] = []
        started, finished = hub.on("topic=started"), hub.on("topic=finished")
        late = started.pipe(missing(finished, 60.0, key=lambda event: event.data["job"]))
        late.subscribe(lambda event: got.append((hub.now, event.data["job"])), scheduler=hub.scheduler)
        for job in (1, 2):
            hub.publish(Event("started", data={"job": job}))
        hub.advance(30)
        hub.publish(Event("finished", data={"job": 1}))
        hub.advance(3600)
    assert got == [(60.0, 2)]


def test_a_value_that_the_observer_emits_is_handled_after_the_present_one() -> None:
    source: Subject[int] = Subject()
    got: list[Any] = []

    def observe(pair: tuple[int, int]) -> None:
        got.append(pair)
        if len(got) == 1:
            other.on_next(2)
            got.append("after")

    other: Subject[int] = Subject()
    source.pipe(within(other, 1.0, scheduler=VirtualTimeScheduler())).subscribe(observe)
    source.on_next(1)
    other.on_next(1)
    assert got == [(1, 1), "after", (1, 2)]


def test_threads_and_timers_never_call_the_observer_at_the_same_time() -> None:
    source: Subject[int] = Subject(serialize=True)
    scheduler = EventLoopScheduler()
    busy, overlaps, got = threading.Lock(), [], []

    def observe(session: list[int]) -> None:
        if not busy.acquire(blocking=False):
            overlaps.append(session)
            return
        got.extend(session)
        busy.release()

    def publish(first: int) -> None:
        for number in range(first, first + 500):
            source.on_next(number)

    with source.pipe(sessions(0.001, key=lambda number: number % 50, scheduler=scheduler)).subscribe(observe):
        threads = [threading.Thread(target=publish, args=(500 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: len(got) == 2000)
    scheduler.dispose()
    assert sorted(got) == list(range(2000)) and not overlaps
