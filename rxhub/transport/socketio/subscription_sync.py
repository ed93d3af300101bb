"""Synchronizes the server with the subscribers of a hub.

Only the ids of changed subscribers are queued, so the queue is bounded by the number of subscribers, however often they
change while the connection is slow. After a reconnect the server knows none, and all of them have changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from rxhub.concurrency.fork import ForkSafeLock

__all__ = ["SUBSCRIBE", "UNSUBSCRIBE", "ServerSubscription", "SubscriptionChange", "SubscriptionSync"]

SUBSCRIBE = "ftrack.meta.subscribe"
UNSUBSCRIBE = "ftrack.meta.unsubscribe"


class ServerSubscription(NamedTuple):
    """A subscriber, as the server knows it."""

    subscription: str
    metadata: str  # as JSON; the server tests targets against it


class SubscriptionChange(NamedTuple):
    """An event that tells the server of a subscriber."""

    id: str
    topic: str
    data: Mapping[str, object]


class SubscriptionSync:
    """The subscribers of one transport. Thread-safe."""

    def __init__(self) -> None:
        self._wanted: dict[str, ServerSubscription] = {}
        self._known: dict[str, ServerSubscription] = {}
        self._changed: dict[str, None] = {}
        # Removed ids, appended without a lock: a finalizer may do so while this thread changes the others.
        self._removed: deque[str] = deque()
        self._unanswered = 0
        self._lock = ForkSafeLock()

    def __len__(self) -> int:
        with self._lock:
            self._apply_removed()
            return len(self._wanted)

    def add(self, id: str, interest: ServerSubscription) -> None:
        with self._lock:
            self._apply_removed()
            self._wanted[id] = interest
            self._changed[id] = None

    def remove(self, id: str) -> None:
        """Remove a subscriber. Takes no lock."""
        self._removed.append(id)

    def renew(self) -> None:
        """The server knows no subscriber."""
        with self._lock:
            self._apply_removed()
            self._known.clear()
            self._unanswered = 0
            self._changed = dict.fromkeys(self._wanted)

    @property
    def waiting(self) -> bool:
        return bool(self._changed or self._removed)

    @property
    def settled(self) -> bool:
        """Whether the server has acknowledged all changes."""
        with self._lock:
            self._apply_removed()
            return not self._changed and not self._unanswered

    def take(self) -> SubscriptionChange | None:
        """Remove and return the next change to send."""
        with self._lock:
            self._apply_removed()
            while self._changed:
                id = next(iter(self._changed))
                wanted, known = self._wanted.get(id), self._known.get(id)
                if known is not None and known is not wanted:
                    self._unanswered += 1
                    del self._known[id]
                    return SubscriptionChange(id, UNSUBSCRIBE, {"subscriber": msgspec.Raw(known.metadata)})
                del self._changed[id]
                if wanted is not None and known is None:
                    self._unanswered += 1
                    self._known[id] = wanted
                    data = {"subscriber": msgspec.Raw(wanted.metadata), "subscription": wanted.subscription}
                    return SubscriptionChange(id, SUBSCRIBE, data)
        return None

    def answered(self) -> None:
        """The server has acknowledged a change, or its answer is not expected any more."""
        with self._lock:
            self._unanswered -= 1

    def _apply_removed(self) -> None:
        while self._removed:
            id = self._removed.popleft()
            self._wanted.pop(id, None)
            if id in self._known:
                self._changed[id] = None
            else:
                self._changed.pop(id, None)
