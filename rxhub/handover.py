"""A subscriber with a scheduler: its events wait in line and run there, one at a time.

The place in the dispatch order is taken when the event is put in line. What happens later is
outside that order, so a `stop()` there raises `TooLate` instead of being silently ignored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from threading import Lock
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from reactivex import abc

from rxhub.delivery import Delivery
from rxhub.errors import TooLate
from rxhub.event import Event

if TYPE_CHECKING:
    from rxhub.dispatcher import Subscriber

__all__ = ["Answer", "HandOver", "Settle", "handed_over"]

Answer = Callable[[Event, "Subscriber", Any], None]
"""Called with an event, who answered it, and the result that is not None."""

Settle = Callable[[Delivery, "Subscriber", Any, "Exception | None", "Answer | None"], None]
"""Called with the result or the error of a callback that was handed over."""


class _HandedOver(Event):
    """An event that has gone on to the later subscribers already."""

    __slots__ = ()

    def stop(self) -> None:
        raise TooLate(
            f"{self.topic} was handed over to a scheduler and the later subscribers have it already. "
            "A subscriber that stops events must have no scheduler."
        )


def handed_over(event: Event) -> Event:
    """The same event for somebody who can no longer stop it."""
    return event.envelope(_HandedOver)


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
        self._lock = Lock()
        self._running = False

    def put(self, delivery: Delivery, answer: Answer | None) -> None:
        """Take the subscriber's place for the event now; its callback runs when the scheduler comes to it."""
        delivery.hand_over()
        self._line.append((handed_over(delivery.event), delivery, answer))
        with self._lock:
            if self._running:
                return
            self._running = True
        self.scheduler.schedule(self._run_first)

    def _run_first(self, scheduler: abc.SchedulerBase, state: Any = None) -> abc.DisposableBase | None:
        event, delivery, answer = self._line.popleft()
        if not self._subscriber.alive:
            delivery.close_one(None)
            self._next()
            return None
        try:
            result = self._subscriber.call(event)
            if type(result) is CoroutineType:
                result = _awaited(result, lambda value, error: self._end(delivery, answer, value, error))
        except Exception as error:
            self._end(delivery, answer, None, error)
        else:
            if result is not _PENDING:
                self._end(delivery, answer, result, None)
        return None

    def _end(self, delivery: Delivery, answer: Answer | None, result: Any, error: Exception | None) -> None:
        try:
            self._settle(delivery, self._subscriber, result, error, answer)
        finally:
            self._next()

    def _next(self) -> None:
        """Come back for the next one by the scheduler, so that its other work gets a turn."""
        with self._lock:
            if not self._line:
                self._running = False
                return
        self.scheduler.schedule(self._run_first)

    def renew_lock(self) -> None:
        """Replace the lock and forget the line; for a child process."""
        self._lock, self._running = Lock(), False
        self._line.clear()


_PENDING = object()


def _awaited(coroutine: Coroutine[Any, Any, Any], end: Callable[[Any, Exception | None], None]) -> Any:
    """Run a coroutine callback where its scheduler brought us: on the loop that runs here, else on one of its own."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)

    async def run() -> None:
        try:
            result = await coroutine
        except Exception as error:
            end(None, error)
        else:
            end(result, None)

    task = loop.create_task(run())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return _PENDING


# A loop holds its tasks weakly; what runs is kept here.
_tasks: set[asyncio.Task[None]] = set()
