"""Observables that can be awaited although their values come from another thread.

reactivex's own `await observable` sets its future in the thread of the value, which does not wake the waiting loop. An
`Awaitable` wakes it, and so does what `pipe` makes of one: `pipe` wraps the last of the plain observables that
operators return, at no cost to events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from reactivex import ConnectableObservable, Observable, abc
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.scheduler import TimeoutScheduler
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from rxhub.concurrency.event_loop import check_asyncio
from rxhub.concurrency.wakeup import Flag, Wakeup
from rxhub.errors import NotHandled
from rxhub.rx.runner_status import Deadlines, RunnerStatus, not_running, watching

__all__ = ["Awaitable", "Composed", "Ending", "with_runner_status"]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

_A = TypeVar("_A", bound="Awaitable[Any]")

_NOTHING: Any = object()

FIRST_CHECK_S = 0.1
"""Seconds for values that do not need a running hub, such as those that `merge` adds on a scheduler."""


def with_runner_status(observable: _A, runner_status: RunnerStatus) -> _A:
    """Raise NotHandled in code that waits for the observable, or a pipeline on it, when its hub stops running."""
    observable._runner_status = runner_status  # pyright: ignore[reportPrivateUsage]
    return observable


class Ending(Generic[_T]):
    """Observes an observable for code that waits for its last value; `wake` is called at the end."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self.is_over = False
        self._wake = wake
        self._last: Any = _NOTHING
        self._error: Exception | None = None

    def on_next(self, value: _T) -> None:
        self._last = value

    def on_error(self, error: Exception) -> None:
        self._error = error
        self.on_completed()

    def on_completed(self) -> None:
        self.is_over = True
        self._wake()

    def result(self) -> _T:
        """The last value; raises the error, or SequenceContainsNoElementsError without a value."""
        if self._error is not None:
            raise self._error
        if self._last is _NOTHING:
            raise SequenceContainsNoElementsError
        return self._last


