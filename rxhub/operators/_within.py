"""Join two streams within a time window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from reactivex import Observable, abc

from rxhub.operators._serial_output import Key, SerialOutput, check_positive, key_function
from rxhub.rx.awaitable import Awaitable

__all__ = ["within"]

L = TypeVar("L")
R = TypeVar("R")
T = TypeVar("T")


def within(
    other: Observable[R],
    seconds: float,
    key: Key[Any] | None = None,
    *,
    limit: int = 100_000,
    scheduler: abc.SchedulerBase | None = None,
) -> Callable[[Observable[L]], Observable[tuple[L, R]]]:
    """Emit a pair for each two values of the source and `other` that come at most `seconds` apart.

        source                a-------b----|
        other                 --a-----c--b|
        within(other, 2.0)    --x----------|      x = (a, a); the letter is the key

        published = hub.on("topic=studio.publish")
        published.pipe(within(hub.on("topic=studio.review.note"), 60.0, key=lambda event: event.data["shot"]))

    Both values of a pair have the same key. The value of the source is the first of the pair, and the later value
    decides the time of the pair. A value can be in several pairs. The result completes when both sources have
    completed. An error of one of them, or of `key`, is passed on at once. The operator compares the times at which
    values arrive, and needs no timer.

    reactivex's `join` compares all values of both sides, and starts a timer for each of them.

    Args:
        other: the observable to join with.
        seconds: the largest time between the values of a pair.
        key: returns the key of a value of either source. Default: all values have the same key.
        limit: the number of values of each source that are stored. Above it, the oldest one is dropped, and a warning
            is logged the first time.
        scheduler: the clock. Default: the scheduler of the subscription, otherwise the current time.

    Raises:
        ValueError: if `seconds` or `limit` is not a finite number above 0.
    """
    check_positive("within", seconds=seconds, limit=limit)
    key_of = key_function(key)

    def operator(source: Observable[L]) -> Observable[tuple[L, R]]:
        def subscribe(
            observer: abc.ObserverBase[tuple[L, R]], scheduler_: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            output = SerialOutput(observer, scheduler or scheduler_)
            left: _Window[L] = _Window(seconds)
            right: _Window[R] = _Window(seconds)
            completed = 0

            def add(window: _Window[T], own: Hashable, value: T) -> None:
                window.add(output.scheduler.now, own, value)
                if len(window) > limit:
                    window.drop_first()
                    output.warn_of_loss(
                        "within(…) drops the oldest of %d values of the last %g s, and will not emit its pairs. "
                        "Use a higher limit=, or a shorter time.",
                        limit + 1,
                        seconds,
                    )

            def on_left(value: L) -> None:
                own = key_of(value)
                with output:
                    add(left, own, value)
                    for found in right.find(output.scheduler.now, own):
                        output.emit((value, found))

            def on_right(value: R) -> None:
                own = key_of(value)
                with output:
                    add(right, own, value)
                    for found in left.find(output.scheduler.now, own):
                        output.emit((found, value))

            def on_completed() -> None:
                nonlocal completed
                with output:
                    completed += 1
                    if completed == 2:
                        output.complete()

            output.observe(source, on_left, on_completed, scheduler_)
            output.observe(other, on_right, on_completed, scheduler_)
            return output.resources

        return Awaitable(subscribe)

    return operator


class _Window(Generic[T]):
    """The values of one source in the last seconds, by key."""

    def __init__(self, seconds: float) -> None:
        self._length = timedelta(seconds=seconds)
        self._times: deque[tuple[datetime, Hashable]] = deque()
        self._by_key: dict[Hashable, deque[T]] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, now: datetime, key: Hashable, value: T) -> None:
        self._drop_old(now)
        self._times.append((now, key))
        self._by_key.setdefault(key, deque()).append(value)

    def find(self, now: datetime, key: Hashable) -> Iterable[T]:
        """The values with this key."""
        self._drop_old(now)
        return self._by_key.get(key, ())

    def drop_first(self) -> None:
        _, key = self._times.popleft()
        values = self._by_key[key]
        values.popleft()
        if not values:
            del self._by_key[key]

    def _drop_old(self, now: datetime) -> None:
        while self._times and now - self._times[0][0] > self._length:
            self.drop_first()
