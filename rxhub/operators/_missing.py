"""Report values that were not answered in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from itertools import count
from typing import Any, TypeVar

from reactivex import Observable, abc

from rxhub.operators._expiring_keys import ExpiringKeys
from rxhub.operators._serial_output import Key, SerialOutput, check_positive, key_function
from rxhub.rx.awaitable import Awaitable

__all__ = ["missing"]

T = TypeVar("T")


def missing(
    answer: Observable[Any],
    timeout: float,
    key: Key[Any] | None = None,
    *,
    limit: int = 100_000,
    scheduler: abc.SchedulerBase | None = None,
) -> Callable[[Observable[T]], Observable[T]]:
    """Emit each value that is not followed by an answer with the same key within `timeout` seconds.

        source                  a-b-------|
        answer                  ---b
        missing(answer, 5.0)    -----a----|      the letter is the key

        started = hub.on("topic=studio.render.started")
        finished = hub.on("topic=studio.render.finished")
        started.pipe(missing(finished, 3600.0, key=lambda event: event.data["job"]))

    An answer answers all waiting values with its key. An answer that comes before its value, or exactly at the timeout,
    does not count. When the source completes, the waiting values still have their time, and then the result completes.
    Completion of `answer` is ignored: later values have no answer. An error of the source, of `answer`, or of `key` is
    passed on at once. A value is compared with the answers that arrive, not with times in the events.

    Args:
        answer: the observable of the answers.
        timeout: the seconds that an answer may take.
        key: returns the key of a value, and that of an answer. Default: any answer answers all waiting values.
        limit: the number of values that wait for an answer. Above it, the oldest one is dropped, and a warning is
            logged the first time.
        scheduler: the clock. Default: the scheduler of the subscription, otherwise a thread for each timer.

    Raises:
        ValueError: if `timeout` or `limit` is not a finite number above 0.
    """
    check_positive("missing", timeout=timeout, limit=limit)
    key_of = key_function(key)

    def operator(source: Observable[T]) -> Observable[T]:
        def subscribe(observer: abc.ObserverBase[T], scheduler_: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            output = SerialOutput(observer, scheduler or scheduler_)
            numbers = count()
            values: dict[int, tuple[Hashable, T]] = {}
            by_key: dict[Hashable, deque[int]] = {}
            is_completed = False

            def forget(number: int) -> T:
                own, value = values.pop(number)
                # Values of one key leave in the order in which they came.
                by_key[own].popleft()
                if not by_key[own]:
                    del by_key[own]
                return value

            def expire(number: int) -> None:
                output.emit(forget(number))
                if is_completed and not values:
                    output.complete()

            waiting: ExpiringKeys[int] = ExpiringKeys(output, timeout, expire)

            def on_next(value: T) -> None:
                own = key_of(value)
                with output:
                    waiting.expire_due()
                    number = next(numbers)
                    values[number] = own, value
                    by_key.setdefault(own, deque()).append(number)
                    waiting.start(number)
                    if len(values) > limit:
                        forget(waiting.remove_first())
                        output.warn_of_loss(
                            "missing(…) drops the oldest of %d values that wait for an answer, and will not report it. "
                            "Use a higher limit=, or a shorter timeout.",
                            limit + 1,
                        )

            def on_answer(value: Any) -> None:
                own = key_of(value)
                with output:
                    waiting.expire_due()
                    for number in by_key.pop(own, ()):
                        waiting.remove(number)
                        del values[number]
                    if is_completed and not values:
                        output.complete()

            def on_completed() -> None:
                nonlocal is_completed
                with output:
                    is_completed = True
                    if not values:
                        output.complete()

            output.observe(source, on_next, on_completed, scheduler_)
            output.observe(answer, on_answer, lambda: None, scheduler_)
            return output.resources

        return Awaitable(subscribe)

    return operator
