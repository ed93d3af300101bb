"""Filter events by a subscription, and run them through a dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from reactivex import Observable, abc
from reactivex import operators as ops

from rxhub.dispatching.delivery import Delivery
from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.event import Event
from rxhub.expression import Dialect, compile
from rxhub.rx.awaitable import Awaitable, Composed

__all__ = ["dispatch", "where"]

M = TypeVar("M", bound=Mapping[str, Any])


def where(subscription: str, dialect: Dialect = Dialect.RXHUB) -> Callable[[Observable[M]], Observable[M]]:
    """Emit only events, or any other mappings, that match `subscription`, which is compiled once, here.

    Raises ExpressionError if the subscription does not parse.
    """
    matches = compile(subscription, dialect)

    def operator(source: Observable[M]) -> Observable[M]:
        matching: Observable[Any] = ops.filter(matches)(source)
        return Composed(matching)

    return operator


def dispatch(dispatcher: Dispatcher) -> Callable[[Observable[Event]], Observable[Delivery]]:
    """Run each event through the dispatcher's subscribers and emit its `Delivery`.

    What the dispatcher itself raises, for example for an item that is not an event, is raised to the source, and the
    pipeline continues.
    """

    def operator(source: Observable[Event]) -> Observable[Delivery]:
        def subscribe(
            observer: abc.ObserverBase[Delivery], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            def on_next(event: Event) -> None:
                observer.on_next(dispatcher.dispatch(event))

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Awaitable(subscribe)

    return operator
