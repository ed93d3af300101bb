"""A hub on virtual time, which a test advances.

All time of a hub comes from its clock: timers in the inbox, and the time that its scheduler shows. `advance(3600)`
handles what is ready, sets the clock to the next timer, handles that, and so on until the hour is over. Nothing sleeps
and no thread runs. Actions that are due at the same time run in the order in which they were scheduled, so a test
always gives the same result. `hub.request(…).run()` and `await hub.ask(…)` advance the clock until the result is there.

reactivex's own `run()`, for example of `reactivex.merge(…)`, would block the only thread. It is recognized by its
scheduler or its stack frame when it subscribes to the hub or schedules on it, and raises.

Only actions on `hub.scheduler` use virtual time: pass it to operators by `scheduler=`, or to all operators of a
pipeline by `subscribe(…, scheduler=hub.scheduler)`. Awaitables such as `asyncio.sleep` take real time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from datetime import datetime, timedelta
from inspect import currentframe
from math import inf, isfinite
from typing import Any, Self, TypeVar
from weakref import ref

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.internal.constants import UTC_ZERO
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.run import run
from reactivex.scheduler import NewThreadScheduler

from rxhub.concurrency.wakeup import Flag
from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.dispatching.pipeline import Subscribable
from rxhub.errors import AlreadyHandled, NoReply, NotHandled
from rxhub.event import Event
from rxhub.hub import EventHub
from rxhub.hub.runner import Invoke
from rxhub.rx.awaitable import Awaitable, Composed, Ending, with_runner_status
from rxhub.rx.scoped_subject import ScopedSubject

__all__ = ["VirtualHub", "virtual_hub"]

T = TypeVar("T")

_RESOLUTION_S = 1e-9
_MAX_STEPS = 1_000_000


class _Clock:
    driven_by = "advance()"

    def __init__(self, hub: VirtualHub) -> None:
        self.seconds = 0.0
        self.scheduler: abc.SchedulerBase | None = None
        self._hub = ref(hub)  # a replay holds the inbox, which holds the clock, but must not keep the hub alive

    def monotonic(self) -> float:
        return self.seconds

    def wall_time(self) -> datetime:
        return UTC_ZERO + timedelta(seconds=self.seconds)

    def check_scheduling(self) -> None:
        _check_not_blocking()

    def wait(self, wakeup: Flag, timeout: float | None, ended: Callable[[], bool]) -> None:
        if (hub := self._hub()) is None:
            raise NotHandled("run() waits for a virtual hub that no longer exists. Keep a reference to the hub.")
        hub._advance_until(ended)  # pyright: ignore[reportPrivateUsage]


class VirtualHub(EventHub):
    """An `EventHub` on which an hour passes in a millisecond.

    It counts as running, so publishing does not warn and requests work. Published events wait for `advance`, `aadvance`
    or `drain`. `start()` does nothing, and `wait(seconds)` is `advance`.

    The arguments are those of `EventHub`. Each hub has its own clock, also on one `memory://name`. Raises ValueError
    for the URL of a server, and for the policy "block", which would deadlock the only thread.
    """

    def __init__(
        self,
        server_url: str = "memory://",
        api_user: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        *,
        inbox: int = 100_000,
        overflow: str = "error",
    ) -> None:
        if not server_url.lower().startswith("memory://"):
            raise ValueError(f"A virtual hub needs a memory:// URL, but {server_url!r} was given.")
        if overflow == "block":
            raise ValueError('A virtual hub cannot have overflow="block": its only thread would wait for itself.')
        self._clock = clock = _Clock(self)
        super().__init__(server_url, api_user, api_key, headers, cookies, inbox=inbox, overflow=overflow, clock=clock)
        clock.scheduler = self.scheduler
        self.events = with_runner_status(_Subject[Event](serialize=True), self._runner)

    @property
    def now(self) -> float:
        """The virtual time in seconds since the hub was created."""
        return round(self._clock.seconds, 9)

    def advance(self, seconds: float) -> int:
        """Advance the time by `seconds`, and handle events and timers at their time; the number of handled events.

        0 handles what is ready. Inside a callback it raises AlreadyHandled, on an event loop use `aadvance`.
        """
        return sum(self.drain() for _ in self._steps(seconds))

    async def aadvance(self, seconds: float) -> int:
        """Same as `advance` on the running event loop, which awaits coroutine callbacks."""
        return sum([await self._runner.drain_async("aadvance()") for _ in self._steps(seconds)])

    def on(self, subscription: str, priority: float = 100) -> Subscribable:
        """Same as `EventHub.on`; `run()` of a pipeline advances the time until it completes."""
        self._publisher.check_open()
        return with_runner_status(_Subscribable(self._dispatcher, subscription, priority), self._runner)

    @property
    def deliveries(self) -> Observable[Delivery]:
        """Same as in `EventHub`."""
        return self._checked(super().deliveries)

    @property
    def errors(self) -> Observable[Outcome]:
        """Same as in `EventHub`."""
        return self._checked(super().errors)

    def _checked(self, source: Observable[T]) -> Observable[T]:
        checked: _Checked[T] = _Checked(
            lambda observer, scheduler=None: source.subscribe(observer, scheduler=scheduler)
        )
        return with_runner_status(checked, self._runner)

    def request(self, event: Event, timeout: float = 10.0) -> Observable[Event]:
        """Same as `EventHub.request`; `run()` and `await` advance the time until the timeout."""
        replies = _VirtualReplies(
            super().request(event, timeout), lambda source: self._last(source, event.topic, timeout)
        )
        return with_runner_status(replies, self._runner)

    async def ask(self, event: Event, timeout: float = 10.0) -> Event:
        """Same as `EventHub.ask`; advances the time until the first reply."""
        return await self._last(super().request(event, timeout).pipe(ops.first()), event.topic, timeout)

    async def _last(self, replies: Observable[Event], topic: str, timeout: float) -> Event:
        """Advance the time until the replies end."""
        if self._runner.runs_here:
            raise NotHandled(
                f"Awaiting a reply to {topic} would wait forever inside a callback: this thread handles further events "
                "only when the callback returns. Subscribe to the request instead, or await it outside callbacks."
            )
        ending: Ending[Event] = Ending(lambda: None)
        with replies.subscribe(ending.on_next, ending.on_error, ending.on_completed, scheduler=self.scheduler):
            for _ in self._steps(timeout):
                await self._runner.drain_async("aadvance()")
                if ending.is_over:
                    break
        try:
            return ending.result()
        except SequenceContainsNoElementsError:
            raise NoReply(f"Nobody replied to {topic} within {timeout:g} s.") from None

    def wait(self, duration: float | None = None) -> None:
        """Same as `advance`; there must be a duration."""
        if duration is None:
            raise ValueError("On a virtual hub, wait() needs a duration, since nothing else would end it.")
        self.advance(duration)

    def start(self, invoke: Invoke | None = None) -> abc.DisposableBase:
        """Does nothing: `advance` runs the handlers."""
        return Disposable()

    async def run(self) -> None:
        """Not supported, raises AlreadyHandled: a test advances the time."""
        raise AlreadyHandled("run() does not work on a virtual hub. Use `await hub.aadvance(seconds)`.")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _advance_until(self, ended: Callable[[], bool]) -> None:
        """Handle what is ready and each timer at its time, until `ended`.

        Raises NotHandled if no timer is left, or after a million.
        """
        for _ in range(_MAX_STEPS):
            self.drain()
            if ended():
                return
            if (due := self._next_due(inf)) is None:
                break
            self._clock.seconds = due
        raise NotHandled(
            f"run() would wait forever: at {self.now:g} s, the virtual hub has no event or timer left to complete "
            "the pipeline. Publish before or by hub.scheduler, or subscribe, publish, and call hub.advance(seconds)."
        )

    def _next_due(self, end: float) -> float | None:
        """The time of the next timer, if it is due by `end`."""
        due = self._inbox.next_due()
        # Sums of fractions differ by rounding errors.
        return None if due is None or due > end + _RESOLUTION_S else due

    def _steps(self, seconds: float) -> Iterator[None]:
        """Set the clock to now, to each timer within `seconds` in turn, and to the end."""
        if not isfinite(seconds) or seconds < 0:
            raise ValueError(f"The time advances by a finite number of seconds, at least 0, but {seconds!r} was given.")
        # Ten times 0.1 must be 1.
        end = round(self._clock.seconds + seconds, 9)
        yield
        while (due := self._next_due(end)) is not None:
            self._clock.seconds = due
            yield
        self._clock.seconds = max(end, self._clock.seconds)


virtual_hub = VirtualHub
"""Create a hub on virtual time: `virtual_hub()`."""


class _Checked(Awaitable[T]):
    """Refuses a subscription by which reactivex's own `run()` would block the only thread."""

    def _subscribe_core(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        _check_not_blocking(scheduler)
        return super()._subscribe_core(observer, scheduler)


class _Subject(_Checked[T], ScopedSubject[T]):
    pass


class _Subscribable(_Checked[Event], Subscribable):
    pass


class _VirtualReplies(Composed[Event]):
    """The replies to a request; awaitable, since they complete."""

    def __init__(
        self, source: Observable[Event], last: Callable[[Observable[Event]], Coroutine[Any, Any, Event]]
    ) -> None:
        super().__init__(source)
        self.run = source.run
        self._last = last

    def __await__(self) -> Generator[Any, None, Event]:
        return self._last(self._source).__await__()


def _check_not_blocking(scheduler: abc.SchedulerBase | None = None) -> None:
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
