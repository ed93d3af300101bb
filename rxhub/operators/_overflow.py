"""Bounded waiting: what becomes of values that come faster than their observer takes them.

Theory of operation. Each subscription is a *line*: a queue of at most `capacity` values before an observer. A line
is *busy* while somebody serves it or is about to. Who finds it idle makes it busy and serves it until nobody waits
any more: the producer itself, or, with a scheduler, an action there. So there is one server at a time, and whoever
comes meanwhile, from another thread or from within the observer, queues. The end of the source is kept beside the
queue and is told when the queue is empty.

One lock serves all lines of an operator, so that its counters agree; it is never held while observers, schedulers or
sources run. (It is re-entrant because a value that is dropped under it may have a finalizer.)
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Condition, Thread, current_thread
from typing import Any, Generic, Literal, TypeVar, get_args

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SingleAssignmentDisposable
from reactivex.scheduler import NewThreadScheduler, TimeoutScheduler

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import Overflow
from rxhub.rx.awaitable import Awaitable

__all__ = ["Overflowing", "Strategy", "overflow"]

_T = TypeVar("_T")

Strategy = Literal["drop-oldest", "drop-newest", "latest", "block", "error"]

_FIRST_SERVICE = 5.0
"""Seconds that a blocked producer waits for a scheduler that has never run anything yet."""

_logger = logging.getLogger("rxhub")


def overflow(
    capacity: int, strategy: Strategy = "drop-oldest", *, scheduler: abc.SchedulerBase | None = None
) -> Overflowing:
    """Let at most `capacity` values wait while the observer is busy.

        temperatures.pipe(overflow(100, "latest"), ops.map(draw))
        pictures.pipe(overflow(1_000, "block", scheduler=EventLoopScheduler())).subscribe(upload)

    Without a scheduler, whichever thread finds the observer idle serves it, also with what others bring meanwhile;
    they return at once. What the observer raises reaches that thread when the queue is empty. With a scheduler
    every value is handed over there, in order and one at a time, at most `capacity` in one action; what the
    observer raises there is logged on the logger `rxhub`, since it would end the worker of most schedulers.

    The completion or the error of the source comes after what waits.

    Args:
        capacity: how many values may wait, beside the one that the observer is busy with; 1 or more.
        strategy: what becomes of one more.
            `"drop-oldest"`: it takes the place of the one that waits longest.
            `"drop-newest"`: it is dropped.
            `"latest"`: only the newest waits, whatever the capacity.
            `"block"`: its producer waits for room. A producer that is itself the thread that would have to
            make room gets `Overflow` instead of waiting for ever.
            `"error"`: it is dropped, and the observer gets `on_error(Overflow)` after what waits.
        scheduler: where the observer is served; if not given, in the thread of a producer.

    Returns:
        An operator; `.dropped` and `.waiting` count over all its subscriptions.

    Raises:
        ValueError: if the capacity or the strategy is none.
    """
    if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1:
        raise ValueError(
            f"overflow(capacity={capacity!r}): the capacity is how many values may wait, a whole number from 1 on. "
            'To keep nothing but the newest, use overflow(1, "latest").'
        )
    if strategy not in get_args(Strategy):
        raise ValueError(
            f"overflow(strategy={strategy!r}) is unknown: use one of {', '.join(map(repr, get_args(Strategy)))}."
        )
    return Overflowing(capacity, strategy, scheduler)


class Overflowing:
    """The operator that `overflow` makes: call it on an observable, or put it into a pipe."""

    def __init__(self, capacity: int, strategy: Strategy, scheduler: abc.SchedulerBase | None) -> None:
        self.capacity = capacity
        self.strategy: Strategy = strategy
        self.scheduler = scheduler
        self._tally = _Tally()

    def __call__(self, source: Observable[_T]) -> Observable[_T]:
        """The source, behind a bounded queue of its own for each subscription."""

        def subscribe(observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            line = _Line(observer, self, self._tally)
            # The line closes first, so that a producer blocked in it lets go of what disposing may need.
            subscription = CompositeDisposable(Disposable(line.close), line.upstream)
            line.upstream.disposable = source.subscribe(
                line.on_next, line.on_error, line.on_completed, scheduler=scheduler
            )
            return subscription

        return Awaitable(subscribe)

    @property
    def dropped(self) -> int:
        """How many values found no room so far, in all subscriptions."""
        return self._tally.dropped

    @property
    def waiting(self) -> int:
        """How many values wait now, in all subscriptions."""
        with self._tally.lock:
            return sum(len(line.queue) for line in self._tally.lines)

    def __repr__(self) -> str:
        return f"<overflow({self.capacity}, {self.strategy!r}), {self.waiting} waiting, {self.dropped} dropped>"


class _Tally:
    """What the lines of an operator share."""

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.lines: set[_Line[Any]] = set()
        self.dropped = 0


class _Line(Generic[_T]):
    """One subscription: who waits, and who serves."""

    def __init__(self, observer: abc.ObserverBase[_T], operator: Overflowing, tally: _Tally) -> None:
        self.upstream = SingleAssignmentDisposable()
        self.queue: deque[_T] = deque()
        self._observer = observer
        self._operator = operator
        self._limit = 1 if operator.strategy == "latest" else operator.capacity
        self._scheduler = operator.scheduler
        # These start a thread for each action. Elsewhere the thread that served last is taken to be the one that
        # will serve next, and must not wait for itself.
        self._roams = isinstance(self._scheduler, NewThreadScheduler | TimeoutScheduler)
        self._tally = tally
        self._room = Condition(tally.lock)
        self._busy = False
        self._over = False
        self._end: Callable[[], None] | None = None
        self._server: Thread | None = None
        self._ever_served = self._scheduler is None
        with tally.lock:
            tally.lines.add(self)

    def on_next(self, value: _T) -> None:
        with self._tally.lock:
            if self._over:
                return
            if not (self._busy and len(self.queue) >= self._limit) or self._make_room():
                self.queue.append(value)
            overflowed = self._over and self._end is not None
            step = self._begin()
        if overflowed:
            self.upstream.dispose()
        self._serve(step)

    def on_error(self, error: Exception) -> None:
        self._finish(partial(self._observer.on_error, error))

    def on_completed(self) -> None:
        self._finish(self._observer.on_completed)

    def close(self) -> None:
        """Let all who wait go, blocked producers too."""
        with self._tally.lock:
            self._over = True
            self._end = None
            self.queue.clear()
            self._tally.lines.discard(self)
            self._room.notify_all()

    def _finish(self, end: Callable[[], None]) -> None:
        with self._tally.lock:
            if self._over:
                return
            self._over = True
            self._end = end
            self._room.notify_all()
            step = self._begin()
        self._serve(step)

    # Making room, under the lock

    def _make_room(self) -> bool:
        """Do what the strategy says about one more; return whether it may queue."""
        strategy = self._operator.strategy
        if strategy == "block":
            return self._wait_for_room()
        self._tally.dropped += 1
        if strategy in ("drop-oldest", "latest"):
            self.queue.popleft()
            return True
        if strategy == "error":
            self._over = True
            self._end = partial(self._observer.on_error, self._refusal("the observer is busy"))
        return False

    def _wait_for_room(self) -> bool:
        while self._busy and len(self.queue) >= self._limit and not self._over:
            if self._server is current_thread():
                self._tally.dropped += 1
                raise self._refusal("the thread that would have to make room is the one that brings one more")
            in_time = self._room.wait(None if self._ever_served else _FIRST_SERVICE)
            if not (in_time or self._ever_served):
                self._tally.dropped += 1
                raise self._refusal(
                    f"{self._scheduler!r} has run nothing for {_FIRST_SERVICE:g} s; does anybody run it?"
                )
        return not self._over

    def _refusal(self, found: str) -> Overflow:
        return Overflow(
            f"overflow({self._operator.capacity}, {self._operator.strategy!r}) has no room for one more value: "
            f"{len(self.queue)} wait, and {found}. "
            'Use a larger capacity, or a strategy that drops: "drop-oldest", "drop-newest" or "latest".'
        )

    # Serving

    def _begin(self) -> Callable[[], None] | None:
        """Under the lock: if nobody serves, become who does, and return the first step."""
        if self._busy or not (self.queue or self._end):
            return None
        self._busy = True
        if self._scheduler is not None:
            return self._schedule
        self._server = current_thread()
        # Taken at once, lest it be counted among those who wait.
        return self._take()

    def _take(self) -> Callable[[], None] | None:
        """The next thing to tell the observer; None if there is nothing, and the line is idle now."""
        with self._tally.lock:
            if self.queue:
                self._room.notify()
                return partial(self._observer.on_next, self.queue.popleft())
            end, self._end = self._end, None
            if end is None:
                self._release()
            return end

    def _release(self) -> None:
        with self._tally.lock:
            self._busy = False
            self._step_back()
            # Who is blocked would wait for a server, and there is none: it becomes one.
            self._room.notify_all()

    def _serve(self, step: Callable[[], None] | None) -> None:
        """Serve in the producer's thread until nobody waits, or have it done on the scheduler."""
        if step is None:
            return
        if self._scheduler is not None:
            step()
            return
        failure: Exception | None = None
        try:
            while step is not None:
                try:
                    step()
                except Exception as error:
                    if failure is None:
                        failure = error
                    else:
                        self._report(error)
                step = self._take()
        except BaseException:
            self._release()
            raise
        if failure is not None:
            raise failure

    def _schedule(self) -> None:
        begun = False

        def act(*_: object) -> None:
            nonlocal begun
            begun = True
            self._serve_scheduled()

        assert self._scheduler is not None
        try:
            self._scheduler.schedule(act)
        except BaseException:
            # What passes through from an action that ran at once has been seen to there.
            if not begun:
                self._release()
            raise

    def _serve_scheduled(self) -> None:
        """Tell as many as may wait, then let the scheduler do other things before the rest."""
        with self._tally.lock:
            self._server = current_thread()
            self._ever_served = True
        try:
            for _ in range(self._limit):
                step = self._take()
                if step is None:
                    return
                try:
                    step()
                except Exception as error:
                    self._report(error)
            with self._tally.lock:
                if not (self.queue or self._end):
                    self._release()
                    return
                self._step_back()
        except BaseException:
            self._release()
            raise
        self._schedule()

    def _step_back(self) -> None:
        """Under the lock: forget who served, unless the same thread will serve next."""
        if self._roams:
            self._server = None

    def _report(self, error: Exception) -> None:
        _logger.error("The observer behind %r raised.", self._operator, exc_info=error)
