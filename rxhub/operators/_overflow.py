"""Backpressure: a bounded queue for values that come faster than their observer takes them.

Each subscription has a queue of at most `capacity` values before its observer. The queue is *busy* while a thread
serves it or is about to. A thread that finds it idle makes it busy and serves it until it is empty: the producer
itself, or, with a scheduler, an action there. So one thread serves at a time, and values that come in that time, from
another thread or from within the observer, are queued. The end of the source is kept apart and emitted when the queue
is empty.

One lock serves all queues of an operator, so that its counters agree. It is never held while observers, schedulers or
sources run. (It is reentrant because a value that is dropped under it may have a finalizer.)
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

_FIRST_ACTION_TIMEOUT_S = 5.0
"""How long a blocked producer waits for a scheduler that has not run anything yet."""

_logger = logging.getLogger("rxhub")


def overflow(
    capacity: int, strategy: Strategy = "drop-oldest", *, scheduler: abc.SchedulerBase | None = None
) -> Overflowing:
    """Queue at most `capacity` values while the observer is busy.

        temperatures.pipe(overflow(100, "latest"), ops.map(draw))
        pictures.pipe(overflow(1_000, "block", scheduler=EventLoopScheduler())).subscribe(upload)

    Without a scheduler, the thread that finds the observer idle calls it, also with values that other threads bring
    in that time; those return at once. What the observer raises is raised in that thread when the queue is empty. With
    a scheduler, the observer is called there, in order, with at most `capacity` values in one action; what it raises is
    logged on the logger `rxhub`, since it would end the worker of most schedulers.

    The completion or the error of the source follows the queued values.

    Args:
        capacity: how many values may be queued, in addition to the one that the observer is busy with; at least 1.
        strategy: what to do with a value when the queue is full.
            `"drop-oldest"`: replace the oldest value.
            `"drop-newest"`: drop it.
            `"latest"`: keep only the newest value, regardless of the capacity.
            `"block"`: let its producer wait for room. A producer that is itself the thread that would make room gets
            `Overflow` instead of waiting forever.
            `"error"`: drop it, and emit `on_error(Overflow)` after the queued values.
        scheduler: where the observer is called. Default: in the thread of a producer.

    Returns:
        An operator; `.dropped` and `.waiting` count over all its subscriptions.

    Raises:
        ValueError: if the capacity or the strategy is not valid.
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
    """The operator that `overflow` returns.

    Attributes:
        dropped: the number of values dropped so far, in all subscriptions.
    """

    def __init__(self, capacity: int, strategy: Strategy, scheduler: abc.SchedulerBase | None) -> None:
        self.capacity = capacity
        self.strategy: Strategy = strategy
        self.scheduler = scheduler
        self.dropped = 0
        self.lock = ForkSafeLock()
        self.queues: set[_Queue[Any]] = set()

    def __call__(self, source: Observable[_T]) -> Observable[_T]:
        """The source with a bounded queue for each subscription."""

        def subscribe(observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            queue = _Queue(observer, self)
            # The queue closes first, so that a blocked producer releases what disposing may need.
            subscription = CompositeDisposable(Disposable(queue.close), queue.upstream)
            queue.upstream.disposable = source.subscribe(
                queue.on_next, queue.on_error, queue.on_completed, scheduler=scheduler
            )
            return subscription

        return Awaitable(subscribe)

    @property
    def waiting(self) -> int:
        """The number of queued values, in all subscriptions."""
        with self.lock:
            return sum(len(queue.values) for queue in self.queues)

    def __repr__(self) -> str:
        return f"<overflow({self.capacity}, {self.strategy!r}), {self.waiting} waiting, {self.dropped} dropped>"


class _Queue(Generic[_T]):
    """The queue of one subscription, and the thread that serves it."""

    def __init__(self, observer: abc.ObserverBase[_T], operator: Overflowing) -> None:
        self.upstream = SingleAssignmentDisposable()
        self.values: deque[_T] = deque()
        self._observer = observer
        self._operator = operator
        self._limit = 1 if operator.strategy == "latest" else operator.capacity
        self._scheduler = operator.scheduler
        # These start a thread for each action. Otherwise the thread that served last is expected to serve next, and
        # must not wait for itself.
        self._changes_threads = isinstance(self._scheduler, NewThreadScheduler | TimeoutScheduler)
        self._lock = operator.lock
        self._room = Condition(operator.lock)
        self._busy = False
        self._over = False
        self._end: Callable[[], None] | None = None
        self._server: Thread | None = None
        self._ever_served = self._scheduler is None
        with self._lock:
            operator.queues.add(self)

    def on_next(self, value: _T) -> None:
        with self._lock:
            if self._over:
                return
            if not (self._busy and len(self.values) >= self._limit) or self._make_room():
                self.values.append(value)
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
        """Drop the queue, and release blocked producers."""
        with self._lock:
            self._over = True
            self._end = None
            self.values.clear()
            self._operator.queues.discard(self)
            self._room.notify_all()

    def _finish(self, end: Callable[[], None]) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
            self._end = end
            self._room.notify_all()
            step = self._begin()
        self._serve(step)

    def _make_room(self) -> bool:
        """Under the lock: apply the strategy to one more value; return whether to queue it."""
        strategy = self._operator.strategy
        if strategy == "block":
            return self._wait_for_room()
        self._operator.dropped += 1
        if strategy in ("drop-oldest", "latest"):
            self.values.popleft()
            return True
        if strategy == "error":
            self._over = True
            self._end = partial(self._observer.on_error, self._refusal("the observer is busy"))
        return False

    def _wait_for_room(self) -> bool:
        while self._busy and len(self.values) >= self._limit and not self._over:
            if self._server is current_thread():
                self._operator.dropped += 1
                raise self._refusal("the thread that would have to make room is the producer itself")
            in_time = self._room.wait(None if self._ever_served else _FIRST_ACTION_TIMEOUT_S)
            if not (in_time or self._ever_served):
                self._operator.dropped += 1
                raise self._refusal(
                    f"{self._scheduler!r} has run nothing for {_FIRST_ACTION_TIMEOUT_S:g} s; is it running?"
                )
        return not self._over

    def _refusal(self, found: str) -> Overflow:
        return Overflow(
            f"overflow({self._operator.capacity}, {self._operator.strategy!r}) has no room for one more value: "
            f"{len(self.values)} wait, and {found}. "
            'Use a larger capacity, or a strategy that drops: "drop-oldest", "drop-newest" or "latest".'
        )

    def _begin(self) -> Callable[[], None] | None:
        """Under the lock: if no thread serves, become the one that does, and return the first step."""
        if self._busy or not (self.values or self._end):
            return None
        self._busy = True
        if self._scheduler is not None:
            return self._schedule
        self._server = current_thread()
        # Taken at once, so that it is not counted as queued.
        return self._take()

    def _take(self) -> Callable[[], None] | None:
        """The next call of the observer; None if there is none, and the queue is idle now."""
        with self._lock:
            if self.values:
                self._room.notify()
                return partial(self._observer.on_next, self.values.popleft())
            end, self._end = self._end, None
            if end is None:
                self._release()
            return end

    def _release(self) -> None:
        with self._lock:
            self._busy = False
            self._forget_server()
            # No thread serves now: a blocked producer has to.
            self._room.notify_all()

    def _serve(self, step: Callable[[], None] | None) -> None:
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
            # An action that ran at once has released it already.
            if not begun:
                self._release()
            raise

    def _serve_scheduled(self) -> None:
        """Emit as many values as may be queued, then let the scheduler do other work before the rest."""
        with self._lock:
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
            with self._lock:
                if not (self.values or self._end):
                    self._release()
                    return
                self._forget_server()
        except BaseException:
            self._release()
            raise
        self._schedule()

    def _forget_server(self) -> None:
        """Under the lock: forget which thread served, unless the same one will serve next."""
        if self._changes_threads:
            self._server = None

    def _report(self, error: Exception) -> None:
        _logger.error("The observer behind %r raised.", self._operator, exc_info=error)
