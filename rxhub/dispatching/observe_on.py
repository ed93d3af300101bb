"""A subscriber with a scheduler: its events wait in line and run there, one at a time.

The place in the dispatch order is taken when the event is put in line. What happens later is
outside that order, so a `stop()` there raises `TooLate` instead of being silently ignored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Any, SupportsIndex

from reactivex import abc

from rxhub.concurrency.awaitables import coroutine_of, is_pending
from rxhub.dispatching.delivery import Delivery
from rxhub.errors import TooLate, as_exception
from rxhub.event import Event

if TYPE_CHECKING:
    from rxhub.dispatching.dispatcher import Subscriber

__all__ = ["Answer", "HandOver", "HandedOver", "Settle", "handed_over"]

Answer = Callable[[Event, "Subscriber", Any], None]
"""Called with an event, who answered it, and the result that is not None."""

Settle = Callable[[Delivery, "Subscriber", Any, "Exception | None", "Answer | None"], None]
"""Called with the result or the error of a callback that was handed over."""


class HandedOver(Event):
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


def handed_over(event: Event) -> Event:
    """The same event for somebody who can no longer stop it."""
    return event.envelope(HandedOver)


class HandOver:
    """The line of one subscriber.

    Args:
        subscriber: whose callback runs.
        scheduler: where it runs.
        settle: told how each callback ended.
    """

    def __init__(self, subscriber: Subscriber, scheduler: abc.SchedulerBase, settle: Settle) -> None:
        self.scheduler = scheduler
        self._subscriber = subscriber
        self._settle = settle
        self._line: deque[tuple[Event, Delivery, Answer | None]] = deque()
        self._lock = RLock()
        self._running = False

    def put(self, delivery: Delivery, answer: Answer | None) -> None:
        """Take the subscriber's place for the event now; its callback runs when the scheduler comes to it."""
        delivery.hand_over()
        self._line.append((handed_over(delivery.event), delivery, answer))
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
                self._settle(delivery, self._subscriber, None, error, None)

    def _run_first(self, scheduler: abc.SchedulerBase, state: Any = None) -> abc.DisposableBase | None:
        event, delivery, answer = self._line.popleft()
        if not self._subscriber.alive:
            delivery.close_one(None)
            self._next()
            return None
        context = self._subscriber.context.copy()
        try:
            result = context.run(self._subscriber.callback, event)
            if is_pending(result):
                coroutine = coroutine_of(result)
                try:
                    loop = asyncio.get_running_loop()
                except RuntimeError:
                    result = context.run(asyncio.run, coroutine)
                else:
                    task = loop.create_task(coroutine, context=context)
                    _tasks.add(task)
                    task.add_done_callback(lambda task: self._awaited(delivery, answer, task))
                    return None
        except BaseException as error:
            # Whatever it was, the line goes on.
            self._end(delivery, answer, None, error)
            if not isinstance(error, (Exception, asyncio.CancelledError)):
                raise
        else:
            self._end(delivery, answer, result, None)
        return None

    def _awaited(self, delivery: Delivery, answer: Answer | None, task: asyncio.Task[Any]) -> None:
        _tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._end(delivery, answer, None if error else task.result(), error)

    def _end(self, delivery: Delivery, answer: Answer | None, result: Any, error: BaseException | None) -> None:
        try:
            failure = None if error is None else as_exception(error)
            self._settle(delivery, self._subscriber, result, failure, answer)
        finally:
            self._next()

    def _next(self) -> None:
        """Come back for the next one by the scheduler, so that its other work gets a turn."""
        with self._lock:
            if not self._line:
                self._running = False
                return
        self._schedule()

    def renew_lock(self) -> None:
        """Replace the lock and forget the line; for a child process."""
        self._lock, self._running = RLock(), False
        self._line.clear()


# A loop holds its tasks weakly; what runs is kept here.
_tasks: set[asyncio.Task[Any]] = set()
