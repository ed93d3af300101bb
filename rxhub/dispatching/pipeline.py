"""Pipelines in the dispatch order: each Rx subscription is a subscriber.

Subscribing to a `Subscribable` registers one callback, a `Pipeline`, which passes events to the observer. Rx swallows
errors, so the pipeline detects how an event ended. An operator that fails passes the error down to the
`AutoDetachObserver` at the end, which disposes of the pipeline at the end of its `on_error`: a dispose from there means
that the pipeline ended by that error. `resume` reports an error that the pipeline survived to the pipeline that runs in
this thread. In both cases the callback raises, and the dispatcher records an outcome as for any other callback.

Rx forbids calling an observer while it is busy, as synchronous publishing would do: the event then waits in the queue
of the pipeline, for the thread that is busy with the observer.
"""

from __future__ import annotations

import logging
from collections import deque
from inspect import currentframe
from threading import local
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.observer import AutoDetachObserver

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.dispatching.observe_on import unstoppable
from rxhub.dispatching.subscriber import Callback, Subscriber
from rxhub.errors import HubClosed, NotFoundError, PipelineEnded
from rxhub.event import Event
from rxhub.expression import parse
from rxhub.rx.awaitable import Awaitable

__all__ = ["Pipeline", "Subscribable", "report"]

logger = logging.getLogger("rxhub")

_running = local()


def report(error: Exception) -> bool:
    """Report an error that the pipeline running in this thread has survived; False if none runs."""
    pipeline: Pipeline | None = getattr(_running, "pipeline", None)
    if pipeline is None:
        return False
    pipeline.survived.append(error)
    return True


class Pipeline:
    """The callback that feeds one observer.

    Attributes:
        survived: errors that `resume` has reported during the event under way.
        disposed: whether the observer has unsubscribed.
        subscriber: what it is registered as.
    """

    def __init__(self, observer: abc.ObserverBase[Event], dispatcher: Dispatcher) -> None:
        self.survived: list[Exception] = []
        self.disposed = False
        self.subscriber: Subscriber | None = None
        self._observer = observer
        self._dispatcher = dispatcher
        self._queue: deque[Event] = deque()
        self._lock = ForkSafeLock(self)
        self._busy = False
        self._completing = False
        self._ended_by: Exception | None = None

    def __call__(self, event: Event) -> None:
        with self._lock:
            if self._busy:
                self._queue.append(unstoppable(event))
                return
            self._busy = True
        outer: Pipeline | None = getattr(_running, "pipeline", None)
        _running.pipeline = self
        try:
            self._feed(event)
        finally:
            _running.pipeline = outer
            if self._completing:
                self.complete()

    def _feed(self, event: Event) -> None:
        errors: list[Exception] = []
        while True:
            try:
                self._observer.on_next(event)
            except Exception as error:
                errors.append(error)
            except BaseException:
                self._busy = False
                raise
            with self._lock:
                if not self._queue or (self.subscriber is not None and not self.subscriber.alive):
                    self._busy = False
                    self._queue.clear()
                    break
                event = self._queue.popleft()
        survived, self.survived = self.survived, []
        ended_by, self._ended_by = self._ended_by, None
        if ended_by is not None:
            raise _ended(ended_by) from ended_by
        errors = survived + errors
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} events failed in a pipeline", errors)

    def complete(self) -> None:
        """Complete the observer after the event under way: the hub was closed, or the subscriber removed."""
        with self._lock:
            if self._busy:
                self._completing = True
                return
            # Never reset: an event that comes at the same time must not reach the observer.
            self._busy = True
        try:
            self._observer.on_completed()
        except Exception as error:
            logger.error("An observer of %s raised in on_completed.", self.subscriber, exc_info=error)

    def after_fork(self) -> None:
        """Forget what is queued: the thread that was busy with the observer is not in the forked child."""
        self._busy = self._completing = False
        self._queue.clear()

    def dispose(self) -> None:
        """Remove the observer from the dispatch order."""
        self.disposed = True
        running: Pipeline | None = getattr(_running, "pipeline", None)
        if running is self:
            self._ended_by = _error_in_an_operator()
        elif running is None and (error := _error_in_an_operator()) is not None:
            # In a timer: no event is under way that could have an outcome.
            logger.error("%s", _ended(error), exc_info=error)
        if self.subscriber is not None:
            try:
                self._dispatcher.unsubscribe(self.subscriber.id)
            except NotFoundError:
                pass  # it was removed by its id before


def _ended(error: Exception) -> PipelineEnded:
    return PipelineEnded(
        f"The pipeline ended by {type(error).__name__}: {error}. It gets no further event. "
        "To report the error and go on, wrap its operators: pipe(rxhub.resume(...))."
    )


def _error_in_an_operator() -> Exception | None:
    """The error that is being passed down a pipeline right now, and at whose end the pipeline is disposed of."""
    frame = currentframe()
    while frame is not None and frame.f_code is not _FEEDING:
        caller = frame.f_back
        if frame.f_code is _DISPOSING and caller is not None and caller.f_code is _PASSING_AN_ERROR:
            return caller.f_locals["error"]
        frame = caller
    return None


_FEEDING = Pipeline._feed.__code__  # pyright: ignore[reportPrivateUsage]
_DISPOSING = AutoDetachObserver[Any].dispose.__code__
_PASSING_AN_ERROR = AutoDetachObserver[Any].on_error.__code__


class Subscribable(Awaitable[Event], Observable[Event]):
    """The events that match a subscription; each Rx subscription takes a place in the dispatch order.

    As a decorator, it subscribes a function instead.

    Raises:
        ExpressionError: if the subscription does not parse.
    """

    def __init__(self, dispatcher: Dispatcher, subscription: str, priority: float = 100) -> None:
        super().__init__()
        self.expression = parse(subscription)
        self._dispatcher = dispatcher
        self._subscription = subscription
        self._priority = priority

    def __call__(self, callback: Callback) -> Callback:
        """Subscribe `callback`, a plain or a coroutine function; a result that is not None is a reply."""
        if self._dispatcher.completed:
            raise HubClosed("The hub was closed; nothing can be subscribed to it any more.")
        self._dispatcher.subscribe(self._subscription, callback, priority=self._priority)
        return callback

    def _subscribe_core(
        self, observer: abc.ObserverBase[Event], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        pipeline = Pipeline(observer, self._dispatcher)
        pipeline.subscriber = self._dispatcher.subscribe(self._subscription, pipeline, priority=self._priority)
        # Checked once it is registered: a later completion of the dispatcher finds it.
        if self._dispatcher.completed:
            pipeline.complete()
        return Disposable(pipeline.dispose)

    def __repr__(self) -> str:
        return f"<events of {self._subscription!r} at priority {self._priority}>"
