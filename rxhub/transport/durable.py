"""Transports that store events: the protocol, and the data that it passes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol, Required, Self, TypeAlias, TypedDict, Unpack, runtime_checkable

from reactivex import Observable

from rxhub.errors import NotDurable
from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.transport.protocols import Transport

__all__ = [
    "DeadLetterQueue",
    "Durable",
    "GroupProcessing",
    "GroupReset",
    "GroupState",
    "GroupsOfProcesses",
    "Handler",
    "HistoryReader",
    "HistoryReading",
    "Loss",
    "Moment",
    "Place",
    "ProcessOptions",
    "Span",
    "Stored",
    "StreamLimits",
    "StreamState",
    "StreamsOfEvents",
    "durable",
]

Moment: TypeAlias = int | datetime | timedelta
"""A sequence of a stream, an aware time, or how long ago by the server's clock."""

Place: TypeAlias = Moment | str
"""A place in a stream: a moment, the id of an event, or "first"."""

Handler: TypeAlias = Callable[[Event], object]
"""Handles an event; a plain or a coroutine function."""


class Stored(NamedTuple):
    """A stored event."""

    data: bytes  # the event as JSON
    sequence: int  # its position in the stream, from 1 on
    nanoseconds: int  # when it was stored, since the epoch


class Span(NamedTuple):
    """A part of a stream, both ends included."""

    # The first sequence, an aware time, or how long ago by the server's clock; None is the beginning.
    since: int | datetime | timedelta | None = None
    until: int | datetime | timedelta | None = None  # the last one; None is what was last when reading began
    follow: bool = False  # continue with what is stored from then on


class HistoryReader(Protocol):
    """Receives stored events in the I/O thread; never blocks, never raises, runs no user code."""

    def measured(self, total: int) -> None:
        """The expected number of events; called before the first."""

    def read(self, stored: Stored) -> None:
        """Receive an event. The number of events that `HistoryReading.done` has not counted yet is bounded."""

    def ended(self, error: Exception | None) -> None:
        """The end, or an error that ended the reading. Called once, and not after `HistoryReading.stop`."""


class HistoryReading(Protocol):
    """A running read, for the reader. Thread-safe, takes no lock."""

    def begin(self) -> None:
        """Start; before, the reader is not called."""

    def done(self, count: int) -> None:
        """That many events were processed, so as many more may come."""

    def stop(self) -> None:
        """Stop reading; events in flight may still come."""


class GroupState(NamedTuple):
    """A consumer group at one moment.

    Attributes:
        name: of the group.
        waiting: events not delivered to any process yet.
        pending: events delivered and not acknowledged, including those that wait for a retry.
        repeated: how many of the pending events were delivered before.
        limit: the number of pending events at which the group receives no more; None is unlimited.
        is_paused: whether the group is paused.
        is_active: whether a process is ready to receive events.
        oldest: when the oldest event was stored that is waiting or pending; None if there is none, or if it was not
            requested.
        rate: deliveries per second that ended, by an acknowledgement or by a failed attempt; None if it was not
            measured.
    """

    name: str
    waiting: int
    pending: int
    repeated: int
    limit: int | None = None
    is_paused: bool = False
    is_active: bool = False
    oldest: datetime | None = None
    rate: float | None = None


class GroupReset(NamedTuple):
    """What a reset of a group changes.

    Attributes:
        sequence: of the stream; the group continues with the first event from there on.
        repeated: the number of events that the group handles again.
        skipped: the number of events that the group has not handled and will not handle.
    """

    sequence: int
    repeated: int
    skipped: int


