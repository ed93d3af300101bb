"""The backplane: a stream of NATS JetStream that joins several servers.

An event passes through a server twice. The publisher's server stores it in the stream and acknowledges it. Every server
whose clients may want the event, including the publisher's, then reads it from the stream and routes it. So clients of
all servers see one order, and the events that a server reads depend on its own clients only.

After an outage, a server reads faster than its clients do, and their queues are bounded. So while many events are
unread, the server only reads if the queues have room. It does not wait for a client that takes too long.

While the stream cannot be reached, events wait in a bounded outbox. If the outbox is full, further events are rejected.
They are never dropped.

All of it runs on the event loop of the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from shutil import disk_usage
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol
from uuid import uuid4

from rxhub.concurrency.supervise import report
from rxhub.errors import HubConnectionError, Overflow, Refused
from rxhub.expression import Expression
from rxhub.server.envelope import Envelope
from rxhub.server.loop_turns import LoopTurns
from rxhub.server.router import Router
from rxhub.text.extras import missing_dependency
from rxhub.transport.durable import HistoryReader, HistoryReading, Span
from rxhub.transport.outbox import Outbox

try:
    from rxhub.server.id_leases import IdLeases, lease_stream
    from rxhub.server.stored_contents import StoredContents
    from rxhub.server.subscription_activation import SubscriptionActivator
    from rxhub.transport.nats.options import NatsOptions
    from rxhub.transport.nats.ordered_consumer import OrderedConsumer
    from rxhub.transport.nats.publishing import JetStreamPublisher, StoredPublish, resend_window
    from rxhub.transport.nats.pull_consumer import Message
    from rxhub.transport.nats.reconnecting import ReconnectingClient
    from rxhub.transport.nats.stream_reader import StreamReader, StreamReaders
    from rxhub.transport.nats.streams import StreamRestorer, ensure_stream, stream_config
    from rxhub.transport.nats.subject_filters import SubjectFilters
    from rxhub.transport.nats.subjects import Subjects
except ModuleNotFoundError as error:
    raise missing_dependency(error, "A backplane", "nats") from None

__all__ = ["STREAM", "Backplane", "BackplaneHost"]

STREAM = "events"
"""The default name of the stream, also for hubs on `nats://`."""

_OUTBOX_EVENTS: Final = 50_000
# Stored events that may be under way to one reader. A server can have many.
_HISTORY_AHEAD: Final = 64
# Clients often reconnect, and a change of the filters costs more than reading some unwanted events.
_FILTER_UPDATE_DELAY_S: Final = 10.0

# With more unread events, congested clients pause reading, for at most this long until everything is read.
_LAGGING_EVENTS: Final = 512
_CONGESTION_CHECK_EVENTS: Final = 64
_CONGESTION_POLL_S: Final = 0.02
_CONGESTION_WAIT_S: Final = 30.0

_logger = logging.getLogger("rxhub.server")


class DiskSpace(NamedTuple):
    """Bytes of a file system."""

    free: int
    size: int


class BackplaneHost(Protocol):
    """What its backplane uses of a `rxhub.server.event_server.EventServer`."""

    router: Router[Any]
    streaming: LoopTurns

    def route_stored(self, sequence: int, stored: bytes) -> None: ...

    def is_congested(self) -> bool: ...


class Backplane:
    """A stream of NATS JetStream that joins servers. Each server needs an instance of its own.

    Args:
        url: `nats://host:4222`, or several servers of a cluster, separated by commas; or all options, with the login.
        user: replaces the user in the URL.
        password: replaces the password in the URL.
        stream: name of the stream. It is created if it does not exist, with three replicas if the cluster has as many
            servers.
        store_trouble: returns why the NATS server cannot store events, if that is known before an event is published
            (`PrivateServer.trouble`), or an empty string.
        store_directory: where a NATS server on this machine stores the events, to report the free space.

    Attributes:
        stream: as given.
        filters: the subjects that the clients of this server want.
        stored: events of clients of this server that were stored.
        read: events that were read from the stream.
        reconnections: how often the connection was restored.

    Raises:
        ValueError: if the URL or the name of the stream is invalid.
        ModuleNotFoundError: if nats-py is not installed.
    """

    _host: BackplaneHost  # set by `start`

    def __init__(
        self,
        url: str | NatsOptions,
        user: str | None = None,
        password: str | None = None,
        stream: str = STREAM,
        *,
        store_trouble: Callable[[], str] | None = None,
        store_directory: Path | str | None = None,
    ) -> None:
        self._address = url if isinstance(url, NatsOptions) else NatsOptions(url, user, password)
        self._subjects = Subjects(stream)
        self._outbox = Outbox(_OUTBOX_EVENTS)
        self._link: ReconnectingClient | None = None
        self._publishing: JetStreamPublisher | None = None
        self._store_trouble = store_trouble
        self._store_directory = store_directory
        self._live: OrderedConsumer | None = None
        self._activator: SubscriptionActivator | None = None
        self._filter_timer: asyncio.TimerHandle | None = None
        # Events that were read and are not routed yet.
        self._unrouted: deque[Message] = deque()
        self._route_handle: asyncio.Handle | None = None
        self._readers = StreamReaders(lambda: self._link)
        self._unacknowledged = 0
        self._congestion_timer: asyncio.TimerHandle | None = None
        self._wait_left = _CONGESTION_WAIT_S
        self._lag = 0
        self.stream = stream
        self.filters = SubjectFilters(self._subjects)
        self.stored = 0
        self.read = 0
        self.reconnections = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.stream!r} at {','.join(self._address.servers)}>"

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to NATS."""
        return self._link is not None and self._link.connection is not None

    @property
    def trouble(self) -> str:
        """Why events cannot be stored although NATS is connected; empty if no reason is known."""
        if self._store_trouble is not None and (found := self._store_trouble()):
            return found
        return self._publishing.trouble if self._publishing is not None else ""

    def store_space(self) -> DiskSpace | None:
        """The space of the file system that stores the events; None if it is not known."""
        if self._store_directory is None:
            return None
        try:
            usage = disk_usage(self._store_directory)
        except OSError:
            return None  # the directory was removed; `trouble` has the reason
        return DiskSpace(usage.free, usage.total)

    def stats(self) -> dict[str, float]:
        """Gauges and counters by name."""
        space = self.store_space()
        return {
            **({} if space is None else {"store_free_bytes": space.free, "store_size_bytes": space.size}),
            "backplane_storing": int(self.is_connected and not self.trouble),
            "backplane_connected": int(self.is_connected),
            "backplane_waiting": len(self._outbox),
            "backplane_lag": self._lag,
            "backplane_stored": self.stored,
            "backplane_read": self.read,
            "backplane_refused": self._outbox.refused,
            "backplane_reconnections": self.reconnections,
        }

    async def start(self, host: BackplaneHost, ids_per_user: int) -> None:
        """Connect, and route the events of the stream to a server. `ids_per_user`: see `Limits`.

        Raises:
            HubConnectionError: if NATS cannot be reached or rejects the server.
            StreamError: if a stream cannot be created.
        """
        if self._link is not None:
            raise HubConnectionError(f"{self!r} already belongs to another server. Create one for each server.")
        link = ReconnectingClient(self._address, "rxhub server", self._on_link_state)
        await link.start()
        try:
            wanted = stream_config(self.stream, replicas=link.replicas), lease_stream(self.stream, link.replicas)
            info, _ = [await ensure_stream(link, each) for each in wanted]
        except BaseException:
            await link.close()
            raise
        self._host = host
        self._link = link
        self._live = OrderedConsumer(self.stream, self._receive, self._wanted, rewound=self._rewind)
        self._activator = SubscriptionActivator(
            self.stream, self._live, self._wanted, IdLeases(self.stream, host.router.owner, ids_per_user)
        )
        self._outbox.open()
        publishing = self._publishing = JetStreamPublisher(
            self._outbox, resend_window(info["config"]), self._live, self.stream
        )
        # In this order: while the reader starts on a connection, it delays publishing there.
        for part in (StreamRestorer(*wanted), self._live, self._activator, publishing):
            link.attach(part)

    def publish(self, envelope: Envelope, argument: str, message_id: str | None = None) -> Future[None]:
        """Store an event.

        Args:
            envelope: of the event.
            argument: the event as JSON, as it was received.
            message_id: by which the stream recognizes a repeated event; None is the id of the event.

        Returns:
            Completes when the event is stored, or holds the error.

        Raises:
            EventError: if the topic has no valid subject.
            Refused: if too many events wait already, or NATS cannot store events.
        """
        if self._store_trouble is not None and self._store_trouble():
            raise Refused(
                f"{envelope.topic} was not stored: the server cannot store events now. Its log contains the reason. "
                "Publish it again later."
            )
        subject = self._subjects.addressed(envelope.topic, envelope.target or "")
        identifier = message_id or envelope.id or uuid4().hex
        parcel = StoredPublish(envelope.topic, argument, subject, identifier, envelope.source)
        try:
            self._outbox.put(parcel)
        except (Overflow, HubConnectionError):
            raise Refused(
                f"The event was not stored: {len(self._outbox)} events already wait for the backplane. Publish it "
                "again later."
            ) from None
        parcel.accepted.add_done_callback(self._count)
        return parcel.accepted

    @property
    def contents(self) -> StoredContents:
        """What the NATS system stores. Raises HubConnectionError if the backplane is not started."""
        return StoredContents(self._client(), self._subjects)

    def _client(self) -> ReconnectingClient:
        if self._link is None:
            raise HubConnectionError(f"{self!r} is not connected.")
        return self._link

    async def bounds(self) -> tuple[int, int]:
        """The sequences of the oldest and the latest event of the stream.

        Raises:
            HubConnectionError: if NATS cannot be reached.
            StreamError: if JetStream rejects the request.
        """
        state = (await self._client().js_request(f"STREAM.INFO.{self.stream}"))["state"]
        return state["first_seq"], state["last_seq"]

    def history(self, expression: Expression, span: Span, reader: HistoryReader) -> HistoryReading:
        """Read stored events, which continues when the connection is restored."""
        loop = asyncio.get_running_loop()
        return StreamReader(loop, self._subjects, expression, span, reader, self._readers, _HISTORY_AHEAD)

    def activate(self, id: str | None, user: str, enter: Callable[[int], object]) -> Future[None]:
        """Activate a subscription that was added to the filters, see `SubscriptionActivator.request`."""
        assert self._activator is not None, "start() was called"
        return self._activator.request(id, user, enter)

    def schedule_filter_update(self) -> None:
        """Remove unused filters after a delay."""
        if self._filter_timer is None and self._activator is not None:
            self._filter_timer = asyncio.get_running_loop().call_later(_FILTER_UPDATE_DELAY_S, self._update_filters)

    async def flush(self, timeout: float, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Wait until all published events are stored, at most `timeout` seconds."""
        deadline = monotonic() + timeout
        while len(self._outbox) and monotonic() < deadline and not is_hurried():
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Disconnect, and reject the events whose storage is not confirmed."""
        self._readers.fail_all()
        link, self._link = self._link, None
        for handle in (self._filter_timer, self._congestion_timer, self._route_handle):
            if handle is not None:
                handle.cancel()
        self._filter_timer = self._congestion_timer = self._route_handle = None
        self._unrouted.clear()
        if self._activator is not None:
            self._activator.fail_all()
        left = len(self._outbox)
        if link is not None:
            await link.close()
        if left:
            _logger.error("The server stopped before NATS confirmed that %d events are stored.", left)
        self._outbox.close(HubConnectionError("The server stopped before NATS confirmed that the event is stored."))

    def _wanted(self) -> list[str]:
        return self.filters.subjects

    def _rewind(self, last: int) -> None:
        # The unrouted events have the old sequences.
        while self._unrouted:
            self._route(self._unrouted.popleft())
        self._host.router.rewind(last)
        if self._activator is not None:
            self._activator.stream_rewound()

    def _receive(self, message: Message) -> None:
        # Many messages can arrive in one segment. Clients need their turn between them.
        self._unrouted.append(message)
        if self._route_handle is None:
            self._route_some()

    def _route_some(self) -> None:
        """Route messages until this round of the loop has no time left."""
        self._route_handle = None
        while self._unrouted and self._host.streaming.is_free:
            self._route(self._unrouted.popleft())
        if self._unrouted:
            self._route_handle = asyncio.get_running_loop().call_soon(self._route_some)

    def _route(self, message: Message) -> None:
        self.read += 1
        self._lag = message.pending
        try:
            self._host.route_stored(message.sequence, message.data)
        except Exception as error:
            report("routing events of the stream", error, about=f"event {message.sequence} of {self.stream}")
        self._unacknowledged += 1
        self._proceed()

    def _proceed(self) -> None:
        if self._congestion_timer is None:
            if self._lag > _LAGGING_EVENTS:
                if self.read % _CONGESTION_CHECK_EVENTS == 0 and self._wait_left > 0 and self._host.is_congested():
                    self._pause()
                    return
            elif not self._lag:
                self._wait_left = _CONGESTION_WAIT_S
            self._acknowledge()

    def _pause(self) -> None:
        self._wait_left -= _CONGESTION_POLL_S
        self._congestion_timer = asyncio.get_running_loop().call_later(_CONGESTION_POLL_S, self._check_congestion)

    def _check_congestion(self) -> None:
        self._congestion_timer = None
        if self._wait_left > 0 and self._host.is_congested():
            self._pause()
        else:
            self._acknowledge()

    def _acknowledge(self) -> None:
        held, self._unacknowledged = self._unacknowledged, 0
        if self._live is not None:
            self._live.done(held)

    def _count(self, outcome: Future[None]) -> None:
        if outcome.exception() is None:
            self.stored += 1

    def _update_filters(self) -> None:
        self._filter_timer = None
        if self._activator is not None:
            self._activator.wake()

    def _on_link_state(self, connected: bool, reason: str, attempts: int) -> None:
        if connected and self._link is not None:
            self.reconnections += 1
