"""Report an error in a pipeline and go on.

In Rx, an error ends the pipeline that it passes through. So the operators are put behind a separate subject. When
they have ended with an error, the same operators are put behind a new one, but only after they have unwound: they are
in the middle of the value that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable
from reactivex.scheduler import CurrentThreadScheduler

from rxhub.dispatching.pipeline import report
from rxhub.rx.awaitable import Awaitable
from rxhub.rx.subject import Subject

__all__ = ["resume"]

Operator = Callable[[Observable[Any]], Observable[Any]]

logger = logging.getLogger("rxhub")


def resume(*operators: Operator) -> Callable[[Observable[Any]], Observable[Any]]:
    """Apply operators so that an error in one of them does not end the pipeline.

    The value that failed is dropped. The error is the outcome of the callback, and is emitted on `hub.errors` and
    logged; outside a hub it is only logged. The operators are subscribed to anew, without the state that they had.

    An error of the source still ends the pipeline, as does one that the operators raise when they are subscribed
    to, since they would raise it again.
    """

    def operator(source: Observable[Any]) -> Observable[Any]:
        def subscribe(
            observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            section = _Section(operators, observer, scheduler)
            section.start()
            outer = source.subscribe(section.on_next, observer.on_error, section.on_completed, scheduler=scheduler)
            return CompositeDisposable(outer, section.inner)

        return Awaitable(subscribe)

    return operator


class _Section:
    """The operators of one subscription, started again after each error."""

    def __init__(
        self, operators: tuple[Operator, ...], observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None
    ) -> None:
        self.inner = SerialDisposable()
        self._operators = operators
        self._observer = observer
        self._scheduler = scheduler
        self._subject: Subject[Any] = Subject(on_observer_error="raise")
        self._failed: Exception | None = None
        self._fresh = True
        self._busy = False
        self._ending = False

    def start(self) -> None:
        self._subject, self._fresh = Subject(on_observer_error="raise"), True
        self.inner.disposable = self._subject.pipe(*self._operators).subscribe(
            self._observer.on_next, self._on_error, self._observer.on_completed, scheduler=self._scheduler
        )

    def on_next(self, value: Any) -> None:
        outer, self._busy, self._fresh = self._busy, True, False
        try:
            self._subject.on_next(value)
        finally:
            self._busy = outer
            if not outer:
                self._go_on()

    def on_completed(self) -> None:
        self._ending = True
        self._subject.on_completed()

    def _on_error(self, error: Exception) -> None:
        if self._fresh and not self._ending and not CurrentThreadScheduler.singleton().schedule_required():
            # In the subscription itself: they would fail again, forever.
            self._observer.on_error(error)
            return
        self._failed = error
        # While a value is under way, the operators must unwind first. Otherwise it was a timer in them.
        if not self._busy:
            self._go_on()

    def _go_on(self) -> None:
        error, self._failed = self._failed, None
        if error is None:
            return
        if not report(error):
            logger.error("An operator failed and was resumed: %s", error, exc_info=error)
        if self._ending:
            self._observer.on_completed()
        else:
            self.start()
