"""Where events come from and go to: what a hub asks of a transport, and a transport of a hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rxhub.errors import NotDurable
from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.transport.connection_state import ConnectionState
from rxhub.transport.durable import Reader, Reading, Span, StreamState

if TYPE_CHECKING:
    from rxhub.transport.nats.dead_letters import DeadLetters
    from rxhub.transport.nats.processing.group import Since
    from rxhub.transport.nats.processing.options import Plan
    from rxhub.transport.nats.processing.processing import Processing

__all__ = ["Durable", "Sink", "Transport", "durable"]


class Sink(Protocol):
    """What a transport tells its hub. Thread-safe; never raises, never runs user code."""

    def on_event(self, event: Event) -> bool:
        """Take an event in; False if the inbox refuses it."""
        ...

    def on_events(self, events: Sequence[Event]) -> int:
        """Take in events that came together; how many, from the first on: the rest is to be handed in again soon."""
        ...

    def has_room(self) -> bool:
        """Whether an event may be handed in now; False asks a transport that can wait to try again soon."""
        ...

    def on_state(self, state: ConnectionState) -> None:
        """Note a new state of the connection."""
        ...


class Transport(Protocol):
    """What moves events in and out of a hub. Never blocks, never runs user code."""

    @property
    def unsent(self) -> int:
        """How many events were handed on and have not been accepted yet."""
        ...

    @property
    def refused(self) -> int:
        """How many events found no room among those so far."""
        ...

    @property
    def subscriptions_synced(self) -> bool:
        """Whether every subscriber gets, from now on, all that is published for it."""
        ...

    def buffer_before_connect(self) -> None:
        """Take events in before `open`; they go out after it."""
        ...

    def open(self, sink: Sink) -> None:
        """Connect, and feed `sink` from now on; progress and failure are told by `sink.on_state`."""
        ...

    def send(self, event: Event) -> Future[None]:
        """Hand an event on; the future is done when it was accepted, or holds why it was not."""
        ...

    def add_subscription(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None:
        """A subscriber wants what matches `expression`; a transport may send more, never less."""
        ...

    def remove_subscription(self, id: str) -> None:
        """The subscriber has gone."""
        ...

    def wait_for_room(self, timeout: float) -> bool:
        """Sleep until one more event may find room; False if there is none after `timeout` seconds."""
        ...

    def close(self, timeout: float = 5.0, reconnecting: bool = False) -> Future[None]:
        """Disconnect; the future is done when what was handed on has gone out, or `timeout` seconds have passed.

        With `reconnecting`, unsent events are sent after the next `open`. Otherwise the future holds an error.
        May be called by a finalizer, so it takes no lock that others hold.
        """
        ...

    def forked(self) -> None:
        """Be closed, in a child process: what is open is the parent's, as are its threads and its locks."""
        ...


@runtime_checkable
class Durable(Transport, Protocol):
    """A transport that keeps the events that it has moved."""

    def read(self, expression: Expression, span: Span, reader: Reader) -> Reading:
        """A reading of what is kept of a span: all events that match `expression`, and perhaps others, in their order.

        The connection may break and stand again meanwhile; each event comes once.
        """
        ...

    def streams(self) -> tuple[StreamState, ...]:
        """What there is, in the order of the names. Blocks, for who wants to wait for the answer.

        Raises:
            HubConnectionError: if there is none.
        """
        ...

    def kv_put(self, key: str, text: str) -> Future[None]:
        """Keep a short text under a key, in the place of the one before; the future is done when it is kept."""
        ...

    def kv_get(self, key: str) -> Future[str | None]:
        """The text under a key; None if there is none."""
        ...

    def process(
        self,
        plan: Plan,
        handler: Callable[[Event], object],
        since: Since,
        replace: bool,
        parted: Callable[[Processing], object],
    ) -> Processing:
        """Handle events as one process of a group, from now on; waits for the server.

        Args:
            plan: what is to be done.
            handler: called with each event.
            since: where a new group begins.
            replace: whether the terms of the plan replace those of a group that has others.
            parted: called when it has ended, on the network's loop.

        Raises:
            HubConnectionError: if no server can be reached.
            StreamError: if JetStream refuses something.
            GroupError: if the group has other terms.
        """
        ...

    @property
    def dead_letters(self) -> DeadLetters:
        """The events that groups could not handle."""
        ...


def durable(transport: Transport, what: str) -> Durable:
    """The transport as one that keeps events.

    Args:
        transport: of a hub.
        what: what it is needed for, such as `hub.replay`.

    Raises:
        NotDurable: if it keeps none.
    """
    if isinstance(transport, Durable):
        return transport
    raise NotDurable(
        f"{what} needs events that are kept, and this hub's transport keeps none. Make the hub on NATS JetStream: "
        'EventHub("nats://host:4222", user, password, stream="studio"); `rxhub serve --store DIRECTORY` runs what it '
        "takes on one machine."
    )
