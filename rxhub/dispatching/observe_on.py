"""Subscribers with a scheduler: their events are queued and run there, one at a time.

A subscriber takes its place in the dispatch order when the event is queued. What its callback does is outside that
order, so `stop()` raises `TooLate` there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, SupportsIndex

from reactivex import abc

from rxhub.concurrency.awaitables import as_coroutine, is_unfinished
from rxhub.concurrency.event_loop import running_loop
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.dispatching.subscriber import OnResult, Subscriber
from rxhub.errors import TooLate, as_exception
from rxhub.event import Event

if TYPE_CHECKING:
    from rxhub.telemetry.spans import HandlerTrace

__all__ = ["OnOutcome", "ScheduledSubscriber", "UnstoppableEvent", "unstoppable"]

OnOutcome = Callable[[Delivery, Outcome, OnResult | None], None]
"""Called with the result or the error of a callback that ran on a scheduler."""


class UnstoppableEvent(Event):
    """An event that the later subscribers have received already."""

    __slots__ = ()

    def stop(self) -> None:
        raise TooLate(
            f"{self.topic} was handed over, to a scheduler or to a pipeline that was busy with another event, and the "
            "later subscribers have it already. To stop events, subscribe without a scheduler; where events are "
            "published synchronously, by several threads or by callbacks, subscribe a plain callback."
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        # A plain event: the receiver of a copy can stop it again.
        return _plain, (dict(self.fields),)


def _plain(fields: dict[str, Any]) -> Event:
    event = Event.__new__(Event)
    event._fields = fields  # pyright: ignore[reportPrivateUsage]
    event._stopped = False  # pyright: ignore[reportPrivateUsage]
    return event


def unstoppable(event: Event) -> Event:
    """The same event, for a subscriber that can no longer stop it."""
    return event.envelope(UnstoppableEvent)


class ScheduledSubscriber:
    """The queue of one subscriber."""

    def __init__(self, subscriber: Subscriber, scheduler: abc.SchedulerBase, on_outcome: OnOutcome) -> None:
        self._scheduler = scheduler
        self._subscriber = subscriber
        self._on_outcome = on_outcome
        self._queue: deque[tuple[Event, Delivery, OnResult | None]] = deque()
        self._lock = ForkSafeLock(self)
        self._is_running = False

    def put(self, delivery: Delivery, on_result: OnResult | None) -> None:
        delivery.add_pending()
        self._queue.append((unstoppable(delivery.event), delivery, on_result))
        with self._lock:
            if self._is_running:
                return
            self._is_running = True
        self._schedule()

    def after_fork(self) -> None:
        """Forget what is queued: the thread that would run it is not in the forked child."""
        self._is_running = False
        self._queue.clear()

    def _schedule(self) -> None:
        try:
            self._scheduler.schedule(self._run_first)
        except Exception as error:
            # The scheduler was disposed of, or its loop is closed: it runs nothing of the queue.
            with self._lock:
                queue, self._queue = self._queue, deque()
                self._is_running = False
            for _, delivery, _ in queue:
                self._on_outcome(delivery, Outcome(self._subscriber, error=error), None)

    def _run_first(self, scheduler: abc.SchedulerBase, state: Any = None) -> abc.DisposableBase | None:
        event, delivery, on_result = self._queue.popleft()
        if not self._subscriber.alive:
            delivery.complete_pending(None)
            self._schedule_next()
            return None
        started = perf_counter() if delivery.timed else None
        trace = delivery._trace  # pyright: ignore[reportPrivateUsage]
        if trace is not None:
            trace = trace.branch()
        try:
            context = self._subscriber.context.copy() if trace is None else trace.enter(self._subscriber)
            result = context.run(self._subscriber.callback, event)
            if is_unfinished(result):
                coroutine = as_coroutine(result)
                if (loop := running_loop()) is None:
                    result = context.run(asyncio.run, coroutine)
                else:
                    task = loop.create_task(coroutine, context=context)
                    _tasks.add(task)
                    task.add_done_callback(lambda task: self._task_ended(delivery, trace, on_result, started, task))
                    return None
        except BaseException as error:
            self._end(delivery, trace, on_result, started, None, error)
            if not isinstance(error, (Exception, asyncio.CancelledError)):
                raise
        else:
            self._end(delivery, trace, on_result, started, result, None)
        return None

    def _task_ended(
        self,
        delivery: Delivery,
        trace: HandlerTrace | None,
        on_result: OnResult | None,
        started: float | None,
        task: asyncio.Task[Any],
    ) -> None:
        _tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._end(delivery, trace, on_result, started, None if error else task.result(), error)

    def _end(
        self,
        delivery: Delivery,
        trace: HandlerTrace | None,
        on_result: OnResult | None,
        started: float | None,
        result: Any,
        error: BaseException | None,
    ) -> None:
        if trace is not None:
            trace.end_call(error)
        try:
            failure = None if error is None else as_exception(error)
            since_first, latency = (None, None) if started is None else delivery.times_since(started)
            self._on_outcome(delivery, Outcome(self._subscriber, result, failure, latency, since_first), on_result)
        finally:
            self._schedule_next()

    def _schedule_next(self) -> None:
        """Go on by the scheduler, so that its other work gets a turn."""
        with self._lock:
            if not self._queue:
                self._is_running = False
                return
        self._schedule()


# An event loop holds its tasks weakly.
_tasks: set[asyncio.Task[Any]] = set()