class StreamState(NamedTuple):
    """A stream at one moment.

    Attributes:
        name: of the stream.
        messages: the number of stored events.
        bytes: the stored size.
        first: when the oldest event was stored; None if there is none.
        last: when the latest event was stored; None if there is none.
        first_sequence: of the oldest event.
        last_sequence: of the latest event that was ever stored; 0 if there was none.
        replicas: the number of servers that store each event.
        max_age: seconds after which an event is deleted; 0 is never.
        max_bytes: the size limit; -1 is unlimited.
        dead: the number of dead letters.
        groups: the consumer groups, sorted by name.
        discard: what happens at `max_bytes`: "new" rejects new events, "old" deletes the oldest ones.
    """

    name: str
    messages: int
    bytes: int
    first: datetime | None
    last: datetime | None
    first_sequence: int
    last_sequence: int
    replicas: int
    max_age: float
    max_bytes: int
    dead: int
    groups: tuple[GroupState, ...]
    discard: Literal["new", "old"] = "new"

    def to_json(self) -> dict[str, Any]:
        """All fields by name, for JSON; times stay `datetime`."""
        return {**self._asdict(), "groups": [group._asdict() for group in self.groups]}


class StreamLimits(TypedDict, total=False):
    """Keyword arguments of `hub.streams.set_limits`; limits that are not given stay as they are.

    Attributes:
        max_age: seconds after which an event is deleted; 0 is never.
        max_bytes: the size limit; -1 is unlimited.
        discard: what happens at `max_bytes`: "new" rejects new events, "old" deletes the oldest ones.
        replicas: the number of servers that store each event, from 1 to 5.
    """

    max_age: float
    max_bytes: int
    discard: Literal["new", "old"]
    replicas: int


class Loss(NamedTuple):
    """What a change of a stream deletes.

    Attributes:
        events: the number of events.
        size: their stored size in bytes; unless all events are deleted, an estimate from the mean size.
        first: when the oldest of them was stored; None if there is none.
        last: when the latest of them was stored; None if there is none.
        last_sequence: of the latest of them; 0 if there is none.
        is_estimate: whether the number of events is an estimate too, because only a size is known.
        unhandled: the groups that have not handled all of them, as far as the positions of the groups tell.
        dead_letters: the number of dead letters.
        rejects: whether the stream rejects new events after the change, because it contains more than `max_bytes`.
    """

    events: int
    size: int = 0
    first: datetime | None = None
    last: datetime | None = None
    last_sequence: int = 0
    is_estimate: bool = False
    unhandled: tuple[str, ...] = ()
    dead_letters: int = 0
    rejects: bool = False

    def to_json(self) -> dict[str, Any]:
        """All fields by name, for JSON; times stay `datetime`."""
        return self._asdict()


class ProcessOptions(TypedDict, total=False):
    """Keyword arguments of `EventHub.process`.

    Attributes:
        group: the name under which processes share the events. Required.
        retries: the number of attempts after the first. Default: 5.
        backoff: the maximum delay before the second attempt in seconds; it doubles with each attempt, up to five
            minutes. Default: 1.
        timeout: seconds for which a handler may run. Then a coroutine is cancelled; a thread is abandoned and replaced,
            and its result is logged. Default: None, unlimited.
        sequential: handle one event at a time in the whole group, in the order of publishing. A failing event holds up
            the others. Default: False.
        concurrency: the number of handlers that run at a time in this process, up to 1,000. Default: 1.
        key: a dotted path such as `data.entities.entityId`. Events that share a value there are handled one after the
            other, in the order of publishing. One process of the group then handles all events; another one takes over
            when it is gone. Default: None.
        once: store the ids of handled events for a week and skip events with a stored id. An event whose handler
            returned just before its process was killed may still be handled again. Default: False.
        max_waiting: with `key`, the number of events in flight at which the group receives no more, events that wait
            behind others of their key included. Each uses about 1 KB in the active process. Default: 100,000.
        since: where a new group begins: an aware datetime, a timedelta (how long ago, by the server's clock), a
            sequence of the stream, or "first". Default: None, now.
        replace: give an existing group this subscription, order and `once`. Processes that use the old ones stop at the
            next event. Default: False.
    """

    group: Required[str]
    retries: int
    backoff: float
    timeout: float | None
    sequential: bool
    concurrency: int
    key: str | None
    once: bool
    max_waiting: int
    since: datetime | timedelta | int | Literal["first"] | None
    replace: bool


