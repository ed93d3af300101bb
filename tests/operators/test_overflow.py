from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from importlib import import_module
from typing import Any, get_args

import hypothesis.strategies as st
import pytest
import reactivex
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from reactivex import abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.scheduler import EventLoopScheduler, ImmediateScheduler, NewThreadScheduler, VirtualTimeScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.scheduler.scheduler import Scheduler

from rxhub.errors import Overflow
from rxhub.operators._overflow import Strategy, overflow
from rxhub.rx.subject import Subject
from tests.threads import LIMIT, until

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by its dotted name: under that, `rxhub` has the operator.
    monkeypatch.setattr(import_module("rxhub.operators._overflow"), "_FIRST_ACTION_TIMEOUT_S", 0.05)


class ByHand(Scheduler):
    """Runs one action when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: deque[tuple[Any, Any]] = deque()

    def schedule(self, action: Any, state: Any = None) -> abc.DisposableBase:
        self.actions.append((action, state))
        return Disposable()

    def schedule_relative(self, duetime: Any, action: Any, state: Any = None) -> abc.DisposableBase:
        raise NotImplementedError

    schedule_absolute = schedule_relative

    def run_one(self) -> None:
        if self.actions:
            action, state = self.actions.popleft()
            action(self, state)


# Against a deque


class Deque:
    """The strategies in the plainest words."""

    def __init__(self, capacity: int, strategy: Strategy) -> None:
        self.capacity, self.strategy = capacity, strategy
        self.waiting: deque[Any] = deque()
        self.dropped = 0
        self.ended = False

    def offer(self, value: int) -> str:
        if self.ended:
            return "ignored"
        full = len(self.waiting) >= (1 if self.strategy == "latest" else self.capacity)
        if not full:
            self.waiting.append(value)
            return "taken"
        self.dropped += 1
        match self.strategy:
            case "drop-oldest":
                self.waiting.popleft()
                self.waiting.append(value)
            case "latest":
                self.waiting.clear()
                self.waiting.append(value)
            case "error":
                self.end("Overflow")
            case "block":
                return "Overflow"
        return "taken"

    def end(self, how: str) -> None:
        if not self.ended:
            self.ended = True
            self.waiting.append(how)

    def count(self) -> int:
        return sum(isinstance(value, int) for value in self.waiting)


class AgainstDeque(RuleBasedStateMachine):
    """Served by a scheduler, in one thread."""

    @initialize(capacity=st.integers(1, 4), strategy=st.sampled_from(STRATEGIES))
    def begin(self, capacity: int, strategy: Strategy) -> None:
        self.scheduler = ByHand()
        self.operator = overflow(capacity, strategy, scheduler=self.scheduler)
        self.model = Deque(capacity, strategy)
        self.source = reactivex.Subject[int]()
        self.told: list[Any] = []
        self.expected: list[Any] = []
        self.subscription = self.source.pipe(self.operator).subscribe(
            self.told.append, lambda error: self.told.append(type(error).__name__), lambda: self.told.append("end")
        )
        # A first value tells which thread serves.
        self.offer(0)
        self.serve()

    @rule(value=st.integers(0, 9))
    def offer(self, value: int) -> None:
        expected = self.model.offer(value)
        if expected == "Overflow":
            with pytest.raises(Overflow):
                self.source.on_next(value)
        else:
            self.source.on_next(value)

    @rule()
    def serve(self) -> None:
        self.scheduler.run_one()
        for _ in range(1 if self.model.strategy == "latest" else self.model.capacity):
            if self.model.waiting:
                self.expected.append(self.model.waiting.popleft())

    @precondition(lambda self: len(getattr(self, "told", ())) > 4)
    @rule(error=st.sampled_from([None, ValueError()]))
    def end(self, error: Exception | None) -> None:
        if error is None:
            self.source.on_completed()
        else:
            self.source.on_error(error)
        self.model.end("end" if error is None else "ValueError")

    @precondition(lambda self: len(getattr(self, "told", ())) > 6)
    @rule()
    def dispose(self) -> None:
        self.subscription.dispose()
        self.model.ended = True
        self.model.waiting.clear()

    @invariant()
    def same(self) -> None:
        if hasattr(self, "told"):
            assert self.told == self.expected
            assert self.operator.waiting == self.model.count()
            assert self.operator.dropped == self.model.dropped
            if self.model.ended and not self.model.waiting:
                assert self.source.observers == []


class AgainstDequeFromWithin(RuleBasedStateMachine):
    """Served by the producer; what waits is what the observer itself has emitted meanwhile."""

    @initialize(capacity=st.integers(1, 3), strategy=st.sampled_from(STRATEGIES))
    def begin(self, capacity: int, strategy: Strategy) -> None:
        self.operator = overflow(capacity, strategy)
        self.model = Deque(capacity, strategy)
        self.source = reactivex.Subject[int]()
        self.told: list[Any] = []
        self.expected: list[Any] = []
        self.refused = 0
        self.left: deque[list[int]] = deque()
        self.source.pipe(self.operator).subscribe(
            self.on_next, lambda error: self.told.append(type(error).__name__), lambda: self.told.append("end")
        )

    def on_next(self, value: int) -> None:
        self.told.append(value)
        for nested in self.left.popleft() if self.left else ():
            try:
                self.source.on_next(nested)
            except Overflow:
                self.refused += 1

    @rule(value=st.integers(0, 9), nested=st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=4))
    def offer(self, value: int, nested: list[list[int]]) -> None:
        refused, self.refused = 0, 0
        self.left = deque(nested)
        self.source.on_next(value)
        left = deque(nested)
        assert not self.model.waiting
        self.model.offer(value)
        while self.model.waiting:
            told = self.model.waiting.popleft()
            self.expected.append(told)
            if isinstance(told, int) and left:
                refused += sum(self.model.offer(inner) == "Overflow" for inner in left.popleft())
        assert self.refused == refused

    @invariant()
    def same(self) -> None:
        if hasattr(self, "told"):
            assert self.told == self.expected
            assert (self.operator.waiting, self.operator.dropped) == (0, self.model.dropped)


TestAgainstDeque = AgainstDeque.TestCase
TestAgainstDequeFromWithin = AgainstDequeFromWithin.TestCase


# One thread


def listen(source: reactivex.Observable[Any], told: list[Any] | None = None) -> tuple[list[Any], abc.DisposableBase]:
    told = [] if told is None else told
    return told, source.subscribe(told.append, told.append, lambda: told.append("completed"))


@every_strategy
def test_an_observer_that_keeps_up_gets_everything(strategy: Strategy) -> None:
    told, _ = listen(reactivex.of(1, 2, 3).pipe(overflow(1, strategy)))
    assert told == [1, 2, 3, "completed"]


def test_an_error_of_the_source_comes_after_what_waits() -> None:
    scheduler, source, error = ByHand(), Subject[int](), ValueError()
    told, _ = listen(source.pipe(overflow(2, scheduler=scheduler)))
    source.on_next(1)
    source.on_next(2)
    source.on_error(error)
    scheduler.run_one()
    scheduler.run_one()
    assert told == [1, 2, error]


def test_an_overflow_lets_the_source_go_and_says_what_to_do() -> None:
    scheduler, source = ByHand(), Subject[int]()
    told, _ = listen(source.pipe(overflow(2, "error", scheduler=scheduler)))
    for value in range(5):
        source.on_next(value)
    assert source.observers == []
    for _ in range(3):
        scheduler.run_one()
    *values, error = told
    assert values == [0, 1]
    assert isinstance(error, Overflow)
    assert "2 wait" in str(error)
    assert "larger capacity" in str(error)


def test_an_overflow_while_subscribing_ends_a_source_that_emits_at_once() -> None:
    scheduler = ByHand()
    told, _ = listen(reactivex.range(100).pipe(overflow(3, "error", scheduler=scheduler)))
    for _ in range(3):
        scheduler.run_one()
    assert told[:-1] == [0, 1, 2]
    assert isinstance(told[-1], Overflow)


def test_it_counts_over_all_its_subscriptions() -> None:
    scheduler, source = ByHand(), Subject[int]()
    operator = overflow(2, "drop-newest", scheduler=scheduler)
    _, first = listen(source.pipe(operator))
    _, second = listen(source.pipe(operator))
    for value in range(5):
        source.on_next(value)
    assert (operator.waiting, operator.dropped) == (4, 6)
    assert repr(operator) == "<overflow(2, 'drop-newest'), 4 waiting, 6 dropped>"
    first.dispose()
    assert (operator.waiting, operator.dropped) == (2, 6)
    second.dispose()
    assert (operator.waiting, operator.dropped) == (0, 6)


def test_it_forgets_a_subscription_that_has_ended_or_could_not_be_made() -> None:
    def refuse(observer: object, scheduler: object) -> abc.DisposableBase:
        raise ArithmeticError

    operator = overflow(2)
    listen(reactivex.of(1, 2).pipe(operator))
    told, _ = listen(reactivex.create(refuse).pipe(operator))
    assert isinstance(told[0], ArithmeticError)
    assert not operator.queues


def test_one_action_tells_at_most_as_many_as_may_wait_so_that_others_have_their_turn() -> None:
    scheduler, source = ByHand(), Subject[int]()
    told, _ = listen(source.pipe(overflow(3, scheduler=scheduler), ops.do_action(lambda n: source.on_next(n + 1))))
    source.on_next(0)
    scheduler.run_one()
    assert told == [0, 1, 2]
    assert len(scheduler.actions) == 1


def test_nothing_is_left_scheduled_when_nobody_waits() -> None:
    scheduler, source = ByHand(), Subject[int]()
    listen(source.pipe(overflow(1, "latest", scheduler=scheduler)))
    source.on_next(0)
    scheduler.run_one()
    assert not scheduler.actions


def test_a_scheduler_that_acts_at_once_is_one_too() -> None:
    source = Subject[int]()
    told, _ = listen(source.pipe(overflow(1, "block", scheduler=ImmediateScheduler.singleton())))
    for value in range(3):
        source.on_next(value)
    source.on_completed()
    assert told == [0, 1, 2, "completed"]


def test_disposing_from_within_stops_what_waits() -> None:
    source = reactivex.Subject[int]()
    told: list[int] = []

    def on_next(value: int) -> None:
        told.append(value)
        source.on_next(value + 1)
        if value == 2:
            subscription.dispose()

    subscription = source.pipe(overflow(2)).subscribe(on_next)
    source.on_next(0)
    source.on_next(7)
    assert told == [0, 1, 2]


def test_the_default_scheduler_of_a_subscription_goes_to_the_source() -> None:
    scheduler = VirtualTimeScheduler()
    told: list[int] = []
    reactivex.timer(5.0).pipe(overflow(1)).subscribe(told.append, scheduler=scheduler)
    assert told == []
    scheduler.start()
    assert told == [0]


@pytest.mark.parametrize("capacity", [0, -1, 2.5, "10", None, True])
def test_a_capacity_that_is_none_is_refused_with_advice(capacity: Any) -> None:
    with pytest.raises(ValueError, match=r'a whole number from 1 on.*"latest"'):
        overflow(capacity)


@pytest.mark.parametrize("strategy", ["drop", "", None, "BLOCK", ["error"]])
def test_an_unknown_strategy_is_refused_with_the_known_ones(strategy: Any) -> None:
    with pytest.raises(ValueError, match=r"use one of 'drop-oldest', .*'error'"):
        overflow(1, strategy)


# Observers that raise


def test_what_the_observer_raises_reaches_its_server_when_the_queue_is_empty() -> None:
    source = reactivex.Subject[int]()
    told: list[int] = []

    def on_next(value: int) -> None:
        told.append(value)
        if value < 2:
            source.on_next(value + 1)
        raise ArithmeticError(value)

    source.pipe(overflow(5)).subscribe(on_next)
    with pytest.raises(ArithmeticError, match="0"):
        source.on_next(0)
    with pytest.raises(ArithmeticError, match="7"):
        source.on_next(7)
    assert told == [0, 1, 2, 7]


def test_on_a_scheduler_it_is_logged_and_the_worker_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = EventLoopScheduler()
    source, done = Subject[int](), threading.Event()

    def on_next(value: int) -> None:
        if value == 0:
            raise ArithmeticError
        done.set()

    source.pipe(overflow(5, scheduler=scheduler)).subscribe(on_next)
    source.on_next(0)
    source.on_next(1)
    assert done.wait(10)
    scheduler.dispose()
    assert [(record.name, record.exc_info[0]) for record in caplog.records if record.exc_info] == [
        ("rxhub", ArithmeticError)
    ]


@every_strategy
@pytest.mark.parametrize("scheduled", [False, True])
def test_an_interrupt_passes_at_once_and_leaves_it_usable(scheduled: bool, strategy: Strategy) -> None:
    scheduler = ByHand() if scheduled else None
    source = reactivex.Subject[int]()
    told: list[int] = []

    def on_next(value: int) -> None:
        if value == 0:
            source.on_next(1)
            raise KeyboardInterrupt
        told.append(value)

    def offer(value: int) -> None:
        source.on_next(value)
        if scheduler:
            scheduler.run_one()

    source.pipe(overflow(1, strategy, scheduler=scheduler)).subscribe(on_next)
    with pytest.raises(KeyboardInterrupt):
        offer(0)
    offer(2)
    if scheduler:
        scheduler.run_one()
    assert told == [1, 2]


def test_a_scheduler_that_refuses_tells_the_producer_each_time() -> None:
    scheduler = EventLoopScheduler()
    scheduler.dispose()
    source = reactivex.Subject[int]()
    source.pipe(overflow(1, "block", scheduler=scheduler)).subscribe()
    for value in range(3):
        with pytest.raises(Exception, match="disposed"):
            source.on_next(value)


# Threads


@pytest.fixture
def much_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that begin to serve need their time."""
    monkeypatch.setattr(import_module("rxhub.operators._overflow"), "_FIRST_ACTION_TIMEOUT_S", LIMIT)


