"""The decorator that connects a function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from rxhub.expression.near_miss import closest_name
from rxhub.signals.receiver import Receiver
from rxhub.signals.signal import Signal

__all__ = ["receiver"]

_R = TypeVar("_R", bound=Receiver)

if TYPE_CHECKING:

    def receiver(
        signal: Signal[...] | Iterable[Signal[...]],
        *,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        where: str | None = None,
        priority: float = 100,
    ) -> Callable[[_R], _R]:
        """Connect a function to one or several signals."""
        ...

else:

    def receiver(signal, **options):
        """Connect a function to one or several signals, as a decorator: `@receiver(approved, sender=Shot)`.

        Args:
            signal: one signal, or several.
            options: `sender`, `weak`, `dispatch_uid`, `where` and `priority`, as of `Signal.connect`.

        Raises:
            TypeError: if `signal` is neither, or there is no such option.
        """
        signals = [signal] if isinstance(signal, Signal) else [*signal]
        if not all(isinstance(each, Signal) for each in signals):
            raise TypeError(f"receiver() takes one signal or a list of them, but {signal!r} was given.")
        for name in options:
            if name not in _OPTIONS:
                meant = closest_name(name, _OPTIONS)
                hint = f"Did you mean {meant!r}?" if meant else f"It has {', '.join(_OPTIONS)}."
                raise TypeError(f"receiver() has no option {name!r}. {hint}")

        def decorator(function):
            for each in signals:
                each.connect(function, **options)
            return function

        return decorator


_OPTIONS = ("sender", "weak", "dispatch_uid", "where", "priority")
