"""Wait on virtual time: `run()` advances the time until the observable completes.

reactivex's `run()` blocks until another thread completes the observable, and a virtual hub has one thread. So the
observables of a virtual hub, and the pipelines on them, are a `VirtualObservable`. Other combinations, for example
`reactivex.merge(…)`, have reactivex's `run()`. It is recognized by its scheduler or its stack frame when it subscribes
to the hub or schedules on it, and raises. reactivex offers no other sign.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from inspect import currentframe
from typing import Any, Protocol, TypeVar

from reactivex import Observable, abc
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.run import run
from reactivex.scheduler import NewThreadScheduler

from rxhub.dispatching.pipeline import Subscribable
from rxhub.errors import NoReply, NotHandled
from rxhub.event import Event
from rxhub.rx.awaitable import Awaitable
from rxhub.rx.scoped_subject import ScopedSubject

__all__ = [
    "VirtualObservable",
    "VirtualPipeline",
    "VirtualReplies",
    "VirtualSubject",
    "VirtualSubscribable",
    "VirtualTime",
    "check_not_blocking",
]

T = TypeVar("T")

_MAX_STEPS = 1_000_000


class VirtualTime(Protocol):
    """A virtual hub, as far as waiting needs it."""

    @property
    def now(self) -> float: ...

    @property
    def scheduler(self) -> abc.SchedulerBase: ...

    def check_not_inside(self, what: str) -> None: ...

    def advance_to_next(self, ended: Callable[[], bool]) -> bool: ...

    async def aadvance_to_next(self, ended: Callable[[], bool]) -> bool: ...


class _LastValue(abc.ObserverBase[Any]):
    def __init__(self) -> None:
        self.reached = False
        self._last: list[Any] = []
        self._error: Exception | None = None

    def on_next(self, value: Any) -> None:
        self._last = [value]

    def on_error(self, error: Exception) -> None:
        self._error, self.reached = error, True

    def on_completed(self) -> None:
        self.reached = True

    def ended(self) -> bool:
        return self.reached

    @property
    def value(self) -> Any:
        if self._error is not None:
            raise self._error
        if not self._last:
            raise SequenceContainsNoElementsError
        return self._last[0]


class VirtualObservable(Awaitable[T]):
    """An observable of a virtual hub, whose `run()` advances the time."""

    clock: VirtualTime

    def _composed(self, source: Observable[Any]) -> Observable[Any]:
        return VirtualPipeline(source, self.clock)

    def run(self, scheduler: abc.SchedulerBase | None = None) -> T:
        """Advance the time until the observable completes, and return the last value.

        Raises SequenceContainsNoElementsError if it completes without a value, and NotHandled if it never completes,
        since no timer is left on the hub, and inside a callback.
        """
        self.clock.check_not_inside("run()")
        end = _LastValue()
        with self.subscribe(end, scheduler=scheduler or self.clock.scheduler):
            for _ in range(_MAX_STEPS):
                if end.reached or not self.clock.advance_to_next(end.ended):
                    break
            if not end.reached:
                raise NotHandled(_no_timer_left(self.clock))
        return end.value

    def _subscribe_core(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        check_not_blocking(scheduler)
        return super()._subscribe_core(observer, scheduler)


class VirtualPipeline(VirtualObservable[T]):
    """A pipeline on an observable of a virtual hub."""

    def __init__(self, source: Observable[T], clock: VirtualTime) -> None:
        super().__init__(lambda observer, scheduler=None: source.subscribe(observer, scheduler=scheduler))
        self.clock = clock


class VirtualReplies(VirtualPipeline[Event]):
    """The replies to a request; awaitable, since they complete."""

    def __init__(self, source: Observable[Event], clock: VirtualTime, topic: str, timeout: float) -> None:
        super().__init__(source, clock)
        self._no_reply = f"Nobody replied to {topic} within {timeout:g} s."

    def run(self, scheduler: abc.SchedulerBase | None = None) -> Event:
        """Advance the time by the timeout, and return the last reply. Raises NoReply if there is none."""
        try:
            return super().run(scheduler)
        except SequenceContainsNoElementsError:
            raise NoReply(self._no_reply) from None

    def __await__(self) -> Generator[Any, None, Event]:
        """As `run`, on the running loop."""
        return self._awaited().__await__()

    async def _awaited(self) -> Event:
        self.clock.check_not_inside("await")
        end = _LastValue()
        with self.subscribe(end, scheduler=self.clock.scheduler):
            while not end.reached:
                if not await self.clock.aadvance_to_next(end.ended):
                    raise NotHandled(_no_timer_left(self.clock))
        try:
            return end.value
        except SequenceContainsNoElementsError:
            raise NoReply(self._no_reply) from None


class VirtualSubscribable(VirtualObservable[Event], Subscribable):
    """The events that match a subscription, on a virtual hub."""


class VirtualSubject(VirtualObservable[T], ScopedSubject[T]):
    """A subject of a virtual hub."""


def _no_timer_left(clock: VirtualTime) -> str:
    return (
        f"run() would wait forever: at {clock.now:g} s, the virtual hub has no event or timer left to complete "
        "the pipeline. Publish before or by hub.scheduler, or subscribe, publish, and call hub.advance(seconds)."
    )


def check_not_blocking(scheduler: abc.SchedulerBase | None = None) -> None:
    """Raise NotHandled if reactivex's own `run()` subscribes or schedules here: it would block forever."""
    frame = None if scheduler is _RUN_SCHEDULER else currentframe()
    while frame is not None and frame.f_code is not _RUN_CODE:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in {"reactivex", "rxhub"}:
            # User code that runs inside another run(), which waits for something else.
            return
        frame = frame.f_back
    if frame is not None or scheduler is _RUN_SCHEDULER:
        raise NotHandled(
            "run() would block the only thread of this virtual hub forever. Start the pipeline with an observable of "
            "the hub, hub.on(…).pipe(ops.merge(…)).run(), or subscribe with scheduler=hub.scheduler and call "
            "hub.advance(seconds)."
        )


_RUN_CODE = run.__code__
# Its default scheduler, whose name depends on the version of reactivex.
_RUN_SCHEDULER: Any = next(
    (value for value in run.__globals__.values() if isinstance(value, NewThreadScheduler)), object()
)
