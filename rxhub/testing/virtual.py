"""A hub on virtual time, which a test advances.

All time of a hub comes from its clock: timers in the inbox, and the time that its scheduler shows. `advance(3600)`
handles what is ready, sets the clock to the next timer, handles that, and so on until the hour is over. Nothing sleeps
and no thread runs. Actions that are due at the same time run in the order in which they were scheduled, so a test
always gives the same result. `hub.request(…).run()` and `await hub.ask(…)` advance the clock until the result is there.

Only actions on `hub.scheduler` use virtual time: pass it to operators by `scheduler=`, or to all operators of a
pipeline by `subscribe(…, scheduler=hub.scheduler)`. Awaitables such as `asyncio.sleep` take real time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from math import inf, isfinite
from types import TracebackType
from typing import Self, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.internal.constants import UTC_ZERO

from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.dispatching.pipeline import Subscribable
from rxhub.errors import AlreadyHandled, NoReply, NotHandled
from rxhub.event import Event
from rxhub.hub import EventHub
from rxhub.hub.runner import Invoke
from rxhub.testing.virtual_wait import (
    VirtualPipeline,
    VirtualReplies,
    VirtualSubject,
    VirtualSubscribable,
    check_not_blocking,
)

__all__ = ["VirtualHub", "virtual_hub"]

State = TypeVar("State")

_RESOLUTION_S = 1e-9


class _Clock:
    """A clock that a test sets."""

    driven_by = "advance()"

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def wall_time(self) -> datetime:
        return UTC_ZERO + timedelta(seconds=self.seconds)

    def check_scheduling(self) -> None:
        check_not_blocking()


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
        self._clock = _Clock()
        super().__init__(
            server_url, api_user, api_key, headers, cookies, inbox=inbox, overflow=overflow, clock=self._clock
        )
        self.events = events = VirtualSubject[Event](serialize=True)
        events.clock = self

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
        events = VirtualSubscribable(self._dispatcher, subscription, priority)
        events.clock = self
        return events

    @property
    def deliveries(self) -> Observable[Delivery]:
        """Same as in `EventHub`."""
        return VirtualPipeline(super().deliveries, self)

    @property
    def errors(self) -> Observable[Outcome]:
        """Same as in `EventHub`."""
        return VirtualPipeline(super().errors, self)

    def request(self, event: Event, timeout: float = 10.0) -> Observable[Event]:
        """Same as `EventHub.request`; `run()` and `await` advance the time until the timeout."""
        return VirtualReplies(super().request(event, timeout), self, event.topic, timeout)

    async def ask(self, event: Event, timeout: float = 10.0) -> Event:
        """Same as `EventHub.ask`; advances the time until the first reply."""
        replies: list[Event] = []
        errors: list[Exception] = []
        with self.request(event, timeout).subscribe(replies.append, errors.append):
            for _ in self._steps(timeout):
                await self._runner.drain_async("aadvance()")
                if replies or errors:
                    break
        if errors:
            raise errors[0]
        if not replies:
            raise NoReply(f"Nobody replied to {event.topic} within {timeout:g} s.")
        return replies[0]

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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The protocol rxhub.testing.virtual_wait.VirtualTime

    def check_not_inside(self, what: str) -> None:
        """Raise NotHandled inside a callback, which cannot wait for later events."""
        if self._runner.runs_here:
            raise NotHandled(
                f"{what} would wait forever inside a callback: this thread handles further events only when the "
                "callback returns. Subscribe instead, or call it outside callbacks."
            )

    def advance_to_next(self, ended: Callable[[], bool]) -> bool:
        """Handle what is ready and, unless `ended`, the next timer; return False if nothing is left."""
        self.drain()
        if self._step(ended):
            self.drain()
            return True
        return ended()

    async def aadvance_to_next(self, ended: Callable[[], bool]) -> bool:
        await self._runner.drain_async("aadvance()")
        if self._step(ended):
            await self._runner.drain_async("aadvance()")
            return True
        return ended()

    def _step(self, ended: Callable[[], bool]) -> bool:
        """Set the clock to the next timer, unless `ended` or there is none."""
        if ended() or (due := self._next_due(inf)) is None:
            return False
        self._clock.seconds = due
        return True

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
