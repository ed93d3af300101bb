"""The decorator that connects a function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypedDict, TypeVar, Unpack

from rxhub.expression.near_miss import closest_name
from rxhub.signals.receiver import Receiver
from rxhub.signals.signal import Signal

__all__ = ["receiver"]

_R = TypeVar("_R", bound=Receiver)


class _Options(TypedDict, total=False):
    sender: Any
    weak: bool
    dispatch_uid: Hashable
    where: str | None
    priority: float


def receiver(signal: Signal[...] | Iterable[Signal[...]], **options: Unpack[_Options]) -> Callable[[_R], _R]:
    """Connect a function to one or several signals, as a decorator: `@receiver(approved, sender=Shot)`.

    The options are `sender`, `weak`, `dispatch_uid`, `where` and `priority`, as of `Signal.connect`.
    """
    signals = [signal] if isinstance(signal, Signal) else [*signal]
    if not all(isinstance(each, Signal) for each in signals):
        raise TypeError(f"receiver() takes one signal or a list of them, but {signal!r} was given.")
    known = (*_Options.__annotations__,)
    for name in options:
        if name not in known:
            meant = closest_name(name, known)
            hint = f"Did you mean {meant!r}?" if meant else f"It has {', '.join(known)}."
            raise TypeError(f"receiver() has no option {name!r}. {hint}")

    def decorator(function: _R) -> _R:
        for each in signals:
            each.connect(function, **options)
        return function

    return decorator
