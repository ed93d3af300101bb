"""The operators: subscriptions, dispatch and resilience as parts of any reactivex pipeline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable
from reactivex.scheduler import CurrentThreadScheduler

from rxhub.delivery import Delivery
from rxhub.dispatcher import Dispatcher
from rxhub.event import Event
from rxhub.expression import Dialect, compile
from rxhub.overflow import overflow
from rxhub.pipeline import report
from rxhub.subject import Subject

__all__ = ["dispatch", "overflow", "resume", "where"]

A = TypeVar("A")
M = TypeVar("M", bound=Mapping[str, Any])
Operator = Callable[[Observable[Any]], Observable[Any]]

logger = logging.getLogger("rxhub")


def where(subscription: str, dialect: Dialect = Dialect.RXHUB) -> Callable[[Observable[M]], Observable[M]]:
    """Let through what matches `subscription`.

    Args:
        subscription: compiled once, here.
        dialect: how its wildcards are read.

    Returns:
        An operator on events or any other mappings.

    Raises:
        ExpressionError: if the subscription does not parse.
    """
    matches = compile(subscription, dialect)

    def operator(source: Observable[M]) -> Observable[M]:
        def subscribe(observer: abc.ObserverBase[M], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            emit = observer.on_next

            def on_next(value: M) -> None:
                if matches(value):
                    emit(value)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return operator


def dispatch(dispatcher: Dispatcher) -> Callable[[Observable[Event]], Observable[Delivery]]:
    """Run each event through the dispatcher's subscribers and emit its `Delivery`."""

    def operator(source: Observable[Event]) -> Observable[Delivery]:
        def subscribe(
            observer: abc.ObserverBase[Delivery], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            def on_next(event: Event) -> None:
                observer.on_next(dispatcher.dispatch(event))

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return operator


def resume(*operators: Operator) -> Callable[[Observable[Any]], Observable[Any]]:
    """Apply operators so that an error in one of them does not end the pipeline.

    The value that failed is left out, the error is reported (as the outcome of the callback, on
    `hub.errors` and in the log; outside a hub in the log alone), the operators start afresh, and the
    next value goes on. What stateful operators hold lives until an error.

    An error of the source itself still ends the pipeline, and so does one that the operators raise
    when they are subscribed to, since they would raise it again.
    """

    def operator(source: Observable[Any]) -> Observable[Any]:
        def subscribe(
            observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            inner = SerialDisposable()
            subject: Subject[Any]
            failed: Exception | None = None
            fresh = busy = ending = False

            def start() -> None:
                nonlocal subject, fresh
                subject, fresh = Subject(on_observer_error="raise"), True
                inner.disposable = subject.pipe(*operators).subscribe(
                    observer.on_next, on_error, observer.on_completed, scheduler=scheduler
                )

            def on_error(error: Exception) -> None:
                nonlocal failed
                if fresh and not ending and not CurrentThreadScheduler.singleton().schedule_required():
                    # By being subscribed to: they would fail again, for ever.
                    observer.on_error(error)
                    return
                failed = error
                # While a value is under way, the operators must unwind first. Else it was a timer inside them.
                if not busy:
                    go_on()

            def go_on() -> None:
                nonlocal failed
                error, failed = failed, None
                if error is None:
                    return
                if not report(error):
                    logger.error("An operator failed and was resumed: %s", error, exc_info=error)
                if ending:
                    observer.on_completed()
                else:
                    start()

            def on_next(value: Any) -> None:
                nonlocal busy, fresh
                outer, busy, fresh = busy, True, False
                try:
                    subject.on_next(value)
                finally:
                    busy = outer
                    if not busy:
                        go_on()

            def on_completed() -> None:
                nonlocal ending
                ending = True
                subject.on_completed()

            start()
            outer = source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)
            return CompositeDisposable(outer, inner)

        return Observable(subscribe)

    return operator
