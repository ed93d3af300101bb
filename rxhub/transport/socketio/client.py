"""The transport of `http(s)://`: a connection to an event server, restored until the hub disconnects.

A session is a sequence of connections. If the first attempt fails, the session ends and `connect` raises. Later it
reconnects with growing delays, without an end: a hub must survive a night without a network. Each connection first
subscribes all subscribers again, then sends what was in flight, then the rest of the outbox.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any

from rxhub.concurrency.backoff import Backoff
from rxhub.errors import EventError, HubConnectionError, Overflow
from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.transport import Sink
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.json_payload import write_event, write_json
from rxhub.transport.outbox import PendingPublish
from rxhub.transport.server_transport import ServerTransport, TransportSession, refused
from rxhub.transport.socketio.connection import SocketIOConnection
from rxhub.transport.socketio.deduplication import RecentIds
from rxhub.transport.socketio.endpoint import Endpoint
from rxhub.transport.socketio.handshake import ServerUnreachable
from rxhub.transport.socketio.packet import MAX_PACKET
from rxhub.transport.socketio.subscription_filter import server_filter
from rxhub.transport.socketio.subscription_sync import ServerSubscription, SubscriptionSync

__all__ = ["SocketIOTransport"]

# The delays between attempts keep growing unless a connection lasts that long.
_STABLE_S = 10.0
# How long `close` waits for a server that has acknowledged nothing.
_SILENT_SERVER_S = 1.0

logger = logging.getLogger("rxhub")


class SocketIOTransport(ServerTransport["_SocketIOSession"]):
    """Speaks Socket.IO 0.9 as ftrack's event server does."""

    def __init__(self, endpoint: Endpoint, source: Mapping[str, Any], outbox: int = 100_000) -> None:
        super().__init__(outbox, "had not been accepted by the server")
        self.endpoint = endpoint
        self.source = source
        self.subscriptions = SubscriptionSync()
        self.recent = RecentIds()

    @property
    def subscriptions_synced(self) -> bool:
        session = self._session
        connection = None if session is None else session.connection
        return connection is not None and connection.subscriptions_synced

    def send(self, event: Event) -> Future[None]:
        try:
            publish = PendingPublish(event.topic, write_event(event))
            if len(publish.argument) > MAX_PACKET - 100:
                raise EventError(
                    f"The event {event.topic} has {len(publish.argument)} characters; at most {MAX_PACKET - 100} can "
                    "be sent. Store large data elsewhere and send the address."
                )
            self.outbox.put(publish)
        except (EventError, Overflow, HubConnectionError) as error:
            return refused(error)
        return publish.accepted

    def add_subscription(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None:
        try:
            metadata_json = write_json(metadata)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            logger.warning(
                "The metadata of subscriber %s cannot be written as JSON, so the server knows only its id: %s. Events "
                "with a target other than this id may not arrive.",
                id,
                error,
            )
            metadata_json = write_json({"id": str(id)})
        self.subscriptions.add(id, ServerSubscription(server_filter(expression), metadata_json))
        self.outbox.wakeup.set()

    def remove_subscription(self, id: str) -> None:
        self.subscriptions.remove(id)
        self.outbox.wakeup.set()

    def forked(self) -> None:
        for session in (self._session, self._last):
            if session is not None and session.connection is not None:
                session.connection.abandon()
        super().forked()
        self.recent = RecentIds()

    def _new_session(
        self, sink: Sink, loop: asyncio.AbstractEventLoop, last: _SocketIOSession | None
    ) -> _SocketIOSession:
        return _SocketIOSession(self, sink, loop, last)


class _SocketIOSession(TransportSession[SocketIOTransport]):
    """Its task runs one connection after the other."""

    server = "an event server"

    def __init__(
        self, transport: SocketIOTransport, sink: Sink, loop: asyncio.AbstractEventLoop, last: _SocketIOSession | None
    ) -> None:
        super().__init__(transport, sink, loop, last)
        self.connection: SocketIOConnection | None = None
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        self._hurry.set()

    async def run(self) -> None:
        transport, sink = self._transport, self._sink
        url = transport.endpoint.url
        backoff = Backoff()
        reason, attempts, first = "", 0, True
        while True:
            attempts += 1
            sink.on_state(ConnectionState(Phase.CONNECTING, reason, attempts))
            try:
                connection = await SocketIOConnection.open(transport.endpoint)
            except ServerUnreachable as error:
                reason, pause = str(error), error.retry_after
                if first:
                    transport.session_ended(self)
                    sink.on_state(ConnectionState(Phase.DISCONNECTED, reason, attempts))
                    return
                logger.log(logging.WARNING if attempts == 1 else logging.DEBUG, "Reconnecting failed: %s", reason)
            else:
                began, first, attempts, pause = monotonic(), False, 0, 0.0
                if reason:
                    logger.info("Reconnected to %s.", url)
                self.connection = connection
                sink.on_state(ConnectionState(Phase.CONNECTED))
                try:
                    reason = await connection.run(
                        transport.source, transport.subscriptions, transport.outbox, transport.recent, sink
                    )
                finally:
                    self.connection = None
                    self._requeue(connection.too_large, reason)
                logger.warning("Lost the connection to %s; reconnecting: %s.", url, reason)
                if monotonic() - began > _STABLE_S:
                    backoff.reset()
            sink.on_state(ConnectionState(Phase.DISCONNECTED, reason, attempts))
            await self._pause(max(pause, backoff.delay()))

    def _requeue(self, too_large: bool, reason: str) -> None:
        culprit = self._transport.outbox.requeue_after_disconnect(too_large)
        if culprit is not None:
            why = f"{culprit.breaks} connections in a row broke while it was sent ({reason})"
            if too_large:
                why = f"with {len(culprit.argument)} characters it is too large for the server"
            error = HubConnectionError(f"{culprit.topic} was given up: {why}.")
            logger.error("%s", error)
            culprit.resolve(error)

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def disconnect(self, timeout: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._flush()
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])

    async def _flush(self) -> None:
        """Wait until the server has accepted all events. Polls, since it runs once in a session."""
        outbox, subscriptions = self._transport.outbox, self._transport.subscriptions
        began = monotonic()
        while self.task is not None and not self.task.done():
            connection = self.connection
            if not outbox.waiting:
                late = connection is not None and not connection.answers and monotonic() - began > _SILENT_SERVER_S
                synced = connection is None or not subscriptions.waiting
                if synced and (late or not outbox.in_flight):
                    return
            await asyncio.sleep(0.01)
