"""Observables that can be awaited, although their values come from another thread.

reactivex's own `await observable` sets its future in the thread of the value, which does not wake the waiting loop. An
`Awaitable` wakes it. What `pipe` makes of an `Awaitable` is one, too: the operators return plain observables, so that
`pipe` puts an `Awaitable` before the last of them. It hands subscriptions on as they come, and so costs no event
anything.

`for x in observable` loops for ever in reactivex, since `observable[n]` is an operator that never raises IndexError. An
`Awaitable` raises TypeError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, cast

from reactivex import ConnectableObservable, Observable, abc
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.scheduler import TimeoutScheduler
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

from rxhub.concurrency.event_loop import check_asyncio
from rxhub.concurrency.flag import Flag
from rxhub.concurrency.wakeup import Wakeup
from rxhub.errors import NotHandled
from rxhub.rx.runner_status import Deadlines, RunnerStatus, RunnerWatch, not_running

__all__ = ["Awaitable", "Composed", "with_runner_status"]

_T_co = TypeVar("_T_co", covariant=True)

_A = TypeVar("_A", bound="Awaitable[Any]")

_NOTHING: Any = object()
_NO_VIGIL = nullcontext()

FIRST_CHECK_S = 0.1
"""Seconds for what needs no handling: operators may bring it on a scheduler, such as what `merge` adds."""


def with_runner_status(observable: _A, runner_status: RunnerStatus) -> _A:
    """Have those who wait for the observable, or for what is piped from it, told when nobody handles its hub."""
    observable._runner_status = runner_status  # pyright: ignore[reportPrivateUsage]
    return observable


class Awaitable(Observable[_T_co]):
    """An observable that any loop can await, as it can what is piped from it."""

    _runner_status: RunnerStatus | None = None

    def __await__(self) -> Generator[Any, None, _T_co]:
        """Wait for the end, on the running asyncio loop.

        Subscribes when it is awaited, and unsubscribes when it ends or is cancelled. The loop's scheduler is handed to
        the subscription as its default, as reactivex does.

        Returns:
            The last value before the completion.

        Raises:
            SequenceContainsNoElementsError: if it completes without a value.
            NotHandled: if it is a hub's, and nobody handles the hub, or nobody does any more.
            WrongLoop: if no asyncio loop runs in this thread.
            Exception: the error that the observable ends with.
        """
        check_asyncio("await on an observable")
        loop = asyncio.get_running_loop()
        ended = Wakeup()
        is_over = False
        last: Any = _NOTHING
        failure: Exception | None = None

        def keep(value: _T_co) -> None:
            nonlocal last
            last = value

        def fail(error: Exception) -> None:
            nonlocal failure
            failure = error
            complete()

        def complete() -> None:
            nonlocal is_over
            is_over = True
            ended.set()

        def stopped() -> None:
            if not is_over:
                fail(not_running("await"))

        subscription = self.subscribe(keep, fail, complete, scheduler=AsyncIOThreadSafeScheduler(loop))
        runner_status = self._runner_status
        try:
            with (
                _NO_VIGIL
                if runner_status is None or is_over
                else RunnerWatch(runner_status, loop, stopped, FIRST_CHECK_S)
            ):
                yield from ended.wait().__await__()
        finally:
            subscription.dispose()
        if failure is not None:
            raise failure
        if last is _NOTHING:
            raise SequenceContainsNoElementsError
        return cast("_T_co", last)

    def run(self, scheduler: abc.SchedulerBase | None = None) -> _T_co:
        """Wait for the end, in this thread.

        Args:
            scheduler: for operators that have none; each timer is a thread of its own if it is not given.

        Returns:
            The last value before the completion.

        Raises:
            SequenceContainsNoElementsError: if it completes without a value.
            NotHandled: if it is a hub's, and nobody handles the hub, nobody does any more, or this thread does.
            Exception: the error that the observable ends with.
        """
        runner_status = self._runner_status
        if runner_status is None:
            return super().run(scheduler)
        wakeup = Flag()
        is_over = False
        last: Any = _NOTHING
        failure: Exception | None = None

        def keep(value: _T_co) -> None:
            nonlocal last
            last = value

        def fail(error: Exception) -> None:
            nonlocal failure
            failure = error
            complete()

        def complete() -> None:
            nonlocal is_over
            is_over = True
            wakeup.set()

        scheduler = scheduler or TimeoutScheduler.singleton()
        patient_until = monotonic() + FIRST_CHECK_S
        deadlines = Deadlines()
        with deadlines.collecting():
            subscription = self.subscribe(keep, fail, complete, scheduler=scheduler)
        with subscription, runner_status.watch(wakeup.set):
            while True:
                wakeup.clear()
                due = deadlines.act()
                left = runner_status.stops_in()
                # Asked last: the end of the observable comes before that of the handling.
                if is_over:
                    break
                if runner_status.runs_here:
                    raise NotHandled(
                        "run() would wait for ever for what this thread handles: subscribe to the observable, "
                        "await it, or call run() in another thread."
                    )
                if left is not None:
                    left = max(left, patient_until - monotonic())
                    if left <= 0:
                        raise not_running("run()")
                wakeup.wait(min((wait for wait in (left, due) if wait is not None), default=None))
        if failure is not None:
            raise failure
        if last is _NOTHING:
            raise SequenceContainsNoElementsError
        return cast("_T_co", last)

    # Type checkers see reactivex's own, which know what each operator makes of its input.
    if not TYPE_CHECKING:

        def pipe(self, *operators: Callable[[Any], Any]) -> Any:
            """Compose operators, as reactivex's `pipe`; an observable that comes of it can be awaited as well."""
            return self._awaitable(super().pipe(*operators))

        def __getitem__(self, key: slice | int) -> Observable[Any]:
            """An operator, as in reactivex."""
            return self._awaitable(super().__getitem__(key))

        def __add__(self, other: Observable[Any]) -> Observable[Any]:
            """Both, one after the other, as in reactivex."""
            return self._awaitable(super().__add__(other))

        __iadd__ = __add__

    def _awaitable(self, made: Any) -> Any:
        """What an operator has made of this, so that it can be awaited."""
        if isinstance(made, list):
            # Such as partition makes.
            return [self._awaitable(part) for part in cast("list[Any]", made)]
        kind = cast("type[Any]", type(made))
        if kind is Observable or kind is Awaitable:
            return self._composed(made)
        return _Connectable(self, made) if kind is ConnectableObservable else made

    def _composed(self, source: Observable[Any]) -> Observable[Any]:
        """The plain observable that operators have made of this."""
        return Composed(source, self._runner_status)

    def __iter__(self) -> Iterator[Any]:
        """Refuse at once, instead of looping for ever.

        Raises:
            TypeError: always, unless a subclass has something to iterate over.
        """
        raise TypeError(
            f"A {type(self).__name__} cannot be iterated over: its values have not come yet. "
            "Subscribe to it, await it for its last value, or pipe it through ops.to_list() for all of them."
        )


