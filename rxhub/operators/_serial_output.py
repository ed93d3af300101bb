"""Calls of one observer by several threads: sources and timers of an operator may run at the same time.

An operator changes its state under the lock of its `SerialOutput`, and collects what it emits there. The observer
receives the values when the lock is released, in the order of the changes, from one thread at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from datetime import datetime
from math import isfinite
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable
from reactivex.scheduler import TimeoutScheduler

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.concurrency.ordered_calls import OrderedCalls

__all__ = ["Key", "SerialOutput", "check_positive", "key_function"]

S = TypeVar("S")
T = TypeVar("T")

Key = Callable[[T], Hashable]
"""Returns what values have in common that belong together, such as the name of their shot."""

_logger = logging.getLogger("rxhub")


class KeyFailed(Exception):
    """A key function raised the cause, which goes to the observer, unlike the errors that the observer raises."""


def key_function(key: Key[T] | None) -> Key[T]:
    """`key`, which raises KeyFailed; without one, all values have the same key."""

    def checked(value: T) -> Hashable:
        try:
            found = None if key is None else key(value)
            hash(found)
        except Exception as error:
            raise KeyFailed from error
        return found

    return checked


def check_positive(call: str, **arguments: float) -> None:
    """Raise ValueError unless each argument is a finite number above 0."""
    for name, value in arguments.items():
        if not (isfinite(value) and value > 0):
            raise ValueError(f"{call}({name}={value!r}) is not valid: use a finite number above 0.")


class SerialOutput(Generic[T]):
    """The observer of an operator, its lock, and its timer.

    Use it as a context manager to change the state of the operator.

    Attributes:
        resources: the subscription to return; disposed of when the output ends.
        scheduler: the clock of the operator.
    """

    def __init__(self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None) -> None:
        self.scheduler: abc.SchedulerBase = scheduler or TimeoutScheduler.singleton()
        self._timer = SerialDisposable()
        self.resources = CompositeDisposable(self._timer)
        self._observer = observer
        self._lock = ForkSafeLock()
        self._calls: OrderedCalls[list[T]] = OrderedCalls()
        self._values: list[T] = []
        self._end: Callable[[], None] | None = None
        self._has_warned = False

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        call = None
        if self._values or self._end is not None:
            call = (self._deliverer(), self._values)
            self._values = []
            self._calls.add(call)
        self._lock.release()
        if call is not None:
            self._calls.run(own=call)

    def observe(
        self,
        source: Observable[S],
        on_next: Callable[[S], None],
        on_completed: Callable[[], None],
        scheduler: abc.SchedulerBase | None,
    ) -> None:
        """Subscribe to a source; its errors, and those of `on_next`, end the output."""

        def checked(value: S) -> None:
            try:
                on_next(value)
            except KeyFailed as error:
                self.fail(cast("Exception", error.__cause__))

        self.resources.add(source.subscribe(checked, self.fail, on_completed, scheduler=scheduler))

    def emit(self, value: T) -> None:
        """Emit a value when the lock is released."""
        self._values.append(value)

    def complete(self) -> None:
        """Complete when the lock is released, after the values."""
        self._end = self._observer.on_completed

    def fail(self, error: Exception) -> None:
        """End with an error."""
        with self:
            self._end = lambda: self._observer.on_error(error)

    def warn_of_loss(self, message: str, *details: object) -> None:
        """Log a warning, the first time."""
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(message, *details)

    def call_at(self, due: datetime, action: Callable[[], None]) -> None:
        """Call `action` at a time, instead of what was set before."""

        def act(_: abc.SchedulerBase, __: object = None) -> None:
            action()

        self._timer.disposable = self.scheduler.schedule_absolute(due, act)

    def _deliverer(self) -> Callable[[list[T]], None]:
        end, self._end = self._end, None

        def deliver(values: list[T]) -> None:
            for value in values:
                self._observer.on_next(value)
            if end is not None:
                self.resources.dispose()
                end()

        return deliver
