"""The session of a hub on `nats://`, from `open` to `close`: its connection on the I/O loop, and what runs on it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from time import monotonic
from typing import Protocol

from rxhub.concurrency.supervise import report, supervise
from rxhub.errors import EventError, HubConnectionError, ProtocolError, StreamError
from rxhub.event import Event
from rxhub.transport import Sink
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.nats.cancellation import cancel_and_wait
from rxhub.transport.nats.kv_bucket import KvTexts
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.ordered_consumer import OrderedConsumer, ReadPosition
from rxhub.transport.nats.publishing import JetStreamPublisher, resend_window
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.stream_reader import StreamReaders
from rxhub.transport.nats.streams import StreamRestorer, ensure_stream, stream_config
from rxhub.transport.nats.subject_filters import SubjectFilters
from rxhub.transport.nats.subjects import Subjects
from rxhub.transport.server_transport import SessionHost, TransportSession

__all__ = ["NatsSession", "SessionOwner"]

# How long an unused filter is kept: its messages cost less than changing the filters.
_SHRINK_DELAY_S = 1.0
# Time for JetStream to answer once the server has accepted the connection.
_JETSTREAM_TIMEOUT_S = 10.0
# How often a full hub is offered its waiting events again.
_FULL_HUB_POLL_S = 0.005

logger = logging.getLogger("rxhub")


class SessionOwner(SessionHost, Protocol):
    """What a session uses of its transport (`rxhub.transport.nats.client.NatsTransport`)."""

    address: NatsOptions
    name: str
    subjects: Subjects
    filters: SubjectFilters
    playbacks: StreamReaders
    read_position: ReadPosition | None


class NatsSession(TransportSession[SessionOwner]):
    """One session on a stream. All methods but the constructor and `update_filters` run on the loop."""

    server = "NATS"

    def __init__(
        self, transport: SessionOwner, sink: Sink, loop: asyncio.AbstractEventLoop, last: NatsSession | None
    ) -> None:
        super().__init__(transport, sink, loop, last)
        self.link = ReconnectingClient(transport.address, transport.name, self._on_link_state)
        self.kv = KvTexts(self.link, transport.subjects.stream)
        self._live: OrderedConsumer | None = None
        self._is_up = False
        # Events that the hub has not accepted yet, with their sequences.
        self._waiting: deque[tuple[int, Event]] = deque()
        self._shrink_timer: asyncio.TimerHandle | None = None

    @property
    def is_synced(self) -> bool:
        """Whether all subscribers receive what is stored from now on."""
        return self._live is not None and self._live.is_synced and self._live.is_consuming

    @property
    def is_connected(self) -> bool:
        """Whether it has connected: tasks can be attached to the link."""
        return self._live is not None

    def hurry(self) -> None:
        self.link.retry_now()

    def update_filters(self) -> None:
        """Read by the present filters. Thread-safe, since nothing may be sent before the reader knows them."""
        live = self._live
        if live is not None:
            live.update_filters()

    def shrink_filters_later(self) -> None:
        """Read without unused filters, after a delay."""
        if self._live is not None and self._shrink_timer is None:
            self._shrink_timer = self.loop.call_later(_SHRINK_DELAY_S, self._shrink_filters)

    async def run(self) -> None:
        transport, sink = self._transport, self._sink
        sink.on_state(ConnectionState(Phase.CONNECTING, "", 1))
        try:
            await self._connect()
        except Exception as error:
            if not isinstance(error, (HubConnectionError, StreamError)):
                # `connect` raises the error that is reported below.
                report("connecting to NATS", error)
            transport.session_ended(self)
            await self.link.close()
            if transport.read_position is not None:
                # The next attempt continues where this one ended.
                transport.read_position = self._read_position()
                self._waiting.clear()
            transport.report_disconnected(sink, str(error), 1)

    async def _connect(self) -> None:
        transport, link = self._transport, self.link
        await link.start()
        stream = transport.subjects.stream
        wanted = stream_config(stream, replicas=link.replicas)
        info = await ensure_stream(link, wanted)
        self._live = live = OrderedConsumer(
            stream,
            self._on_message,
            transport.filters.adopt,
            start=transport.read_position,
            troubled=self._report_trouble,
        )
        link.attach(StreamRestorer(wanted))
        link.attach(live)
        await self._wait_until_read(live)
        link.attach(JetStreamPublisher(transport.outbox, resend_window(info["config"]), live, info["config"]["name"]))
        transport.playbacks.resume(link)
        transport.read_position = None
        self._is_up = True
        self._report_trouble(live.trouble)

    async def _wait_until_read(self, live: OrderedConsumer) -> None:
        """Wait until the stream is read, no longer than the first connection lasts, since `connect` waits too."""
        line = await self.link.ready()
        settling = supervise(live.started, "waiting for the stream")
        try:
            await asyncio.wait(
                [settling, line.closed], timeout=_JETSTREAM_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not settling.done() or self.link.connection is None:
                why = (
                    line.closed.result()
                    if line.closed.done()
                    else f"JetStream does not answer within {_JETSTREAM_TIMEOUT_S:g} s"
                )
                raise HubConnectionError(f"Connected to NATS at {line.server}, but {why}.")
        finally:
            await cancel_and_wait(settling)

    def _on_link_state(self, connected: bool, reason: str, attempts: int) -> None:
        # `_connect` reports the first connection, `_end` the last.
        if self.task is None or not self.task.done() or self.link.is_closed:
            return
        self._is_up = connected
        if connected:
            self._report_trouble("" if self._live is None else self._live.trouble)
        elif attempts:
            self._sink.on_state(ConnectionState(Phase.CONNECTING, reason, attempts))
        else:
            self._sink.on_state(ConnectionState(Phase.DISCONNECTED, reason))

    def _report_trouble(self, reason: str) -> None:
        """Report whether a connected hub receives its subscriptions."""
        if self._is_up:
            detail = f"its subscribers get no events at present: {reason}" if reason else ""
            self._sink.on_state(ConnectionState(Phase.CONNECTED, detail))

    def _shrink_filters(self) -> None:
        self._shrink_timer = None
        if self._live is not None:
            self._live.update_filters()

    def _on_message(self, message: Message) -> None:
        try:
            event = message.read_event()
        except (ProtocolError, EventError) as error:
            logger.error(
                "Skipped message %d of the stream %s, which is not a valid event: %s",
                message.sequence,
                self._transport.subjects.stream,
                error,
            )
            self._done(1)
            return
        self._waiting.append((message.sequence, event))
        if len(self._waiting) == 1:
            # Events that arrive together are delivered together, so that the hub wakes up once.
            self.loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        """Deliver as many events as the hub has room for."""
        waiting = self._waiting
        try:
            count = self._sink.on_events([event for _, event in waiting])
        except Exception as error:
            # They are delivered again: otherwise the hub would receive no further event.
            report("delivering events from NATS", error)
            count = 0
        for _ in range(count):
            waiting.popleft()
        self._done(count)
        if waiting and not self.link.is_closed:
            self.loop.call_later(_FULL_HUB_POLL_S, self._deliver)

    def _done(self, count: int) -> None:
        if self._live is not None:
            self._live.done(count)

    async def disconnect(self, timeout: float) -> None:
        deadline = monotonic() + timeout
        if self.task is not None and not self.task.done():
            if self._live is not None:
                await asyncio.wait([self.task], timeout=timeout)
            await cancel_and_wait(self.task)
        while self._transport.outbox and self._live is not None and monotonic() < deadline:
            await asyncio.sleep(0.01)
        await self.link.close()

    def on_end(self, reconnecting: bool) -> None:
        transport = self._transport
        transport.read_position = self._read_position() if reconnecting else None
        self._waiting.clear()
        if self._shrink_timer is not None:
            self._shrink_timer.cancel()
        if reconnecting:
            transport.outbox.requeue_in_flight(0.0)

    def _read_position(self) -> ReadPosition | None:
        """Where the next session continues: before the events that the hub had no room for."""
        place = self._transport.read_position if self._live is None else self._live.read_position
        if place is not None and self._waiting:
            # A recreated stream may have ended before that position.
            return place._replace(sequence=min(place.sequence, self._waiting[0][0] - 1))
        return place
