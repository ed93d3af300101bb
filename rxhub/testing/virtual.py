"""A hub on virtual time: seconds pass when the test says so, and as fast as the machine can.

Theory of operation. All of a hub's time goes through its inbox, where actions wait until they are due, and through the
clock that its scheduler shows. Both are the test's here. `advance(3600)` handles what is ready, sets the clock to the
next time at which something is due, handles that, and so on until the hour is over. Nothing sleeps and no thread runs;
what is due at one time comes in the order in which it was scheduled. So a test gives the same answer each time.

Whoever waits, by `hub.request(…).run()` or `await hub.ask(…)`, lets time pass until it has come (`waiting.py`).

Only what is scheduled on `hub.scheduler` is part of this: operators get it by `scheduler=`, or all operators of a
pipeline by `subscribe(…, scheduler=hub.scheduler)`. What a callback awaits, `asyncio.sleep` say, takes its own time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """A clock that stands still until it is set."""

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

    It counts as handled: publishing warns of nothing, requests can be made. What is published waits for `advance`,
    `aadvance` or `drain`. `start()` changes nothing, and `wait(seconds)` is `advance`.

    Args:
        server_url: `memory://`, with a name or without. Hubs under one name have a clock each.
        api_user: see `EventHub`, as for the others.
        api_key: as for `EventHub`.
        headers: as for `EventHub`.
        cookies: as for `EventHub`.
        inbox: as for `EventHub`.
        overflow: any policy but "block".

    Raises:
        ValueError: for a server, whose time nobody can set, and for the policy "block": in the one thread of a test
            who waits for room would wait for ever.
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
            raise ValueError(f"A virtual hub is on memory://, but {server_url!r} was given.")
        if overflow == "block":
            raise ValueError('A virtual hub cannot have overflow="block": its one thread would wait for itself.')
        self._clock = _Clock()
        super().__init__(
            server_url, api_user, api_key, headers, cookies, inbox=inbox, overflow=overflow, clock=self._clock
        )
        self.events = events = VirtualSubject[Event](serialize=True)
        events.clock = self

    @property
    def now(self) -> float:
        """Seconds that have passed."""
        return round(self._clock.seconds, 9)

    def advance(self, seconds: float) -> int:
        """Let time pass, and handle what comes in it, each at its time.

        Args:
            seconds: how much; 0 handles what is ready.

        Returns:
            How many events were handled.

        Raises:
            ValueError: if `seconds` is negative or not finite.
            AlreadyHandled: from inside a callback; `aadvance` is for a running loop.
            HubClosed: if the hub was closed.
        """
        end = self._until(seconds)
        handled = self.drain()
        while (due := self._next_due(end)) is not None:
            self._clock.seconds = due
            handled += self.drain()
        self._clock.seconds = max(end, self._clock.seconds)
        return handled

    async def aadvance(self, seconds: float) -> int:
        """As `advance`, on the running loop, where coroutine callbacks are awaited."""
        end = self._until(seconds)
        handled = await self._runner.drain_async("aadvance()")
        while (due := self._next_due(end)) is not None:
            self._clock.seconds = due
            handled += await self._runner.drain_async("aadvance()")
        self._clock.seconds = max(end, self._clock.seconds)
        return handled

    def on(self, subscription: str, priority: float = 100) -> Subscribable:
        """As `EventHub.on`; `run()` of a pipeline lets time pass until its end."""
        self._publisher.check_open()
        events = VirtualSubscribable(self._dispatcher, subscription, priority)
        events.clock = self
        return events

    @property
    def deliveries(self) -> Observable[Delivery]:
        """As those of `EventHub`."""
        return VirtualPipeline(super().deliveries, self)

    @property
    def errors(self) -> Observable[Outcome]:
        """As those of `EventHub`."""
        return VirtualPipeline(super().errors, self)

    def request(self, event: Event, timeout: float = 10.0) -> Observable[Event]:
        """As `EventHub.request`; `run()` lets time pass until the timeout, `await` on a running loop."""
        return VirtualReplies(super().request(event, timeout), self, event.topic, timeout)

    async def ask(self, event: Event, timeout: float = 10.0) -> Event:
        """As `EventHub.ask`: publishes, and lets time pass until the first reply has come.

        Raises:
            NoReply: if none came within `timeout` seconds, which have then passed.
        """
        end = self._until(timeout)
        replies: list[Event] = []
        errors: list[Exception] = []
        with self.request(event, timeout).subscribe(replies.append, errors.append):
            await self._runner.drain_async("aadvance()")
            while not replies and not errors and (due := self._next_due(end)) is not None:
                self._clock.seconds = due
                await self._runner.drain_async("aadvance()")
        if errors:
            raise errors[0]
        if not replies:
            self._clock.seconds = end
            raise NoReply(f"Nobody replied to {event.topic} within {timeout:g} s.")
        return replies[0]

    def wait(self, duration: float | None = None) -> None:
        """As `advance`.

        Raises:
            ValueError: without a duration, which would never end.
        """
        if duration is None:
            raise ValueError("On virtual time, wait() needs a duration: nothing would end it.")
        self.advance(duration)

    def start(self, invoke: Invoke | None = None) -> abc.DisposableBase:
        """Changes nothing: who advances the time handles the hub."""
        return Disposable()

    async def run(self) -> None:
        """Refused: time would have to pass by itself.

        Raises:
            AlreadyHandled: always.
        """
        raise AlreadyHandled("A virtual hub is handled by whoever advances its time: `await hub.aadvance(seconds)`.")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Whoever waits lets time pass (rxhub.testing.virtual_wait.VirtualTime)

    def check_not_inside(self, what: str) -> None:
        """Raise NotHandled inside a callback, which cannot wait for what is handled after it."""
        if self._runner.runs_here:
            raise NotHandled(
                f"{what} would wait for ever: what it waits for is handled by this thread, when the callback has "
                "ended. Subscribe to it instead, or call it outside of callbacks."
            )

    def advance_to_next(self, ended: Callable[[], bool]) -> bool:
        """Handle what is ready; unless that was the end, also what is due next. False if nothing is."""
        self.drain()
        if self._later(ended):
            self.drain()
            return True
        return ended()

    async def aadvance_to_next(self, ended: Callable[[], bool]) -> bool:
        """As `advance_to_next`, on the running loop."""
        await self._runner.drain_async("aadvance()")
        if self._later(ended):
            await self._runner.drain_async("aadvance()")
            return True
        return ended()

    def _later(self, ended: Callable[[], bool]) -> bool:
        """Set the clock to what is due next, if that is wanted and something is."""
        if ended() or (due := self._next_due(inf)) is None:
            return False
        self._clock.seconds = due
        return True

    def _next_due(self, end: float) -> float | None:
        """When the next action is due, if it is by `end`."""
        due = self._inbox.next_due()
        # Times are sums of fractions: what differs by less than the clock shows is one time.
        return None if due is None or due > end + _RESOLUTION_S else due

    def _until(self, seconds: float) -> float:
        """What the clock will show."""
        if not isfinite(seconds) or seconds < 0:
            raise ValueError(f"Time passes by a number of seconds, at least 0, but {seconds!r} was given.")
        # Without rounding, a tenth ten times would not be a second.
        return round(self._clock.seconds + seconds, 9)


virtual_hub = VirtualHub
"""Make a hub on virtual time: `virtual_hub()`."""
