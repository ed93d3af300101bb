"""A subject whose observers are unsubscribed with the scope in which they were subscribed."""

from __future__ import annotations

from typing import TypeVar

from reactivex import abc
from reactivex.disposable import Disposable

from rxhub.rx.scope import Scope, current_scope
from rxhub.rx.subject import Subject

__all__ = ["ScopedSubject", "kept"]

_T = TypeVar("_T")


class ScopedSubject(Subject[_T]):
    """A subject to which a plugin can subscribe without disposing of the subscription."""

    def subscribe(
        self,
        on_next: abc.ObserverBase[_T] | abc.OnNext[_T] | None = None,
        on_error: abc.OnError | None = None,
        on_completed: abc.OnCompleted | None = None,
        *,
        scheduler: abc.SchedulerBase | None = None,
    ) -> abc.DisposableBase:
        """Subscribe an observer, or callbacks, in the current scope."""
        subscription = super().subscribe(on_next, on_error, on_completed, scheduler=scheduler)
        owner = current_scope()
        return subscription if owner is None else kept(owner, subscription)


def kept(owner: Scope, subscription: abc.DisposableBase) -> Disposable:
    """The subscription, which is disposed of with its scope if not before."""
    leave = subscription.dispose

    def dispose() -> None:
        owner.discard(leave)
        subscription.dispose()

    owner.add(leave)
    return Disposable(dispose)
