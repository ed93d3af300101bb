"""What a hub is made of, and what of it its methods share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING

from rxhub.concurrency.flag import Flag
from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.dispatching.pipeline import Pipeline
from rxhub.event import Event
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Inbox
from rxhub.hub.publisher import Publisher
from rxhub.hub.runner import Runner
from rxhub.hub.scheduler import HubScheduler
from rxhub.rx.subject import Subject

if TYPE_CHECKING:
    from rxhub.hub.signal_bridge import SignalBridge
    from rxhub.plugins import Plugins
    from rxhub.transport.nats.processing.processing import Processing

__all__ = ["Parts"]


class Parts:
    """The attributes that every kind of methods may rely on; `EventHub` makes them, in an order that matters."""

    id: str
    events: Subject[Event]
    scheduler: HubScheduler

    _inbox: Inbox
    _link: HubConnection
    _dispatcher: Dispatcher
    _publisher: Publisher
    _runner: Runner
    _lock: RLock
    _reconnecting: RLock
    _closing: Flag
    _removed: deque[Pipeline]
    _plugins: Plugins | None
    _bridges: dict[tuple[int, str], SignalBridge]
    _processings: set[Processing]
    # What ended a processing against our will, and what is done then.
    _failure: Exception | None = None
    _on_failure: Callable[[], object] | None = None

    @property
    def _accepts(self) -> bool:
        """Whether `connect` or `init_connection` was called, so that events can arrive sooner or later."""
        return self._link.accepts

    async def _aconnect(self, implicitly: bool = False) -> None:
        """Connect to the server; `Connecting` does it."""
        raise NotImplementedError
