"""A pipeline in the dispatch order: an Rx observer that is a subscriber.

Each Rx subscription to `observe(dispatcher, …)` registers one callback: a `Pipeline`, which hands
the event to the observer and finds out what became of it, since Rx swallows errors:

- An operator that fails sends the error down the pipeline, and the observer at its end (reactivex's
  `AutoDetachObserver`, before every observer) disposes of the whole pipeline at the end of its
  `on_error`. So a dispose that is called from there tells that the pipeline ended by that error;
  any other is an ordinary end, such as `take`'s, the user's own, or `catch`'s, who took care of it.
- `resume` reports an error that it survived to the pipeline that is running in this thread.

Either way the callback raises, and the dispatcher makes of it an outcome as of any other.

Rx forbids to call an observer while it is busy. Synchronous publishing from two threads, or from
inside a pipeline, may do so: the event then waits in the pipeline's own queue, and whoever is busy
with the observer takes it on.
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
from rxhub.dispatching.dispatcher import Callback, Dispatcher, Subscriber
from rxhub.dispatching.observe_on import unstoppable
from rxhub.errors import HubClosed, NotFoundError, PipelineEnded
from rxhub.event import Event
from rxhub.expression import parse
from rxhub.rx.awaitable import Awaitable

__all__ = ["Pipeline", "Subscribable", "report"]

logger = logging.getLogger("rxhub")

_running = local()


def report(error: Exception) -> bool:
    """Tell the pipeline that runs in this thread of an error that it survived; False if none runs."""
    pipeline: Pipeline | None = getattr(_running, "pipeline", None)
    if pipeline is None:
        return False
    pipeline.survived.append(error)
    return True


class Pipeline:
    """The callback that feeds one observer.

    Attributes:
        survived: errors that `resume` has reported during the event under way.
        disposed: whether the observer has left by itself.
    """

    def __init__(self, observer: abc.ObserverBase[Event], dispatcher: Dispatcher) -> None:
        self.survived: list[Exception] = []
        self.disposed = False
        self._observer = observer
        self._dispatcher = dispatcher
        self._waiting: deque[Event] = deque()
        self._lock = ForkSafeLock(self)
        self._busy = False
        self._completing = False
        self._ended_by: Exception | None = None
        self.subscriber: Subscriber | None = None

    def __call__(self, event: Event) -> None:
        with self._lock:
            if self._busy:
                self._waiting.append(unstoppable(event))
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
                if not self._waiting or (self.subscriber is not None and not self.subscriber.alive):
                    self._busy = False
                    self._waiting.clear()
                    break
                event = self._waiting.popleft()
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
        """End the observer's stream, behind an event under way: the hub is closed, or the subscriber was removed."""
        with self._lock:
            if self._busy:
                self._completing = True
                return
            # For good: an event that comes together with the end must not run beside it.
            self._busy = True
        try:
            self._observer.on_completed()
        except Exception as error:
            logger.error("An observer of %s raised when it was completed.", self.subscriber, exc_info=error)

    def after_fork(self) -> None:
        """Forget what waits: the thread that was busy with the observer is not in the forked child."""
        self._busy = self._completing = False
        self._waiting.clear()

    def dispose(self) -> None:
        """Take the observer out of the dispatch order."""
        self.disposed = True
        running: Pipeline | None = getattr(_running, "pipeline", None)
        if running is self:
            self._ended_by = _error_in_an_operator()
        elif running is None and (error := _error_in_an_operator()) is not None:
            # A timer's: no event is under way that could have an outcome.
            logger.error("%s", _ended(error), exc_info=error)
        if self.subscriber is not None:
            try:
                self._dispatcher.unsubscribe(self.subscriber.id)
            except NotFoundError:
                pass  # The subscriber was removed by its id before.


def _ended(error: Exception) -> PipelineEnded:
    return PipelineEnded(
        f"The pipeline ended by {type(error).__name__}: {error}. It gets no further event. "
        "To report the error and go on, wrap its operators: pipe(rxhub.resume(...))."
    )


def _error_in_an_operator() -> Exception | None:
    """The error that is being passed down a pipeline right now, at whose end it disposes of itself."""
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

    Called with a function, it subscribes the function instead and gives it back: a decorator.

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
        # Asked when it stands in the order, where who completes the dispatcher finds it.
        if self._dispatcher.completed:
            pipeline.complete()
        return Disposable(pipeline.dispose)

    def __repr__(self) -> str:
        return f"<events of {self._subscription!r} at priority {self._priority}>"
