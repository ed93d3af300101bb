"""A subscriber with a scheduler: its events wait in line and run there, one at a time.

The place in the dispatch order is taken when the event is put in line. What happens later is
outside that order, so a `stop()` there raises `TooLate` instead of being silently ignored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, SupportsIndex

from reactivex import abc

from rxhub.concurrency.awaitables import as_coroutine, is_unfinished
from rxhub.concurrency.event_loop import running_loop
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.dispatching.delivery import Delivery
from rxhub.errors import TooLate, as_exception
from rxhub.event import Event

if TYPE_CHECKING:
    from rxhub.dispatching.dispatcher import Subscriber

__all__ = ["OnOutcome", "OnResult", "ScheduledSubscriber", "UnstoppableEvent", "unstoppable"]

OnResult = Callable[[Event, "Subscriber", Any], None]
"""Called with an event, who answered it, and the result that is not None."""

OnOutcome = Callable[[Delivery, "Subscriber", Any, "Exception | None", "OnResult | None"], None]
"""Called with the result or the error of a callback that was handed over."""


class UnstoppableEvent(Event):
    """An event that has gone on to the later subscribers already."""

    __slots__ = ()

    def stop(self) -> None:
        raise TooLate(
            f"{self.topic} was handed over, to a scheduler or to a pipeline that was busy with another event, and the "
            "later subscribers have it already. What stops events must have no scheduler; where events are published "
            "synchronously, by several threads or by callbacks, it must be a plain callback."
        )

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        # A plain event: where a copy arrives it can be stopped again.
        return _plain, (dict(self.fields),)


def _plain(fields: dict[str, Any]) -> Event:
    event = Event.__new__(Event)
    event._fields = fields  # pyright: ignore[reportPrivateUsage]
    event._stopped = False  # pyright: ignore[reportPrivateUsage]
    return event


def unstoppable(event: Event) -> Event:
    """The same event for somebody who can no longer stop it."""
    return event.envelope(UnstoppableEvent)


class ScheduledSubscriber:
    """The line of one subscriber.

    Args:
        subscriber: whose callback runs.
        scheduler: where it runs.
        on_outcome: told how each callback ended.
    """

    def __init__(self, subscriber: Subscriber, scheduler: abc.SchedulerBase, on_outcome: OnOutcome) -> None:
        self.scheduler = scheduler
        self._subscriber = subscriber
        self._on_outcome = on_outcome
        self._line: deque[tuple[Event, Delivery, OnResult | None]] = deque()
        self._lock = ForkSafeLock(self)
        self._running = False

    def put(self, delivery: Delivery, on_result: OnResult | None) -> None:
        """Take the subscriber's place for the event now; its callback runs when the scheduler comes to it."""
        delivery.add_pending()
        self._line.append((unstoppable(delivery.event), delivery, on_result))
        with self._lock:
            if self._running:
                return
            self._running = True
        self._schedule()

    def _schedule(self) -> None:
        try:
            self.scheduler.schedule(self._run_first)
        except Exception as error:
            # A scheduler that was disposed of, or whose loop is closed: nobody will come for those in line.
            with self._lock:
                line, self._line = self._line, deque()
                self._running = False
            for _, delivery, _ in line:
                self._on_outcome(delivery, self._subscriber, None, error, None)

    def _run_first(self, scheduler: abc.SchedulerBase, state: Any = None) -> abc.DisposableBase | None:
        event, delivery, on_result = self._line.popleft()
        if not self._subscriber.alive:
            delivery.complete_pending(None)
            self._next()
            return None
        context = self._subscriber.context.copy()
        try:
            result = context.run(self._subscriber.callback, event)
            if is_unfinished(result):
                coroutine = as_coroutine(result)
                if (loop := running_loop()) is None:
                    result = context.run(asyncio.run, coroutine)
                else:
                    task = loop.create_task(coroutine, context=context)
                    _tasks.add(task)
                    task.add_done_callback(lambda task: self._awaited(delivery, on_result, task))
                    return None
        except BaseException as error:
            # Whatever it was, the line goes on.
            self._end(delivery, on_result, None, error)
            if not isinstance(error, (Exception, asyncio.CancelledError)):
                raise
        else:
            self._end(delivery, on_result, result, None)
        return None

    def _awaited(self, delivery: Delivery, on_result: OnResult | None, task: asyncio.Task[Any]) -> None:
        _tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._end(delivery, on_result, None if error else task.result(), error)

    def _end(self, delivery: Delivery, on_result: OnResult | None, result: Any, error: BaseException | None) -> None:
        try:
            failure = None if error is None else as_exception(error)
            self._on_outcome(delivery, self._subscriber, result, failure, on_result)
        finally:
            self._next()

    def _next(self) -> None:
        """Come back for the next one by the scheduler, so that its other work gets a time_slice."""
        with self._lock:
            if not self._line:
                self._running = False
                return
        self._schedule()

    def after_fork(self) -> None:
        """Forget what waits: the thread that would have run it is not in the forked child."""
        self._running = False
        self._line.clear()


# A loop holds its tasks weakly; what runs is kept here.
_tasks: set[asyncio.Task[Any]] = set()
