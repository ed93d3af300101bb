"""Who waits for replies to which event.

A reply names the event that it answers in `in_reply_to_event`. Listeners of `publish(on_reply=…)`
have no end of their own, so they leave after a time, and the oldest leave when there are too many:
a program that publishes for weeks keeps a bounded number of them.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from threading import Lock
from time import monotonic

from reactivex.disposable import Disposable

from rxhub.event import Event

__all__ = ["Replies"]

Listener = Callable[[Event], object]

logger = logging.getLogger("rxhub")


class Replies:
    """Listeners by the id of the event that they published.

    Args:
        lifetime: seconds after which a listener leaves.
        capacity: how many listeners there may be.
    """

    def __init__(self, lifetime: float = 600.0, capacity: int = 10_000) -> None:
        self._lifetime = lifetime
        self._capacity = capacity
        self._lock = Lock()
        self._numbers = count()
        # In the order of their ends, since all live equally long.
        self._ends: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._listeners: dict[str, dict[int, Listener]] = {}

    def __len__(self) -> int:
        """How many listeners wait."""
        return len(self._ends)

    def listen(self, event_id: str, listener: Listener) -> Disposable:
        """Call `listener` with each reply to this event, until disposed or its lifetime is over."""
        key = (event_id, next(self._numbers))
        now = monotonic()
        with self._lock:
            self._expire(now)
            while len(self._ends) >= self._capacity:
                self._drop(next(iter(self._ends)))
            self._ends[key] = now + self._lifetime
            self._listeners.setdefault(event_id, {})[key[1]] = listener
        return Disposable(lambda: self._leave(key))

    def handle(self, event: Event) -> None:
        """Pass a reply to those who wait for it."""
        with self._lock:
            self._expire(monotonic())
            listeners = list(self._listeners.get(event.in_reply_to_event or "", {}).values())
        for listener in listeners:
            try:
                listener(event)
            except Exception as error:
                logger.error("A reply callback failed for event %s: %s", event.id, error, exc_info=error)

    def renew_lock(self) -> None:
        """Replace the lock and forget everybody; for a child process."""
        self._lock = Lock()
        self._ends.clear()
        self._listeners.clear()

    def _leave(self, key: tuple[str, int]) -> None:
        with self._lock:
            if key in self._ends:
                self._drop(key)

    def _expire(self, now: float) -> None:
        while self._ends:
            key, end = next(iter(self._ends.items()))
            if end > now:
                return
            self._drop(key)

    def _drop(self, key: tuple[str, int]) -> None:
        del self._ends[key]
        event_id, number = key
        listeners = self._listeners[event_id]
        del listeners[number]
        if not listeners:
            del self._listeners[event_id]
