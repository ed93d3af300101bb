"""Filter by a subscription."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from reactivex import Observable, abc

from rxhub.expression import Dialect, compile
from rxhub.rx.awaitable import Awaitable

__all__ = ["where"]

M = TypeVar("M", bound=Mapping[str, Any])


def where(subscription: str, dialect: Dialect = Dialect.RXHUB) -> Callable[[Observable[M]], Observable[M]]:
    """Emit only events, or any other mappings, that match `subscription`, which is compiled once, here.

    Raises ExpressionError if the subscription does not parse.
    """
    matches = compile(subscription, dialect)

    def operator(source: Observable[M]) -> Observable[M]:
        def subscribe(observer: abc.ObserverBase[M], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            emit = observer.on_next

            def on_next(value: M) -> None:
                if matches(value):
                    emit(value)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Awaitable(subscribe)

    return operator
