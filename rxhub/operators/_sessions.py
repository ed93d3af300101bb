"""Group values that follow each other closely."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from reactivex import Observable, abc

from rxhub.operators._expiring_keys import ExpiringKeys
from rxhub.operators._serial_output import Key, SerialOutput, check_positive, key_function
from rxhub.rx.awaitable import Awaitable

__all__ = ["sessions"]

T = TypeVar("T")


def sessions(
    gap: float, key: Key[T] | None = None, *, limit: int = 100_000, scheduler: abc.SchedulerBase | None = None
) -> Callable[[Observable[T]], Observable[list[T]]]:
    """Collect values until no further one has come for `gap` seconds, and emit them as a list.

        source           a-b------c|
        sessions(3.0)    -----x----(y|)      x = [a, b], y = [c]

        hub.on("topic=studio.review.note").pipe(sessions(600.0, key=lambda event: event.data["shot"]))

    Each key has its own sessions. Completion of the source ends all open sessions, in the order of their last values.
    An error of the source, or of `key`, is passed on at once, without the open sessions.

    reactivex composes the same from `group_by_until`, `debounce` and `to_list`, with a timer for each value and without
    a limit. This operator has one timer.

    Args:
        gap: the seconds without a value that end a session.
        key: returns the key of a value. Default: all values have the same key.
        limit: the number of values in all open sessions. Above it, the session with the oldest last value ends early.
            No value is lost.
        scheduler: the clock. Default: the scheduler of the subscription, otherwise a thread for each timer.

    Raises:
        ValueError: if `gap` or `limit` is not a finite number above 0.
    """
    check_positive("sessions", gap=gap, limit=limit)
    key_of = key_function(key)

    def operator(source: Observable[T]) -> Observable[list[T]]:
        def subscribe(
            observer: abc.ObserverBase[list[T]], scheduler_: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            output = SerialOutput(observer, scheduler or scheduler_)
            values: dict[Hashable, list[T]] = {}
            stored = 0

            def end(key: Hashable) -> None:
                nonlocal stored
                session = values.pop(key)
                stored -= len(session)
                output.emit(session)

            open_sessions: ExpiringKeys[Hashable] = ExpiringKeys(output, gap, end)

            def on_next(value: T) -> None:
                nonlocal stored
                own = key_of(value)
                with output:
                    open_sessions.expire_due()
                    values.setdefault(own, []).append(value)
                    open_sessions.start(own)
                    stored += 1
                    if stored > limit:
                        open_sessions.expire_first()

            def on_completed() -> None:
                with output:
                    while open_sessions:
                        open_sessions.expire_first()
                    output.complete()

            output.observe(source, on_next, on_completed, scheduler_)
            return output.resources

        return Awaitable(subscribe)

    return operator
