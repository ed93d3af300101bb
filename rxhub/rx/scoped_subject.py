"""A subject whose observers are unsubscribed with the scope in which they were subscribed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from reactivex import abc
from reactivex.disposable import Disposable

from rxhub.rx.scope import Scope, current_scope
from rxhub.rx.subject import Subject

__all__ = ["ScopedSubject", "kept"]

_T = TypeVar("_T")


class ScopedSubject(Subject[_T]):
    """A subject to which a plugin can subscribe without disposing of the subscription."""

    # Type checkers see that of the subject.
    if not TYPE_CHECKING:

        def subscribe(self, *observer: Any, **named: Any) -> abc.DisposableBase:
            subscription = super().subscribe(*observer, **named)
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
