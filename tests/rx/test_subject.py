from __future__ import annotations

import gc
import logging
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import permutations
from typing import Any

import hypothesis.strategies as st
import pytest
import reactivex
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from reactivex import operators as ops
from reactivex.disposable import CompositeDisposable
from reactivex.internal import DisposedException
from reactivex.observer import Observer

from rxhub.rx.subject import Subject

# Against reactivex


class Orderly(reactivex.Subject[int]):
    """The order that we keep, in the plainest words: what is emitted from within waits for the one under way."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: deque[tuple[list[Any], str, tuple[Any, ...]]] = deque()
        self.busy = False

    def _deliver(self, observers: list[Any], name: str, *arguments: Any) -> None:
        self.queue.append((observers, name, arguments))
        if self.busy:
            return
        self.busy = True
        while self.queue:
            observers, name, arguments = self.queue.popleft()
            for observer in observers:
                getattr(observer, name)(*arguments)
        self.busy = False

    def _on_next_core(self, value: int) -> None:
        self._deliver(self.observers.copy(), "on_next", value)

    def _on_error_core(self, error: Exception) -> None:
        self.exception = error
        observers, self.observers = self.observers, []
        self._deliver(observers, "on_error", error)

    def _on_completed_core(self) -> None:
        observers, self.observers = self.observers, []
        self._deliver(observers, "on_completed")


class World:
    """A subject, its observers, and all that happened to them, in order."""

    def __init__(self, subject: reactivex.Subject[int], isolated: Callable[[], Any] = suppress) -> None:
        self.subject = subject
        self.isolated = isolated
        self.log: list[tuple[Any, ...]] = []
        self.held: list[Any] = []
        self.observers = 0

    def do(self, action: tuple[Any, ...]) -> None:
        name, *arguments = action
        try:
            getattr(self, name)(*arguments)
        except DisposedException:
            self.log.append(("refused", name))

    def on_next(self, value: int) -> None:
        self.subject.on_next(value)

    def on_error(self, text: str) -> None:
        self.subject.on_error(ValueError(text))

    def on_completed(self) -> None:
        self.subject.on_completed()

    def dispose(self) -> None:
        self.subject.dispose()

    def leave(self, which: int) -> None:
        if self.held:
            self.held[which % len(self.held)].dispose()

    def fail(self) -> None:
        raise ArithmeticError

    def subscribe(self, reactions: list[tuple[Any, ...]]) -> None:
        """A new observer, which does one of these at each value that it gets."""
        name = self.observers = self.observers + 1
        left = iter(reactions)

        def on_next(value: int) -> None:
            self.log.append((name, value))
            with self.isolated():
                if action := next(left, None):
                    self.do(action)

        def on_error(error: Exception) -> None:
            self.log.append((name, repr(error)))

        def on_completed() -> None:
            self.log.append((name, "completed"))

        self.held.append(self.subject.subscribe(on_next, on_error, on_completed))

    def state(self) -> tuple[Any, ...]:
        subject = self.subject
        return self.log, len(subject.observers), subject.is_stopped, subject.is_disposed, repr(subject.exception)


values = st.integers(0, 9)
leaving = st.tuples(st.just("leave"), st.integers(0, 9))
disposing = st.just(("dispose",))
failing = st.just(("fail",))
emitting = st.one_of(
    st.tuples(st.just("on_next"), values), st.tuples(st.just("on_error"), st.just("e")), st.just(("on_completed",))
)


def reactions(*actions: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """What an observer does at its first values; subscribing another one with reactions of its own is among it."""
    return st.recursive(
        st.lists(st.one_of(*actions), max_size=3),
        lambda inner: st.lists(st.one_of(*actions, st.tuples(st.just("subscribe"), inner)), max_size=3),
        max_leaves=3,
    )


class AgainstPeer(RuleBasedStateMachine):
    """Whatever is done to both, ours and the peer tell the same story."""

    peer: Callable[[], reactivex.Subject[int]] = reactivex.Subject
    options: dict[str, Any] = {}  # noqa: RUF012

    @initialize()
    def begin(self) -> None:
        options = {"on_observer_error": lambda error, observer: None} | self.options
        self.worlds = (
            World(Subject[int](**options)),
            World(type(self).peer(), lambda: suppress(ArithmeticError)),
        )

    def both(self, *action: Any) -> None:
        for world in self.worlds:
            world.do(action)

    @rule(reactions=reactions(leaving, leaving, failing, disposing))
    def subscribe(self, reactions: list[Any]) -> None:
        self.both("subscribe", reactions)

    @rule(values=st.lists(values, min_size=1, max_size=3))
    def on_next(self, values: list[int]) -> None:
        for value in values:
            self.both("on_next", value)

    @rule(which=st.integers(0, 9))
    def leave(self, which: int) -> None:
        self.both("leave", which)

    # An end makes the rest of a run dull, so it does not come at every corner.
    @rule(end=st.sampled_from([*[("leave", 0)] * 6, ("on_error", "e"), ("on_completed",), ("dispose",)]))
    def end(self, end: tuple[Any, ...]) -> None:
        self.both(*end)

    @invariant()
    def same(self) -> None:
        if hasattr(self, "worlds"):
            ours, its = self.worlds
            assert ours.state() == its.state()


class AgainstOrderly(AgainstPeer):
    """The same with observers that emit, complete and fail the subject from within."""

    peer = Orderly

    @rule(reactions=reactions(leaving, emitting, emitting, failing, disposing))
    def subscribe_emitting(self, reactions: list[Any]) -> None:
        self.both("subscribe", reactions)


class AgainstOrderlySerialized(AgainstOrderly):
    options = {"serialize": True}  # noqa: RUF012


TestAgainstReactivex = AgainstPeer.TestCase
TestAgainstOrderly = AgainstOrderly.TestCase
TestAgainstOrderlySerialized = AgainstOrderlySerialized.TestCase


# What it is


def test_it_is_a_subject_to_everyone_who_looks() -> None:
    subject = Subject[int]()
    assert isinstance(subject, reactivex.Subject)
    assert isinstance(subject, reactivex.Observable)
    assert isinstance(subject, reactivex.abc.SubjectBase)
    assert isinstance(subject, reactivex.abc.ObserverBase)
    assert isinstance(subject, reactivex.abc.DisposableBase)


def test_it_has_every_attribute_that_reactivex_gives_it_from_outside() -> None:
    subject = Subject[int]()
    public = {name for name in vars(reactivex.Subject[int]()) if not name.startswith("_")}
    assert {name for name in public if not hasattr(subject, name)} == set()
    with subject.lock, subject.lock:
        pass


def test_it_adds_no_fluent_names() -> None:
    assert {name for name in dir(Subject) if not name.startswith("_")} - set(dir(reactivex.Subject)) == {
        "observers",
        "after_fork",
        "lock",
    }


def test_observers_are_a_list_of_those_who_are_subscribed_in_order() -> None:
    subject = Subject[int]()
    assert subject.observers == []
    first, second = subject.subscribe(), subject.subscribe()
    assert len(subject.observers) == 2
    one, two = subject.observers
    first.dispose()
    assert subject.observers == [two]
    assert one not in subject.observers
    second.dispose()
    assert not subject.observers


def test_an_observer_that_comes_without_subscribe_is_listed_as_itself_and_served() -> None:
    subject = Subject[int]()
    seen: list[Any] = []
    raw = Observer[int](seen.append, seen.append, lambda: seen.append("completed"))
    subscription = subject._subscribe_core(raw)
    assert subject.observers == [raw]
    subject.on_next(1)
    subscription.dispose()
    subject.on_next(2)
    subject._subscribe_core(raw)
    subject.on_completed()
    subject._subscribe_core(raw)
    assert seen == [1, "completed"]


def test_it_can_observe_and_be_observed_through_operators() -> None:
    source, sink = Subject[int](), Subject[int]()
    seen: list[Any] = []
    sink.pipe(ops.filter(lambda n: n % 2 == 0), ops.map(str), ops.take(2)).subscribe(
        seen.append, on_completed=lambda: seen.append("completed")
    )
    source.subscribe(sink)
    for value in range(9):
        source.on_next(value)
    assert seen == ["0", "2", "completed"]
    assert sink.observers == []


def test_an_object_with_on_next_is_an_observer() -> None:
    class Duck:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_next(self, value: int) -> None:
            self.seen.append(value)

        def on_error(self, error: Exception) -> None:
            self.seen.append(error)

        def on_completed(self) -> None:
            self.seen.append("completed")

    subject, duck = Subject[int](), Duck()
    subject.subscribe(duck)  # type: ignore[arg-type]
    subject.on_next(1)
    subject.on_completed()
    assert duck.seen == [1, "completed"]


def test_a_subscription_ends_with_its_with_block() -> None:
    subject = Subject[int]()
    seen: list[int] = []
    with subject.subscribe(seen.append) as subscription:
        subject.on_next(1)
        assert "disposed" not in repr(subscription)
    subject.on_next(2)
    assert seen == [1]
    assert "disposed" in repr(subscription)


def test_subscriptions_can_be_gathered() -> None:
    subject = Subject[int]()
    together = CompositeDisposable(subject.subscribe(), subject.subscribe())
    together.dispose()
    assert subject.observers == []


def test_its_repr_tells_its_state() -> None:
    subject = Subject[int]()
    assert repr(subject) == "<Subject with 0 observers>"
    subject.subscribe(on_error=lambda error: None)
    assert repr(subject) == "<Subject with 1 observer>"
    subject.on_error(ValueError("lost"))
    assert repr(subject) == "<Subject failed with ValueError('lost')>"
    subject.dispose()
    assert repr(subject) == "<Subject disposed>"
    ended = type("Clock", (Subject,), {})()
    ended.on_completed()
    assert repr(ended) == "<Clock completed>"


def test_a_failure_that_cannot_be_shown_does_not_break_the_repr() -> None:
    class Shy(Exception):
        def __repr__(self) -> str:
            raise RuntimeError

    subject = Subject[int]()
    subject.on_error(Shy())
    assert "Shy" in repr(subject)


def test_without_a_handler_an_error_is_raised_to_a_late_subscriber_as_in_reactivex() -> None:
    subject = Subject[int]()
    subject.on_error(ValueError("lost"))
    with pytest.raises(ValueError, match="lost"):
        subject.subscribe()


# Hooks


class Doubling(Subject[int]):
    def _on_next_core(self, value: int) -> None:
        super()._on_next_core(value * 2)


def test_a_subclass_hooks_into_on_next() -> None:
    subject = Doubling()
    seen: list[int] = []
    subject.subscribe(seen.append)
    for value in (1, 2):
        subject.on_next(value)
    assert seen == [2, 4]


def test_a_hook_holds_below_a_mixin_that_wraps_on_next() -> None:
    class Counting(Subject[int]):
        count = 0

        def on_next(self, value: int) -> None:
            self.count += 1
            super().on_next(value)

    class Both(Counting, Doubling):
        pass

    subject = Both()
    seen: list[int] = []
    subject.subscribe(seen.append)
    subject.on_next(1)
    subject.on_next(2)
    assert (seen, subject.count) == ([2, 4], 2)


def test_a_subclass_hooks_into_subscribing() -> None:
    class Greeting(Subject[int]):
        def _subscribe_core(self, observer: Any, scheduler: Any = None) -> Any:
            observer.on_next(0)
            return super()._subscribe_core(observer, scheduler)

    subject = Greeting()
    seen: list[int] = []
    subject.subscribe(seen.append)
    subject.pipe(ops.take(1)).subscribe(seen.append)
    subject.on_next(1)
    assert seen == [0, 0, 1]
    assert len(subject.observers) == 1


def test_hooks_into_the_end_are_called_once() -> None:
    calls: list[Any] = []

    class Telling(Subject[int]):
        def _on_error_core(self, error: Exception) -> None:
            calls.append(error)
            super()._on_error_core(error)

        def _on_completed_core(self) -> None:
            calls.append("completed")
            super()._on_completed_core()

    error = ValueError()
    failed, ended = Telling(), Telling()
    for _ in range(2):
        failed.on_error(error)
        ended.on_completed()
    assert not failed.fail(error)
    assert calls == [error, "completed"]


def test_who_subscribes_in_the_middle_of_failing_is_told_of_the_failure() -> None:
    seen: list[object] = []

    class Slow(Subject[int]):
        def _on_error_core(self, error: Exception) -> None:
            self.subscribe(on_error=seen.append, on_completed=lambda: seen.append("completed"))
            super()._on_error_core(error)

    error = ValueError()
    Slow().on_error(error)
    assert seen == [error]


# Order

# A subject makes its list of listeners at the first emission after a change, and uses it from the second on: what is
# said here holds for both.
both_times = pytest.mark.parametrize("before", [0, 1, 2], ids=["at first", "once more", "later"])


def prepare(subject: Subject[Any], before: int, value: Any = "before") -> None:
    for _ in range(before):
        subject.on_next(value)


@both_times
def test_what_an_observer_emits_comes_after_the_value_under_way_for_everybody(before: int) -> None:
    subject = Subject[str]()
    seen: list[str] = []

    def first(value: str) -> None:
        seen.append(f"{value}1")
        if value == "a":
            subject.on_next("b")
            subject.on_next("c")
        if value == "b":
            subject.on_next("d")

    subject.subscribe(first)
    subject.subscribe(lambda value: seen.append(f"{value}2"))
    prepare(subject, before)
    seen.clear()
    subject.on_next("a")
    assert seen == ["a1", "a2", "b1", "b2", "c1", "c2", "d1", "d2"]


@both_times
def test_an_end_from_within_does_not_overtake_the_value_under_way(before: int) -> None:
    subject = Subject[str]()
    seen: list[str] = []
    subject.subscribe(lambda value: subject.on_completed() if value == "a" else None)
    subject.subscribe(seen.append, on_completed=lambda: seen.append("completed"))
    prepare(subject, before)
    seen.clear()
    subject.on_next("a")
    subject.on_next("b")
    assert seen == ["a", "completed"]


def test_feeding_itself_does_not_nest() -> None:
    subject = Subject[int]()
    subject.subscribe(lambda n: subject.on_next(n - 1) if n else None)
    seen: list[int] = []
    subject.subscribe(seen.append)
    subject.on_next(sys.getrecursionlimit() * 3)
    assert seen[-1] == 0


@both_times
@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_the_order_holds_in_each_of_several_threads_whichever_ends_first(order: tuple[int, ...], before: int) -> None:
    subject = Subject[Any]()
    inside, go_on = ([threading.Event() for _ in range(3)] for _ in range(2))
    seen: dict[int, list[str]] = {name: [] for name in range(3)}

    def first(value: Any) -> None:
        if isinstance(value, int):
            inside[value].set()
            assert go_on[value].wait(10)
            seen[value].append("slow, first")
            subject.on_next((value, "from within"))
        elif value != "before":
            seen[value[0]].append(f"{value[1]}, first")

    def second(value: Any) -> None:
        if isinstance(value, int):
            seen[value].append("slow, second")
        elif value != "before":
            seen[value[0]].append(f"{value[1]}, second")

    subject.subscribe(first)
    subject.subscribe(second)
    prepare(subject, before)
    threads = [threading.Thread(target=subject.on_next, args=(name,)) for name in range(3)]
    for name in range(3):
        threads[name].start()
        assert inside[name].wait(10)
    for name in order:
        go_on[name].set()
        threads[name].join(10)
        assert seen[name] == ["slow, first", "slow, second", "from within, first", "from within, second"]


@both_times
def test_a_subject_that_is_emitted_on_from_within_another_is_not_held_up_by_other_threads(before: int) -> None:
    outer, inner = Subject[str](), Subject[str]()
    inside, go_on = threading.Event(), threading.Event()
    seen: list[str] = []

    def slow(value: str) -> None:
        if value == "slow":
            inside.set()
            assert go_on.wait(10)
        seen.append(value)

    def emitting(value: str) -> None:
        inner.on_next(value)
        seen.append("after")

    outer.subscribe(emitting)
    inner.subscribe(slow)
    prepare(outer, before)
    seen.clear()
    with running(lambda: inner.on_next("slow")):
        assert inside.wait(10)
        outer.on_next("quick")
        assert seen == ["quick", "after"]
        go_on.set()


def test_two_subjects_that_feed_each_other_keep_apart() -> None:
    left, right = Subject[int](), Subject[int]()
    seen: list[tuple[str, int]] = []
    left.subscribe(right.on_next)
    right.subscribe(lambda n: left.on_next(n + 1) if n < 2 else None)
    left.subscribe(lambda n: seen.append(("left", n)))
    right.subscribe(lambda n: seen.append(("right", n)))
    left.on_next(0)
    assert seen == [("right", 0), ("left", 0), ("right", 1), ("left", 1), ("right", 2), ("left", 2)]


# Observers that raise


class Trouble(Exception):
    pass


def crowd(subject: Subject[Any]) -> list[str]:
    """Three observers, of which the first and the last raise at "bad" and at "worse"."""
    seen: list[str] = []

    def observer(name: str, *bad: str) -> Callable[[str], None]:
        def on_next(value: str) -> None:
            seen.append(f"{name} {value}")
            if value in bad:
                raise Trouble(name)

        return on_next

    subject.subscribe(observer("1", "bad", "worse"))
    subject.subscribe(observer("2"))
    subject.subscribe(observer("3", "worse"))
    return seen


both_ways = pytest.mark.parametrize("serialize", [False, True])


@both_ways
@both_times
def test_one_that_raises_is_logged_and_the_next_ones_run(
    before: int, serialize: bool, caplog: pytest.LogCaptureFixture
) -> None:
    subject = Subject[str](serialize=serialize)
    seen = crowd(subject)
    prepare(subject, before)
    seen.clear()
    subject.on_next("bad")
    subject.on_next("good")
    assert seen == ["1 bad", "2 bad", "3 bad", "1 good", "2 good", "3 good"]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("rxhub", logging.ERROR)
    assert record.exc_info
    assert isinstance(record.exc_info[1], Trouble)
    assert "<Subject with 3 observers>" in record.getMessage()
    assert "observer.<locals>.on_next" in record.getMessage()


def test_an_end_reaches_everybody_although_one_raises(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []
    for end in (lambda subject: subject.on_error(Trouble()), lambda subject: subject.on_completed()):
        subject = Subject[str]()
        subject.subscribe(on_completed=lambda: 1 / 0)  # and without a handler an error is raised by reactivex
        subject.subscribe(on_error=seen.append, on_completed=lambda: seen.append("completed"))
        end(subject)
    assert len(seen) == 2
    assert len(caplog.records) == 2


@both_ways
def test_raise_stops_the_later_ones_and_reaches_the_producer_as_in_reactivex(serialize: bool) -> None:
    subject = Subject[str](on_observer_error="raise", serialize=serialize)
    seen = crowd(subject)
    with pytest.raises(Trouble, match="1"):
        subject.on_next("bad")
    subject.on_next("good")
    assert seen == ["1 bad", "1 good", "2 good", "3 good"]


@both_ways
def test_group_lets_everybody_run_and_raises_all_at_once(serialize: bool) -> None:
    subject = Subject[str](on_observer_error="group", serialize=serialize)
    seen = crowd(subject)
    with pytest.raises(ExceptionGroup, match="<Subject with 3 observers>") as raised:
        subject.on_next("worse")
    assert [str(error) for error in raised.value.exceptions] == ["1", "3"]
    assert seen == ["1 worse", "2 worse", "3 worse"]


@both_ways
@both_times
def test_a_callable_is_told_the_error_and_the_observer_which_it_may_dismiss(before: int, serialize: bool) -> None:
    errors: list[Exception] = []

    def dismiss(error: Exception, observer: Any) -> None:
        errors.append(error)
        observer.dispose()

    subject = Subject[str](on_observer_error=dismiss, serialize=serialize)
    seen = crowd(subject)
    prepare(subject, before)
    seen.clear()
    for value in ("bad", "worse", "good"):
        subject.on_next(value)
    assert [str(error) for error in errors] == ["1", "3"]
    assert seen == ["1 bad", "2 bad", "3 bad", "2 worse", "3 worse", "2 good"]


def test_a_callable_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    subject = Subject[str](on_observer_error=lambda error: None)  # type: ignore[arg-type, misc]
    seen = crowd(subject)
    subject.on_next("bad")
    assert seen == ["1 bad", "2 bad", "3 bad"]
    assert "on_observer_error" in caplog.text


@pytest.mark.parametrize("policy", ["raise", "group"])
def test_what_is_queued_behind_is_delivered_before_the_error_is_raised(
    policy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    subject = Subject[int](on_observer_error=policy)
    seen: list[int] = []

    def failing(value: int) -> None:
        seen.append(value)
        if value < 3:
            subject.on_next(value + 1)
        raise Trouble(str(value))

    subject.subscribe(failing)
    with pytest.raises((Trouble, ExceptionGroup)) as raised:
        subject.on_next(0)
    assert seen == [0, 1, 2, 3]
    assert "0" in str(raised.value) or "0" in str(raised.value.exceptions[0])  # type: ignore[attr-defined]
    assert len(caplog.records) == 3


@both_ways
@both_times
@pytest.mark.parametrize("policy", ["log", "raise", "group", lambda error, observer: None])
def test_an_interrupt_always_passes_and_leaves_the_subject_usable(policy: Any, before: int, serialize: bool) -> None:
    subject = Subject[str](on_observer_error=policy, serialize=serialize)
    seen: list[str] = []

    def interrupted(value: str) -> None:
        if value == "a":
            subject.on_next("queued")
            raise KeyboardInterrupt

    subject.subscribe(interrupted)
    subject.subscribe(seen.append)
    prepare(subject, before)
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        subject.on_next("a")
    subject.on_next("b")
    subject.on_next("c")
    # Others may have queued there, so a serialized subject keeps its queue for who comes next.
    assert seen == (["queued", "b", "c"] if serialize else ["b", "c"])


@both_times
def test_an_interrupt_while_catching_up_leaves_the_subject_usable(before: int) -> None:
    subject = Subject[int]()
    seen: list[int] = []

    def interrupted(value: int) -> None:
        if value == 2:
            raise KeyboardInterrupt
        if value < 2:
            subject.on_next(value + 1)

    subject.subscribe(interrupted)
    subject.subscribe(seen.append)
    prepare(subject, before, 7)
    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        subject.on_next(0)
    subject.on_next(7)
    assert seen == [0, 1, 7]


def test_an_unknown_policy_is_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="on_observer_error='ignore' is not valid: use \"log\""):
        Subject[int](on_observer_error="ignore")  # type: ignore[arg-type]


# Threads


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads that change as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@contextmanager
def running(*targets: Callable[[], object]) -> Iterator[None]:
    failures: list[BaseException] = []

    def guarded(target: Callable[[], object]) -> None:
        try:
            target()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert failures == []


PRODUCERS, EACH = 4, 500


def producing(subject: Subject[tuple[int, int]]) -> list[Callable[[], object]]:
    def producer(name: int) -> None:
        for number in range(EACH):
            subject.on_next((name, number))

    return [lambda name=name: producer(name) for name in range(PRODUCERS)]


@pytest.mark.usefixtures("eager_threads")
def test_serialized_producers_never_overlap_and_nothing_is_lost() -> None:
    subject = Subject[tuple[int, int]](serialize=True, on_observer_error="raise")
    seen: list[tuple[int, int]] = []
    also: list[tuple[int, int]] = []
    alone = threading.Lock()

    def observer(value: tuple[int, int]) -> None:
        assert alone.acquire(blocking=False)
        seen.append(value)
        alone.release()

    subject.subscribe(observer)
    subject.subscribe(also.append)
    with running(*producing(subject)):
        pass
    assert len(seen) == PRODUCERS * EACH
    assert seen == also
    for producer in range(PRODUCERS):
        assert [number for name, number in seen if name == producer] == list(range(EACH))


def test_who_queues_at_the_very_end_of_a_turn_is_not_forgotten() -> None:
    subject = Subject[str](serialize=True)
    seen: list[str] = []
    subject.subscribe(seen.append)
    lock, late = subject._turn, ["late"]

    class Turn:
        def acquire(self, blocking: bool) -> bool:
            return lock.acquire(blocking)

        def release(self) -> None:
            if late:
                subject.on_next(late.pop())
            lock.release()

    subject._turn = Turn()  # type: ignore[assignment]
    subject.on_next("a")
    assert seen == ["a", "late"]


@pytest.mark.usefixtures("eager_threads")
def test_without_serialize_nothing_is_lost_either_and_each_producer_has_delivered_when_it_returns() -> None:
    subject = Subject[tuple[int, int]]()
    seen: list[tuple[int, int]] = []
    where: list[bool] = []
    owner: dict[int, int] = {}

    def observer(value: tuple[int, int]) -> None:
        seen.append(value)
        where.append(owner.setdefault(value[0], threading.get_ident()) == threading.get_ident())

    subject.subscribe(observer)
    with running(*producing(subject)):
        pass
    assert sorted(seen) == [(name, number) for name in range(PRODUCERS) for number in range(EACH)]
    assert all(where)


@pytest.mark.usefixtures("eager_threads")
def test_the_order_from_within_holds_in_every_thread() -> None:
    subject = Subject[tuple[int, int]](on_observer_error="raise")
    quick = Subject[tuple[int, int]]()
    for each in (subject, quick):
        seen: list[tuple[int, int, int]] = []

        def first(value: tuple[int, int], each: Subject[tuple[int, int]] = each, seen: list[Any] = seen) -> None:
            seen.append((1, *value))
            if value[1] >= 0:
                each.on_next((value[0], -1))

        def second(value: tuple[int, int], seen: list[Any] = seen) -> None:
            seen.append((2, *value))

        each.subscribe(first)
        each.subscribe(second)
        with running(*producing(each)):
            pass
        for producer in range(PRODUCERS):
            own = [(who, number) for who, name, number in seen if name == producer]
            assert own == [step for n in range(EACH) for step in ((1, n), (2, n), (1, -1), (2, -1))]


@pytest.mark.usefixtures("eager_threads")
@both_ways
def test_coming_and_going_during_emissions_disturbs_nobody(serialize: bool) -> None:
    subject = Subject[tuple[int, int]](serialize=serialize)
    seen: list[tuple[int, int]] = []
    subject.subscribe(seen.append)
    after: list[object] = []

    def visitor() -> None:
        for _ in range(EACH):
            here: list[object] = []
            subscription = subject.subscribe(here.append)
            subscription.dispose()
            before = len(here)
            after.append(len(here) - before)

    with running(visitor, visitor, *producing(subject)):
        pass
    assert len(seen) == PRODUCERS * EACH
    assert len(subject.observers) == 1
    assert len(after) == 2 * EACH


@pytest.mark.usefixtures("eager_threads")
def test_whoever_subscribes_while_it_ends_is_told_of_the_end_once() -> None:
    for _ in range(100):
        subject = Subject[int]()
        told: list[str] = []

        def visitor(subject: Subject[int] = subject, told: list[str] = told) -> None:
            for _ in range(10):
                subject.subscribe(on_error=lambda error: told.append(str(error)), on_completed=lambda: told.append("?"))

        with running(visitor, lambda subject=subject: subject.on_error(ValueError("end")), visitor):
            pass
        assert told == ["end"] * 20


@both_times
def test_one_added_during_an_emission_waits_for_the_next_and_one_removed_gets_nothing_further(before: int) -> None:
    subject = Subject[int]()
    seen: list[tuple[str, int]] = []

    def first(value: int) -> None:
        seen.append(("first", value))
        if value == 1:
            leaving.dispose()
            subject.subscribe(lambda value: seen.append(("new", value)))

    subject.subscribe(first)
    leaving = subject.subscribe(lambda value: seen.append(("leaving", value)))
    prepare(subject, before, 0)
    seen.clear()
    subject.on_next(1)
    subject.on_next(2)
    assert seen == [("first", 1), ("first", 2), ("new", 2)]


def test_a_slow_producer_holds_nobody_up() -> None:
    subject = Subject[str]()
    inside, go_on = threading.Event(), threading.Event()
    seen: list[str] = []

    def observer(value: str) -> None:
        if value == "slow":
            inside.set()
            assert go_on.wait(10)
        seen.append(value)

    subject.subscribe(observer)
    with running(lambda: subject.on_next("slow")):
        inside.wait(10)
        subject.subscribe().dispose()
        subject.on_next("quick")
        assert seen == ["quick"]
        go_on.set()
    assert seen == ["quick", "slow"]


# Memory


class Callback:
    def __call__(self, value: object) -> None:
        pass


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed is freed at once, and not when the collector comes round."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "end", [None, lambda s: s.on_completed(), lambda s: s.on_error(ValueError())], ids=["leaving", "completed", "error"]
)
def test_who_leaves_is_let_go(end: Callable[[Subject[int]], None] | None) -> None:
    subject = Subject[int]()
    callback = Callback()
    freed = weakref.ref(callback)
    subscription = subject.subscribe(callback, on_error=lambda error: None)
    del callback
    subject.on_next(1)
    assert freed() is not None
    if end:
        end(subject)
    else:
        subscription.dispose()
    del subscription
    assert freed() is None


@pytest.mark.usefixtures("no_collector")
def test_a_subscription_that_is_over_does_not_keep_the_subject() -> None:
    subject = Subject[int]()
    freed = weakref.ref(subject)
    subscription = subject.subscribe()
    subject.on_next(1)
    subscription.dispose()
    del subject
    assert freed() is None


def test_a_finalizer_may_emit_and_leave() -> None:
    subject = Subject[str]()
    seen: list[str] = []
    subscription = subject.subscribe()
    subject.subscribe(seen.append)

    class Mortal:
        def __del__(self) -> None:
            subscription.dispose()
            subject.on_next("died")

    mortal = [Mortal()]
    subject.subscribe(lambda value: mortal.clear())
    subject.on_next("a")
    assert seen == ["a", "died"]
    assert len(subject.observers) == 2