class GroupProcessing(Protocol):
    """This process's part in a group; see `rxhub.transport.nats.processing.processing.Processing`."""

    group: str
    subscription: str

    @property
    def is_active(self) -> bool: ...
    @property
    def is_connected(self) -> bool: ...
    @property
    def error(self) -> Exception | None: ...
    @property
    def counts(self) -> Any: ...
    @property
    def failures(self) -> Observable[Any]: ...
    def wait(self, timeout: float | None = None, *, grace: float = ...) -> bool: ...
    def __await__(self) -> Generator[Any, None, bool]: ...
    def stop(self, timeout: float = ...) -> None: ...
    def begin_to_stop(self, timeout: float = ...) -> Future[None] | None: ...
    async def astop(self, timeout: float = ...) -> None: ...
    def forked(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...


class DeadLetterQueue(Protocol):
    """The events that groups failed to handle; see `rxhub.transport.nats.dead_letters.DeadLetters`."""

    def __len__(self) -> int: ...
    def list(self, group: str | None = None) -> Iterator[Any]: ...
    def get(self, id: int) -> Any: ...
    def retry(self, id: int | Literal["all"], group: str | None = None) -> int: ...
    def drop(self, id: int | Literal["all"], group: str | None = None) -> int: ...


class StreamsOfEvents(Protocol):
    """The streams, and changes of them; see `rxhub.transport.nats.administration.Streams`."""

    def __call__(self) -> tuple[StreamState, ...]: ...
    def preview_limits(self, name: str, **limits: Unpack[StreamLimits]) -> Loss: ...
    def set_limits(self, name: str, **limits: Unpack[StreamLimits]) -> None: ...
    def preview_purge(self, name: str, topic: str | None = None, until: Moment | None = None) -> Loss: ...
    def purge(self, name: str, topic: str | None = None, until: Moment | None = None) -> int: ...
    def preview_remove(self, name: str) -> Loss: ...
    def remove(self, name: str) -> None: ...


class GroupsOfProcesses(Protocol):
    """The groups of a stream; see `rxhub.transport.nats.administration.Groups`."""

    def __call__(self, interval: float = 0.0) -> tuple[GroupState, ...]: ...
    def pause(self, group: str) -> None: ...
    def resume(self, group: str) -> None: ...
    def preview_reset(self, group: str, to: Place) -> GroupReset: ...
    def reset(self, group: str, to: Place) -> int: ...
    def remove(self, group: str) -> None: ...


@runtime_checkable
class Durable(Transport, Protocol):
    """A transport that stores events."""

    def read(self, expression: Expression, span: Span, reader: HistoryReader) -> HistoryReading:
        """Read all stored events of a span that match `expression`, and possibly others, in order, each once.

        The reading survives reconnects.
        """
        ...

    @property
    def streams(self) -> StreamsOfEvents:
        """The streams of the server. Its methods block."""
        ...

    @property
    def groups(self) -> GroupsOfProcesses:
        """The groups of the stream. Its methods block."""
        ...

    def kv_put(self, key: str, text: str) -> Future[None]:
        """Store a short text under a key; done when it is stored."""
        ...

    def kv_get(self, key: str) -> Future[str | None]:
        """The text stored under a key, or None."""
        ...

    def processor(
        self, subscription: str, options: ProcessOptions, ended: Callable[[GroupProcessing], object]
    ) -> Callable[[Handler], GroupProcessing]:
        """Check the options; the result joins the group with a handler, and blocks until the server has answered.

        `ended`: called on the I/O loop when the processing has ended. Raises ValueError if an option is out of range,
        or options exclude each other, HubConnectionError (the result) if no server can be reached, StreamError (the
        result) if the server refuses a request, GroupError (the result) if the group has another subscription or order.
        """
        ...

    def stop_processing(self, grace: float) -> None:
        """Stop all processings of the program and wait for them; running handlers have `grace` seconds."""

    @property
    def dead_letters(self) -> DeadLetterQueue:
        """The events that groups failed to handle."""
        ...


def durable(transport: Transport, what: str) -> Durable:
    """The transport, if it stores events. Raises NotDurable if it stores none."""
    if isinstance(transport, Durable):
        return transport
    raise NotDurable(
        f"{what} needs stored events, and this hub's transport stores none. Use a hub on NATS JetStream: "
        'EventHub("nats://host:4222", user, password, stream="studio"). `rxhub serve --store DIRECTORY` runs a server '
        "for one machine."
    )
