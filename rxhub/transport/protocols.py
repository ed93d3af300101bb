"""What a hub expects of a transport, and a transport of a hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.transport.connection_state import ConnectionState

__all__ = ["Sink", "Transport"]


class Sink(Protocol):
    """The hub, as its transport sees it. Thread-safe; never raises, never runs user code."""

    def on_event(self, event: Event) -> bool:
        """Add an event to the inbox; False if the inbox refuses it."""
        ...

    def on_events(self, events: Sequence[Event]) -> int:
        """Add events that arrived together; the number of accepted ones. Pass the rest again soon."""
        ...

    def has_room(self) -> bool:
        """Whether the inbox has room; if not, a transport that can wait tries again soon."""
        ...

    def on_state(self, state: ConnectionState) -> None: ...


class Transport(Protocol):
    """Moves events in and out of a hub. Never blocks, never runs user code."""

    @property
    def unsent(self) -> int:
        """The number of events passed to `send` and not yet accepted."""
        ...

    @property
    def refused(self) -> int:
        """The number of events refused so far because too many were unsent."""
        ...

    @property
    def subscriptions_synced(self) -> bool:
        """Whether every subscriber receives what is published for it from now on."""
        ...

    def buffer_before_connect(self) -> None:
        """Accept events before `open`; they are sent after it."""

    def open(self, sink: Sink) -> None:
        """Connect and pass events to `sink`; report progress and failure by `sink.on_state`."""

    def send(self, event: Event) -> Future[None]:
        """Send an event; the future is done when the event is accepted, or holds the error."""
        ...

    def add_subscription(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None:
        """Receive at least the events that match `expression`, for a subscriber."""

    def remove_subscription(self, id: str) -> None:
        """The subscriber is gone."""

    def wait_for_room(self, timeout: float) -> bool:
        """Block until one more event may be accepted; False after `timeout` seconds."""
        ...

    def close(self, timeout: float = 5.0, reconnecting: bool = False) -> Future[None]:
        """Disconnect; the future is done when all events are sent, or after `timeout` seconds.

        With `reconnecting`, unsent events are sent after the next `open`. Otherwise the future holds an error.
        Finalizers call this method, so it takes no lock that other threads hold.
        """
        ...

    def forked(self) -> None:
        """Be closed in a forked child: connections and threads belong to the parent."""
