"""A pipeline in the dispatch order: an Rx observer that is a subscriber.

Each Rx subscription to `observe(dispatcher, …)` registers one callback: a `Pipeline`, which hands
the event to the observer and finds out what became of it, since Rx swallows errors:

- An operator that fails sends the error down the pipeline, and the pipeline disposes of its
  subscription to us while the operator is still in its `except` clause. So a dispose that happens
  while an exception is being handled tells that the pipeline ended by that error; any other dispose
  is an ordinary end.
- `resume` reports an error that it survived to the pipeline that is running in this thread.

Either way the callback raises, and the dispatcher makes of it an outcome as of any other.

Rx forbids to call an observer while it is busy. Synchronous publishing from two threads, or from
inside a pipeline, may do so: the event then waits in the pipeline's own queue, and whoever is busy
with the observer takes it on.
"""

from __future__ import annotations

import sys
from collections import deque
from threading import RLock, local

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxhub.awaiting import Awaitable
from rxhub.dispatcher import Callback, Dispatcher, Subscriber
from rxhub.errors import NotFoundError, PipelineEnded
from rxhub.event import Event
from rxhub.handover import handed_over

__all__ = ["Pipeline", "Subscribable", "report"]

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
    """

    def __init__(self, observer: abc.ObserverBase[Event], dispatcher: Dispatcher) -> None:
        self.survived: list[Exception] = []
        self._observer = observer
        self._dispatcher = dispatcher
        self._waiting: deque[Event] = deque()
        self._lock = RLock()
        self._busy = False
        self._ended_by: BaseException | None = None
        self.subscriber: Subscriber | None = None

    def __call__(self, event: Event) -> None:
        with self._lock:
            if self._busy:
                self._waiting.append(handed_over(event))
                return
            self._busy = True
        outer: Pipeline | None = getattr(_running, "pipeline", None)
        _running.pipeline = self
        try:
            self._feed(event)
        finally:
            _running.pipeline = outer

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
                if not self._waiting or self.subscriber is None or not self.subscriber.alive:
                    self._busy = False
                    self._waiting.clear()
                    break
                event = self._waiting.popleft()
        survived, self.survived = self.survived, []
        ended_by, self._ended_by = self._ended_by, None
        if ended_by is not None:
            raise PipelineEnded(
                f"The pipeline ended by {type(ended_by).__name__}: {ended_by}. It gets no further event. "
                "To report the error and go on, wrap its operators: pipe(rxhub.resume(...))."
            ) from ended_by
        errors = survived + errors
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} events failed in a pipeline", errors)

    def complete(self) -> None:
        """End the observer's stream: the hub is closed."""
        self._observer.on_completed()

    def dispose(self) -> None:
        """Take the observer out of the dispatch order."""
        if getattr(_running, "pipeline", None) is self:
            self._ended_by = _error_in_an_operator()
        if self.subscriber is not None:
            try:
                self._dispatcher.unsubscribe(self.subscriber.id)
            except NotFoundError:
                pass  # The subscriber was removed by its id before.


def _error_in_an_operator() -> BaseException | None:
    """The exception that an operator is handling right now.

    The first entry of a traceback is the frame that caught it: one of the user's own, who disposes
    of a pipeline in an `except` clause, is not an operator's.
    """
    error = sys.exc_info()[1]
    if error is None or error.__traceback__ is None:
        return None
    module: str = error.__traceback__.tb_frame.f_globals.get("__name__", "")
    return error if module.startswith(("reactivex.", "rxhub.")) else None


class Subscribable(Awaitable[Event], Observable[Event]):
    """The events that match a subscription; each Rx subscription takes a place in the dispatch order.

    Called with a function, it subscribes the function instead and gives it back: a decorator.
    """

    def __init__(self, dispatcher: Dispatcher, subscription: str, priority: float = 100) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self._subscription = subscription
        self._priority = priority

    def __call__(self, callback: Callback) -> Callback:
        """Subscribe `callback`, a plain or a coroutine function; a result that is not None is a reply."""
        self._dispatcher.subscribe(self._subscription, callback, priority=self._priority)
        return callback

    def _subscribe_core(
        self, observer: abc.ObserverBase[Event], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        pipeline = Pipeline(observer, self._dispatcher)
        pipeline.subscriber = self._dispatcher.subscribe(self._subscription, pipeline, priority=self._priority)
        return Disposable(pipeline.dispose)

    def __repr__(self) -> str:
        return f"<events of {self._subscription!r} at priority {self._priority}>"
