"""The event queue of ftrack's hub, over rxhub's inbox."""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping
from time import monotonic
from typing import Any, cast

from rxhub.compat.ftrack.base import Event
from rxhub.event import Event as AnyEvent
from rxhub.hub.inbox import Action, Inbox
from rxhub.hub.runner import DISCONNECTED_TOPIC

__all__ = ["FtrackEventQueue"]

logger = logging.getLogger("rxhub")


class FtrackEventQueue:
    """Replaces the `queue.Queue` of ftrack's hub, which an overridden `wait` reads and writes.

    Items can be any object, for example pairs of an event and a job. `get` also runs due actions of the handling
    context, such as timers on `hub.scheduler`.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Append an item. Never waits: a full inbox drops its oldest event and counts it."""
        if isinstance(item, Mapping):
            item = Event.of(cast("Mapping[str, Any]", item))
            if item.get("topic") == DISCONNECTED_TOPIC:
                # Programs end `wait` with it.
                self.put_own(item)
                return
        self.put_received(item)

    put_nowait = put

    def put_received(self, item: Any) -> None:
        """Append an event of the server, which cannot end `wait`."""
        dropped = self._inbox.dropped
        self._inbox.put(item)
        if not dropped and self._inbox.dropped:
            logger.warning("More than %d events wait to be handled; the oldest are dropped.", self._inbox.capacity)

    def put_own(self, event: AnyEvent) -> None:
        """Append an event of the hub itself, which is neither counted nor dropped."""
        self._inbox.put_own(event)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first item; raises queue.Empty if none arrives within `timeout` seconds, or the hub is closed."""
        end = None if timeout is None else monotonic() + timeout
        while True:
            item: Any = self._inbox.take()
            if isinstance(item, Action):
                try:
                    item()
                except Exception as error:
                    logger.error("An action on hub.scheduler failed: %s", error, exc_info=error)
                continue
            if item is not None:
                return item
            left = None if end is None else end - monotonic()
            if not block or not self._inbox.open or (left is not None and left <= 0):
                raise queue.Empty
            self._inbox.wait(left)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def qsize(self) -> int:
        return len(self._inbox)

    def empty(self) -> bool:
        return not len(self._inbox)

    def full(self) -> bool:
        """Whether one more would drop the oldest."""
        return len(self._inbox) >= self._inbox.capacity

    def task_done(self) -> None:
        """Does nothing."""