class Awaitable(Observable[_T_co]):
    """An observable that any loop can await, with all that is piped from it."""

    _runner_status: RunnerStatus | None = None

    def __await__(self) -> Generator[Any, None, _T_co]:
        """Wait for the end, on the running asyncio loop, and return the last value.

        Subscribes when it is awaited, and unsubscribes when it ends or is cancelled. The default scheduler of the
        subscription is the loop's, as in reactivex. Raises the error that the observable ends with.

        Raises:
            SequenceContainsNoElementsError: if it completes without a value.
            NotHandled: if it belongs to a hub that is not running, or stops running.
            WrongLoop: if no asyncio loop runs in this thread.
        """
        check_asyncio("await on an observable")
        loop = asyncio.get_running_loop()
        wakeup = Wakeup()
        ending: Ending[_T_co] = Ending(wakeup.set)

        def stopped() -> None:
            if not ending.is_over:
                ending.on_error(not_running("await"))

        scheduler = AsyncIOThreadSafeScheduler(loop)
        subscription = self.subscribe(ending.on_next, ending.on_error, ending.on_completed, scheduler=scheduler)
        status = self._runner_status
        try:
            if status is None or ending.is_over:
                watch = nullcontext()
            else:
                watch = watching(status, loop, stopped, FIRST_CHECK_S)
            with watch:
                yield from wakeup.wait().__await__()
        finally:
            subscription.dispose()
        return ending.result()

    def run(self, scheduler: abc.SchedulerBase | None = None) -> _T_co:
        """Wait for the end, in this thread, and return the last value.

        Operators without a `scheduler` start a thread for each timer. Raises the error that the observable ends with,
        `SequenceContainsNoElementsError` if there is no value, and `NotHandled` if it belongs to a hub that is not
        running, stops running, or is run by this thread.
        """
        runner_status = self._runner_status
        if runner_status is None:
            return super().run(scheduler)
        wakeup = Flag()
        ending: Ending[_T_co] = Ending(wakeup.set)
        scheduler = scheduler or runner_status.clock.scheduler or TimeoutScheduler.singleton()
        patient_until = monotonic() + FIRST_CHECK_S
        deadlines = Deadlines()
        with deadlines.collecting():
            subscription = self.subscribe(ending.on_next, ending.on_error, ending.on_completed, scheduler=scheduler)
        with subscription, runner_status.watch(wakeup.set):
            while True:
                wakeup.clear()
                due = deadlines.run_due()
                left = runner_status.stops_in()
                # Checked last: the observable ends before the context.
                if ending.is_over:
                    break
                if runner_status.runs_here:
                    raise NotHandled(
                        "run() would wait forever for what this thread handles: subscribe to the observable, "
                        "await it, or call run() in another thread."
                    )
                if left is not None:
                    left = max(left, patient_until - monotonic())
                    if left <= 0:
                        raise not_running("run()")
                timeout = min((wait for wait in (left, due) if wait is not None), default=None)
                runner_status.clock.wait(wakeup, timeout, lambda: ending.is_over)
        return ending.result()

    # Type checkers see reactivex's own, which know the types of operators.
    if not TYPE_CHECKING:

        def pipe(self, *operators: Callable[[Any], Any]) -> Any:
            """Compose operators, as reactivex's `pipe`; the resulting observable can be awaited."""
            return self._awaitable(super().pipe(*operators))

        def __getitem__(self, key: slice | int) -> Observable[Any]:
            return self._awaitable(super().__getitem__(key))

        def __add__(self, other: Observable[Any]) -> Observable[Any]:
            return self._awaitable(super().__add__(other))

        __iadd__ = __add__

    def _awaitable(self, made: Any) -> Any:
        """The result of an operator, made awaitable."""
        if isinstance(made, list):
            # Of ops.partition.
            return [self._awaitable(part) for part in cast("list[Any]", made)]
        kind = cast("type[Any]", type(made))
        if kind is Observable or kind is Awaitable:
            return self._composed(made)
        return _Connectable(self, made) if kind is ConnectableObservable else made

    def _composed(self, source: Observable[Any]) -> Observable[Any]:
        """The plain observable that operators have made of this one, made awaitable."""
        return Composed(source, self._runner_status)

    def __iter__(self) -> Iterator[Any]:
        """Raise TypeError. In reactivex, `observable[n]` is an operator, so that a loop would never end."""
        raise TypeError(
            f"A {type(self).__name__} cannot be iterated over: its values have not come yet. "
            "Subscribe to it, await it for its last value, or pipe it through ops.to_list() for all of them."
        )


class Composed(Awaitable[_T_co]):
    """Another observable, made awaitable. Observers subscribe to the other one."""

    def __init__(self, source: Observable[_T_co], runner_status: RunnerStatus | None = None) -> None:
        super().__init__()
        self._source = source
        self._runner_status = runner_status

    if not TYPE_CHECKING:

        def subscribe(self, *observer: Any, **named: Any) -> abc.DisposableBase:
            return self._source.subscribe(*observer, **named)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} observable at {id(self):#x}>"


class _Connectable(Awaitable[Any], ConnectableObservable[Any]):
    """The result of `ops.publish` and similar operators on an awaitable observable."""

    def __init__(self, origin: Awaitable[Any], source: ConnectableObservable[Any]) -> None:
        super().__init__(source.source, source.subject)
        self._composed = origin._composed
        self._runner_status = origin._runner_status
        # The source alone knows whether it is connected.
        self.connect = source.connect

    def auto_connect(self, subscriber_count: int = 1) -> Observable[Any]:
        return self._awaitable(super().auto_connect(subscriber_count))


def _keeps_awaitable(name: str) -> None:
    """Patch a fluent operator that reactivex applies without `pipe`."""
    plain = getattr(Observable, name, None)
    if plain is not None:  # reactivex 5 has none

        def operator(self: Awaitable[Any], *arguments: Any) -> Any:
            return self._awaitable(plain(self, *arguments))  # pyright: ignore[reportPrivateUsage]

        operator.__doc__ = plain.__doc__
        setattr(Awaitable, name, operator)


for _name in ("dematerialize", "exclusive", "pluck", "ref_count", "switch_latest"):
    _keeps_awaitable(_name)
