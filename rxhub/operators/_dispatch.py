"""Run events through a dispatcher."""

from __future__ import annotations

from collections.abc import Callable

from reactivex import Observable, abc

from rxhub.dispatching.delivery import Delivery
from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.event import Event
from rxhub.rx.awaitable import Awaitable

__all__ = ["dispatch"]


def dispatch(dispatcher: Dispatcher) -> Callable[[Observable[Event]], Observable[Delivery]]:
    """Run each event through the dispatcher's subscribers and emit its `Delivery`."""

    def operator(source: Observable[Event]) -> Observable[Delivery]:
        def subscribe(
            observer: abc.ObserverBase[Delivery], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            def on_next(event: Event) -> None:
                observer.on_next(dispatcher.dispatch(event))

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Awaitable(subscribe)

    return operator
