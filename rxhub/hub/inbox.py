"""The queue of a hub: events, bounded, and the actions of the hub's scheduler.

Any thread may add items; the handling context takes them. Events and immediate actions keep their common order. A timed
action comes when it is due, before waiting items. Only events are bounded; actions are never dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from threading import TIMEOUT_MAX

from rxhub.concurrency.fork import ForkSafeCondition
from rxhub.concurrency.wakeup import Wakeup
from rxhub.dispatching.delivery import Delivery
from rxhub.event import Event
from rxhub.rx.clock import Clock, SystemClock
from rxhub.telemetry import counts

__all__ = ["POLICIES", "Action", "Inbox"]

_WAKE_S = 0.5

POLICIES = ("error", "drop-oldest", "drop-newest", "latest", "block")


class Action:
    """A function to run in the handling context, unless it is cancelled before."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[[], object]) -> None:
        self._run: Callable[[], object] | None = run

    @property
    def cancelled(self) -> bool:
        return self._run is None

    def cancel(self) -> None:
        # Releases the function at once; the action stays in the queue until it is due.
        self._run = None

    def __call__(self) -> None:
        if (run := self._run) is not None:
            run()


class _Own:
    """An event of the hub itself: not counted and never dropped."""

    __slots__ = ("event",)

    def __init__(self, event: Event) -> None:
        self.event = event


