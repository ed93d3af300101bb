"""What the server is to know of our subscribers, and what it knows: the difference is what it has still to be told.

Nothing is queued but the ids of what changed, so however often a subscriber comes and goes while the line is slow,
what waits is bounded by who there is. After a reconnection the server knows nobody, and everybody has changed.
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
    """One subscriber.

    Attributes:
        subscription: as the server is told it.
        metadata: as JSON text; the server tests targets against it.
    """

    subscription: str
    metadata: str


class SubscriptionChange(NamedTuple):
    """What the server is to be told of one subscriber.

    Attributes:
        id: whom it is about.
        topic: SUBSCRIBE or UNSUBSCRIBE.
        data: the data of that event.
    """

    id: str
    topic: str
    data: Mapping[str, object]


class SubscriptionSync:
    """The subscribers of one transport. Thread-safe."""

    def __init__(self) -> None:
        self._wanted: dict[str, ServerSubscription] = {}
        self._told: dict[str, ServerSubscription] = {}
        self._changed: dict[str, None] = {}
        # Who has left, and is still wanted: a finalizer may say so while this thread is in the middle of a change.
        self._gone: deque[str] = deque()
        self._unanswered = 0
        self._lock = ForkSafeLock()

    def __len__(self) -> int:
        with self._lock:
            self._take_out_gone()
            return len(self._wanted)

    def add(self, id: str, interest: ServerSubscription) -> None:
        """There is a subscriber."""
        with self._lock:
            self._take_out_gone()
            self._wanted[id] = interest
            self._changed[id] = None

    def remove(self, id: str) -> None:
        """There is one less. Takes no lock."""
        self._gone.append(id)

    def renew(self) -> None:
        """The server knows nobody."""
        with self._lock:
            self._take_out_gone()
            self._told.clear()
            self._unanswered = 0
            self._changed = dict.fromkeys(self._wanted)

    @property
    def waiting(self) -> bool:
        """Whether the server has still to be told something."""
        return bool(self._changed or self._gone)

    @property
    def settled(self) -> bool:
        """Whether the server was told everything, and has answered."""
        with self._lock:
            self._take_out_gone()
            return not self._changed and not self._unanswered

    def take(self) -> SubscriptionChange | None:
        """What to tell the server next; it then counts as told."""
        with self._lock:
            self._take_out_gone()
            while self._changed:
                id = next(iter(self._changed))
                wanted, told = self._wanted.get(id), self._told.get(id)
                if told is not None and told is not wanted:
                    self._unanswered += 1
                    del self._told[id]
                    return SubscriptionChange(id, UNSUBSCRIBE, {"subscriber": msgspec.Raw(told.metadata)})
                del self._changed[id]
                if wanted is not None and told is None:
                    self._unanswered += 1
                    self._told[id] = wanted
                    data = {"subscriber": msgspec.Raw(wanted.metadata), "subscription": wanted.subscription}
                    return SubscriptionChange(id, SUBSCRIBE, data)
        return None

    def answered(self) -> None:
        """The server has answered one thing that it was told, or is not waited for any more."""
        with self._lock:
            self._unanswered -= 1

    def _take_out_gone(self) -> None:
        while self._gone:
            id = self._gone.popleft()
            self._wanted.pop(id, None)
            if id in self._told:
                self._changed[id] = None
            else:
                self._changed.pop(id, None)