def in_threads(*targets: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


PRODUCERS, EACH = 3, 200


@every_strategy
@pytest.mark.usefixtures("much_patience")
@pytest.mark.parametrize("make", [None, EventLoopScheduler, NewThreadScheduler])
def test_with_many_producers_calls_never_overlap_and_every_value_is_accounted_for(
    strategy: Strategy, make: Callable[[], Any] | None
) -> None:
    scheduler = make() if make else None
    operator = overflow(4, strategy, scheduler=scheduler)
    source = Subject[tuple[int, int]]()
    told: list[tuple[int, int]] = []
    ended, alone, failures = threading.Event(), threading.Lock(), []
    most = 0

    def on_next(value: tuple[int, int]) -> None:
        nonlocal most
        if not alone.acquire(blocking=False):
            failures.append(value)
        most = max(most, operator.waiting)
        told.append(value)
        if not len(told) % 50:
            time.sleep(0.001)
        alone.release()

    def produce(name: int) -> None:
        for number in range(EACH):
            source.on_next((name, number))

    source.pipe(operator).subscribe(on_next, lambda error: ended.set(), ended.set)
    join(in_threads(*(lambda name=name: produce(name) for name in range(PRODUCERS))))
    source.on_completed()
    assert ended.wait(20)
    assert failures == []
    assert most <= 4
    for name in range(PRODUCERS):
        own = [number for producer, number in told if producer == name]
        assert own == sorted(set(own))
    if strategy == "block":
        assert (len(told), operator.dropped) == (PRODUCERS * EACH, 0)
    elif strategy != "error":
        assert len(told) + operator.dropped == PRODUCERS * EACH
    if scheduler and hasattr(scheduler, "dispose"):
        scheduler.dispose()


class Blocked:
    """A full queue of one before an observer that is busy until told, and a producer that waits for room."""

    def __init__(self, scheduler: Any = None) -> None:
        self.operator = overflow(1, "block", scheduler=scheduler)
        self.source = Subject[int]()
        self.told: list[int] = []
        self.go_on = threading.Semaphore(0)
        self.subscription = self.source.pipe(self.operator).subscribe(self.on_next, lambda error: None)
        self.first = in_threads(lambda: self.source.on_next(0))
        until(lambda: self.told == [0])
        self.source.on_next(1)
        self.second = in_threads(lambda: self.source.on_next(2))
        time.sleep(0.02)
        assert self.second[0].is_alive()

    def on_next(self, value: int) -> None:
        self.told.append(value)
        assert self.go_on.acquire(timeout=60)


@pytest.mark.usefixtures("much_patience")
@pytest.mark.parametrize("make", [None, EventLoopScheduler, NewThreadScheduler])
def test_disposing_wakes_a_blocked_producer(make: Callable[[], Any] | None) -> None:
    blocked = Blocked(make() if make else None)
    blocked.subscription.dispose()
    join(blocked.second)
    blocked.go_on.release()
    join(blocked.first)
    assert blocked.told == [0]


def test_the_end_of_the_source_wakes_a_blocked_producer() -> None:
    blocked = Blocked()
    blocked.source.on_completed()
    join(blocked.second)
    blocked.go_on.release(2)
    join(blocked.first)
    assert blocked.told == [0, 1]
    assert blocked.operator.waiting == 0


@pytest.mark.usefixtures("much_patience")
@pytest.mark.parametrize("make", [None, EventLoopScheduler, NewThreadScheduler])
def test_room_wakes_a_blocked_producer_while_the_observer_is_busy_with_the_next(
    make: Callable[[], Any] | None,
) -> None:
    blocked = Blocked(make() if make else None)
    blocked.go_on.release()
    join(blocked.second)
    assert blocked.told == [0, 1]
    blocked.go_on.release(2)
    join(blocked.first)
    until(lambda: blocked.told == [0, 1, 2])
    assert (blocked.operator.waiting, blocked.operator.dropped) == (0, 0)


def test_a_thread_of_a_pool_may_wait_for_the_others() -> None:
    class Pool(ByHand, NewThreadScheduler):
        pass

    pool, source = Pool(), Subject[int]()
    told, _ = listen(source.pipe(overflow(1, "block", scheduler=pool)))
    source.on_next(0)
    pool.run_one()

    def other() -> None:
        while len(told) < 3:
            pool.run_one()
            time.sleep(0.001)

    serving = in_threads(other)
    source.on_next(1)
    source.on_next(2)
    join(serving)
    assert told == [0, 1, 2]


@pytest.mark.usefixtures("much_patience")
@pytest.mark.parametrize("make", [None, EventLoopScheduler, NewThreadScheduler])
def test_the_server_itself_gets_an_error_instead_of_a_deadlock(make: Callable[[], Any] | None) -> None:
    scheduler = make() if make else None
    source = reactivex.Subject[int]()
    refusals: list[str] = []
    done = threading.Event()

    def on_next(value: int) -> None:
        if value == 0:
            source.on_next(1)
            try:
                source.on_next(2)
            except Overflow as error:
                refusals.append(str(error))
            done.set()

    source.pipe(overflow(1, "block", scheduler=scheduler)).subscribe(on_next)
    source.on_next(0)
    assert done.wait(20)
    (refusal,) = refusals
    assert "the thread that would have to make room" in refusal
    if scheduler and hasattr(scheduler, "dispose"):
        scheduler.dispose()


def test_a_producer_on_the_loop_that_serves_is_not_blocked_for_ever() -> None:
    async def main() -> list[int]:
        source = reactivex.Subject[int]()
        told: list[int] = []
        source.pipe(overflow(2, "block", scheduler=AsyncIOScheduler(asyncio.get_running_loop()))).subscribe(told.append)
        source.on_next(0)
        source.on_next(1)
        with pytest.raises(Overflow, match=r"has run nothing for 0.05 s"):
            source.on_next(2)
        while len(told) < 2:
            await asyncio.sleep(0)
        source.on_next(3)
        source.on_next(4)
        with pytest.raises(Overflow, match="the thread that would have to make room"):
            source.on_next(5)
        while len(told) < 4:
            await asyncio.sleep(0)
        return told

    assert asyncio.run(main()) == [0, 1, 3, 4]


def test_a_value_that_emits_when_it_is_dropped_does_not_hang() -> None:
    source = Subject[Any]()
    operator = overflow(1, scheduler=ByHand())
    source.pipe(operator).subscribe()

    class Mortal:
        def __del__(self) -> None:
            source.on_next("died")

    finished = in_threads(lambda: [source.on_next(Mortal()), source.on_next(1), source.on_next(2)])
    join(finished)
    until(lambda: operator.waiting <= 2)
    assert operator.dropped >= 2