class Inbox:
    """A queue with a capacity, an overflow policy and timers.

    "error" refuses one more event, "drop-oldest" and "drop-newest" drop an event, "latest" keeps only the newest,
    "block" refuses it, and its publisher calls `wait_for_room`.

    Attributes:
        dropped: the number of events dropped or refused so far.
        own: whether the event taken last was the hub's own.
    """

    def __init__(self, capacity: int, policy: str, clock: Clock | None = None) -> None:
        if not isinstance(capacity, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"An inbox's capacity is an integer, but {capacity!r} was given.")
        if capacity < 1:
            raise ValueError(f"An inbox needs a capacity of at least 1, but {capacity} was given.")
        if policy not in POLICIES:
            raise ValueError(f"The overflow policies are {', '.join(POLICIES)}, but {policy!r} was given.")
        self.capacity = capacity
        self.clock = SystemClock() if clock is None else clock
        self.now = self.clock.monotonic
        self.policy = policy
        self.dropped = 0
        self.own = False
        self._wakeup = Wakeup()
        self._waiting: deque[Event | Action | _Own] = deque()
        self._unfinished: Delivery | None = None
        self._events = 0
        self._timers: list[tuple[float, int, Action]] = []
        self._many_timers = 64
        self._numbers = count()
        self._changed = ForkSafeCondition(self)
        self._open = True
        self._rung = False

    def __len__(self) -> int:
        return self._events

    def put(self, event: Event) -> bool:
        """Add an event; False if it was refused (or the inbox is closed)."""
        with self._changed:
            if not self._open:
                return False
            if self._events >= self.capacity:
                self.dropped += 1
                if self.policy == "drop-newest":
                    _count_dropped(event)
                    return True
                if self.policy == "drop-oldest":
                    self._drop_oldest()
                elif self.policy == "latest":
                    self.dropped += self._events - 1
                    _count_dropped(*[item for item in (*self._waiting,) if isinstance(item, Event)])
                    self._waiting = deque([item for item in (*self._waiting,) if isinstance(item, (Action, _Own))])
                    self._events = 0
                else:
                    if self.policy == "error":
                        _count_dropped(event)
                    return False
            self._events += 1
            self._waiting.append(event)
            self._ring()
        return True

    def put_all(self, events: Sequence[Event]) -> int:
        """Add events that arrived together, each as by `put`; the number added if the policy is "block", else all."""
        with self._changed:
            room = self.capacity - self._events
            if self._open and len(events) <= room:
                self._events += len(events)
                self._waiting.extend(events)
                self._ring()
                return len(events)
            if self._open and self.policy == "block":
                events = events[: max(0, room)]
            for event in events:
                self.put(event)
            return len(events)

    def put_own(self, event: Event) -> None:
        self._append(_Own(event))

    def call_soon(self, action: Action) -> None:
        self._append(action)

    def _append(self, item: Action | _Own) -> None:
        with self._changed:
            if self._open:
                self._waiting.append(item)
                self._ring()

    def withdraw_own(self) -> None:
        with self._changed:
            self._waiting = deque([item for item in (*self._waiting,) if not isinstance(item, _Own)])

    def retry(self) -> None:
        """Do not count a refused event: its publisher adds it again."""
        with self._changed:
            self.dropped -= 1

    def call_later(self, delay: float, action: Action) -> None:
        """Add an action that is due in `delay` seconds."""
        with self._changed:
            if self._open:
                if len(self._timers) >= self._many_timers:
                    # A debounce cancels an action for each event, long before it is due.
                    self._timers = [timer for timer in self._timers if not timer[2].cancelled]
                    heapify(self._timers)
                    self._many_timers = max(64, 2 * len(self._timers))
                heappush(self._timers, (self.now() + delay, next(self._numbers), action))
                self._ring()

    def put_back(self, delivery: Delivery) -> bool:
        """Add an unfinished delivery before all waiting items; False if the inbox is closed."""
        with self._changed:
            if not self._open:
                return False
            self._unfinished = delivery
            self._ring()
        return True

    def take_unfinished(self) -> Delivery | None:
        delivery, self._unfinished = self._unfinished, None
        return delivery

    def take(self) -> Event | Action | Delivery | None:
        """Remove and return the next ready item, or None."""
        if not self._waiting and not self._timers and self._unfinished is None:
            return None
        with self._changed:
            if self._unfinished is not None:
                return self.take_unfinished()
            if self._timers and self._timers[0][0] <= self.now():
                return heappop(self._timers)[2]
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            self.own = isinstance(item, _Own)
            if isinstance(item, Action):
                return item
            if isinstance(item, _Own):
                return item.event
            self._events -= 1
            if self.policy == "block":
                self._changed.notify_all()
            return item

    def wait(self, timeout: float | None) -> None:
        """Wait until an item may be ready, the inbox is closed, or `timeout` seconds have passed."""
        with self._changed:
            timeout = self._sleep(timeout)
            if timeout is None or timeout > 0:
                # The system may deliver a signal to any thread, and Python runs its handler when the main thread wakes.
                self._changed.wait(_WAKE_S if timeout is None else min(timeout, TIMEOUT_MAX))
            self._rung = False

    async def wait_async(self, timeout: float | None = None) -> None:
        with self._changed:
            timeout = self._sleep(timeout)
            if timeout is not None and timeout <= 0:
                self._rung = False
                return
            self._wakeup.clear()
        try:
            await self._wakeup.wait(timeout)
        finally:
            self._rung = False

    def _sleep(self, timeout: float | None) -> float | None:
        if self._waiting or self._rung or not self._open or self._unfinished is not None:
            return 0.0
        due = self.due_in()
        if due is None:
            return timeout
        return due if timeout is None else min(due, timeout)

    @property
    def ready(self) -> bool:
        return bool(self._waiting) or self._unfinished is not None or not self._open or self.due_in() == 0

    def ring(self) -> None:
        """Wake the thread or task in `wait`."""
        with self._changed:
            self._rung = True
            self._ring()

    def next_due(self) -> float | None:
        """When the next timed action is due, by the clock; None if there is none."""
        with self._changed:
            while self._timers and self._timers[0][2].cancelled:
                heappop(self._timers)
            return self._timers[0][0] if self._timers else None

    def due_in(self) -> float | None:
        """Seconds until the next timed action is due, at least 0; None if there is none."""
        due = self.next_due()
        return None if due is None else max(0.0, due - self.now())

    def wait_for_room(self, handled: Callable[[], bool]) -> bool:
        """Wait until there is room or the inbox is closed (True), or the hub is not running (False)."""
        with self._changed:
            while self._open and self._events >= self.capacity:
                if not handled():
                    return False
                self._changed.wait(0.1)
        return True

    @property
    def open(self) -> bool:
        return self._open

    def close(self) -> int:
        """Accept nothing more and drop the waiting items; the number of dropped events."""
        with self._changed:
            self._open = False
            lost, self._events = self._events + (self._unfinished is not None), 0
            self._unfinished = None
            self._waiting.clear()
            self._timers.clear()
            self._ring()
        return lost

    def after_fork(self) -> None:
        """Forget what waits: the parent handles it."""
        self._waiting.clear()
        self._timers.clear()
        self._events, self._rung, self._unfinished = 0, False, None
        self._wakeup = Wakeup()

    def _drop_oldest(self) -> None:
        for place in range(len(self._waiting)):
            item = self._waiting[place]
            if not isinstance(item, (Action, _Own)):
                del self._waiting[place]
                _count_dropped(item)
                self._events -= 1
                return

    def _ring(self) -> None:
        self._changed.notify_all()
        self._wakeup.set()


def _count_dropped(*events: Event) -> None:
    if (counting := counts.active) is not None:
        for event in events:
            counting.dropped.add(event.topic)
