"""What waits to be handled: events, bounded, and the actions of the hub's scheduler.

Anybody puts in, one handling context at a time takes out. Events and immediate actions keep their
common order; an action with a time comes out when it is due, before what waits. The bound holds for
events alone: an action is somebody's own and is never dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from threading import Condition
from time import monotonic

from rxhub.event import Event

__all__ = ["POLICIES", "Action", "Inbox"]

POLICIES = ("error", "drop-oldest", "drop-newest", "latest", "block")


class Action:
    """Something to run in the handling context; calling `cancel` before it ran makes it nothing."""

    __slots__ = ("_run", "cancelled")

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def __call__(self) -> None:
        if not self.cancelled:
            self._run()


class Inbox:
    """A queue with a bound, a policy, timers and a bell.

    Args:
        capacity: how many events may wait.
        policy: what happens to one more: "error" refuses it, "drop-oldest" and "drop-newest" drop one,
            "latest" keeps only the newest, "block" refuses it too, but `wait_for_room` can be called before.

    Attributes:
        dropped: how many events were dropped or refused so far.
        bell: called, from any thread, whenever something may have become ready; None while nobody listens.
    """

    def __init__(self, capacity: int, policy: str) -> None:
        if capacity < 1:
            raise ValueError(f"An inbox needs a capacity of at least 1, but {capacity} was given.")
        if policy not in POLICIES:
            raise ValueError(f"The overflow policies are {', '.join(POLICIES)}, but {policy!r} was given.")
        self.capacity = capacity
        self.policy = policy
        self.dropped = 0
        self.bell: Callable[[], object] | None = None
        self._waiting: deque[Event | Action] = deque()
        self._events = 0
        self._timers: list[tuple[float, int, Action]] = []
        self._numbers = count()
        self._changed = Condition()
        self._open = True
        self._rung = False

    def __len__(self) -> int:
        """How many events wait."""
        return self._events

    @property
    def full(self) -> bool:
        """Whether one more event would meet the policy."""
        return self._events >= self.capacity

    def put(self, event: Event) -> bool:
        """Add an event; False if it was refused (or the inbox is closed)."""
        with self._changed:
            if not self._open:
                return False
            if self._events >= self.capacity:
                self.dropped += 1
                if self.policy == "drop-newest":
                    return True
                if self.policy == "drop-oldest":
                    self._drop_oldest()
                elif self.policy == "latest":
                    self.dropped += self._events - 1
                    self._waiting = deque(item for item in self._waiting if isinstance(item, Action))
                    self._events = 0
                else:
                    return False
            self._events += 1
            self._waiting.append(event)
            self._ring()
        return True

    def put_own(self, event: Event) -> None:
        """Add an event of the hub's own, past the bound."""
        with self._changed:
            self._events += 1
            self._waiting.append(event)
            self._ring()

    def call_soon(self, action: Action) -> None:
        """Add an action behind what waits."""
        with self._changed:
            if self._open:
                self._waiting.append(action)
                self._ring()

    def call_later(self, delay: float, action: Action) -> None:
        """Add an action that is due in `delay` seconds."""
        with self._changed:
            if self._open:
                heappush(self._timers, (monotonic() + delay, next(self._numbers), action))
                self._ring()

    def take(self) -> Event | Action | None:
        """The next that is ready, or None."""
        if self._timers and self._timers[0][0] <= monotonic():
            with self._changed:
                return heappop(self._timers)[2]
        if not self._waiting:
            return None
        with self._changed:
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            if type(item) is not Action:
                self._events -= 1
                if self.policy == "block":
                    self._changed.notify_all()
            return item

    def wait(self, timeout: float | None) -> None:
        """Sleep until something may be ready, the inbox is closed, or `timeout` seconds have passed."""
        with self._changed:
            if self._waiting or self._rung or not self._open:
                self._rung = False
                return
            due = self.due_in()
            if due is not None:
                timeout = due if timeout is None else min(due, timeout)
            if timeout is None or timeout > 0:
                self._changed.wait(timeout)
            self._rung = False

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._waiting) or (bool(self._timers) and self._timers[0][0] <= monotonic()) or not self._open

    def ring(self) -> None:
        """Wake whoever sleeps in `wait`."""
        with self._changed:
            self._rung = True
            self._ring()

    def due_in(self) -> float | None:
        """Seconds until the next timed action is due, at least 0; None if there is none."""
        timers = self._timers
        return max(0.0, timers[0][0] - monotonic()) if timers else None

    def wait_for_room(self, handled: Callable[[], bool]) -> bool:
        """Sleep until there is room or the inbox is closed (True), or nobody handles any more (False)."""
        with self._changed:
            while self._open and self._events >= self.capacity:
                if not handled():
                    return False
                self._changed.wait(0.1)
        return True

    @property
    def open(self) -> bool:
        """Whether it takes anything in."""
        return self._open

    def close(self) -> int:
        """Take nothing new, drop what waits, wake everybody; how many events were dropped."""
        with self._changed:
            self._open = False
            lost, self._events = self._events, 0
            self._waiting.clear()
            self._timers.clear()
            self._ring()
        return lost

    def renew_lock(self) -> None:
        """Replace the lock and forget what waits; for a child process."""
        self._changed = Condition()
        self._waiting.clear()
        self._timers.clear()
        self._events, self.bell = 0, None

    def _drop_oldest(self) -> None:
        for place, item in enumerate(self._waiting):
            if type(item) is not Action:
                del self._waiting[place]
                self._events -= 1
                return

    def _ring(self) -> None:
        self._changed.notify_all()
        if self.bell is not None:
            self.bell()