class Composed(Awaitable[_T_co]):
    """Another observable, made awaitable. Its observers are the other's own.

    Args:
        source: the other observable.
        runner_status: of the hub whose events come through it, if it is a hub's.
    """

    def __init__(self, source: Observable[_T_co], runner_status: RunnerStatus | None = None) -> None:
        super().__init__()
        self._source = source
        self._runner_status = runner_status

    def subscribe(
        self,
        on_next: abc.ObserverBase[_T_co] | abc.OnNext[_T_co] | None = None,
        on_error: abc.OnError | None = None,
        on_completed: abc.OnCompleted | None = None,
        *,
        scheduler: abc.SchedulerBase | None = None,
    ) -> abc.DisposableBase:
        """Subscribe to the source."""
        return self._source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} observable at {id(self):#x}>"


class _Connectable(Awaitable[Any], ConnectableObservable[Any]):
    """What `ops.publish` and its like make of an awaitable observable."""

    def __init__(self, origin: Awaitable[Any], source: ConnectableObservable[Any]) -> None:
        super().__init__(source.source, source.subject)
        self._composed = origin._composed
        self._runner_status = origin._runner_status
        # Which of them is connected, the source alone knows.
        self.connect = source.connect

    def auto_connect(self, subscriber_count: int = 1) -> Observable[Any]:
        """As in reactivex."""
        return self._awaitable(super().auto_connect(subscriber_count))


def _keeps_awaitable(name: str) -> None:
    """Mend a fluent operator that reactivex applies without `pipe`."""
    plain = getattr(Observable, name, None)
    if plain is not None:  # reactivex 5 has none

        def operator(self: Awaitable[Any], *arguments: Any) -> Any:
            return self._awaitable(plain(self, *arguments))  # pyright: ignore[reportPrivateUsage]

        operator.__doc__ = plain.__doc__
        setattr(Awaitable, name, operator)


for _name in ("dematerialize", "exclusive", "pluck", "ref_count", "switch_latest"):
    _keeps_awaitable(_name)
