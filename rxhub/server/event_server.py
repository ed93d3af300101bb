"""The event server without its routes: its connections, their subscriptions, and counters.

All of it runs on the event loop that serves the application.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from time import monotonic
from typing import Any, Final

from rxhub.concurrency.supervise import failures, supervise
from rxhub.errors import EventError, HubConnectionError, Refused, StreamError, UsersError
from rxhub.server.acceptor import Sockets
from rxhub.server.authentication import Authentication, Credentials, TooManyAttempts
from rxhub.server.client import CloseReason, ServerClient
from rxhub.server.connection import ClientConnection, Receive, Send
from rxhub.server.counters import Counters
from rxhub.server.envelope import Envelope, OutgoingEvent, argument, payload, read
from rxhub.server.loop_turns import LoopTurns
from rxhub.server.options import ServerOptions
from rxhub.server.rate_limit import LimitedLog, TokenBucket, TokenBuckets
from rxhub.server.receive_memory import UnreadBudget
from rxhub.server.router import Router
from rxhub.server.send_queue import send_steps
from rxhub.server.sessions import Sessions
from rxhub.server.users import User, Users
from rxhub.telemetry.probes import LoopLag
from rxhub.transport.socketio.protocol import Handshake

__all__ = ["EventServer"]

_REFRESH_INTERVAL_S: Final = 1.0
# About five milliseconds of reading, and as much of writing.
_STEPS_PER_ROUND: Final = 50_000
# Subscriptions of disconnected clients that are removed in one round of the loop.
_REMOVALS_PER_ROUND: Final = 100

_logger = logging.getLogger("rxhub.server")


class EventServer:
    """A server without its routes.

    Attributes:
        options: how it treats clients.
        users: who may connect.
        router: all subscriptions.
        sessions: handshakes that were not yet followed by a WebSocket.
        reading: turns of the connections that read.
        writing: turns of the connections that send.
        streaming: turns for routing events of the stream.
        counters: what has been counted.
        sockets: open sockets, if `rxhub.server.acceptor` accepts them.
        unread: the memory of received messages.
        rejections: the log of rejected requests.
        loop_lag: the delay of the event loop; None before `start`.
        is_closing: whether it rejects new clients because it shuts down.
    """

    def __init__(self, users: Users, options: ServerOptions | None = None) -> None:
        options = options or ServerOptions()
        limits = options.limits
        self.options = options
        self._rates = TokenBuckets(limits.events, limits.events_at_once)
        filters = None if options.backplane is None else options.backplane.filters
        self.router: Router[ServerClient[Any]] = Router(limits, filters, self._rates)
        self.sessions: Sessions[User] = Sessions(limits.session_expiry, limits.sessions)
        self.reading = LoopTurns(_STEPS_PER_ROUND)
        self.writing = LoopTurns(_STEPS_PER_ROUND)
        self.streaming = LoopTurns(_STEPS_PER_ROUND)
        self.counters = Counters()
        self.sockets = Sockets(limits.connections + limits.pending, limits.pending, self.counters)
        self.unread = UnreadBudget(limits, self.counters)
        self.rejections = LimitedLog(_logger)
        self.loop_lag: LoopLag | None = None
        self.is_closing = False
        self.users = users
        self._authentication = Authentication(users, limits)
        self._ids = count(1)
        self._connections: dict[ServerClient[Any], None] = {}  # in the order of their ids
        self._connections_of: Counter[str] = Counter()
        self._handshakes = TokenBuckets(limits.handshakes, limits.handshakes_at_once)
        # Closed connections whose subscriptions are not removed yet.
        self._closed: deque[ServerClient[Any]] = deque()
        self._is_removing = False
        self._started = self._refreshed = monotonic()
        self._start_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Measure the delay of the loop, and connect the backplane, if there is one and it is not connected.

        Raises:
            HubConnectionError: if the backplane cannot be reached or rejects the server; the next call tries again.
            StreamError: if a stream cannot be created.
        """
        if self.loop_lag is None and not self.is_closing:
            self.loop_lag = LoopLag()
        backplane = self.options.backplane
        if backplane is None:
            return
        if self._start_task is None or (self._start_task.done() and self._start_task.exception() is not None):
            self._start_task = supervise(
                lambda: backplane.start(self, self.options.limits.ids_per_user),
                "joining the backplane",
                expected=(HubConnectionError, StreamError),
            )
        # The request that waits may be cancelled.
        await asyncio.shield(self._start_task)

    def rate(self, user: str) -> TokenBucket:
        """The event rate of a user, over all connections."""
        return self._rates[user]

    async def authenticate(self, credentials: Credentials, address: str) -> User:
        """The user with these credentials.

        Raises:
            NotAuthenticated: if they are wrong.
            TooManyAttempts: if too many wrong credentials were used recently.
        """
        self.refresh_users(now=True)
        return await self._authentication.user(credentials, address)

    def handshake(self, user: User) -> str:
        """The response to a handshake. Raises TooManyAttempts if the user makes too many."""
        self.count_handshake(user)
        # Clients expect whole seconds, and use the first number as the maximum time without a message.
        seconds = max(1, round(self.options.heartbeat_timeout))
        return Handshake(self.sessions.issue(user), seconds, seconds).format()

    def count_handshake(self, user: User) -> None:
        """Count a new client of a user. Raises TooManyAttempts if the user makes too many."""
        if not self._handshakes[user.name].take():
            raise TooManyAttempts(f"The user {user.name!r} connects too often. Wait a second.")
        self.counters.handshakes += 1

    def connect(self, sid: str, credentials: Credentials | None, address: str = "") -> ClientConnection:
        """Create the connection of a session id, which cannot be used again.

        Args:
            sid: from a handshake.
            credentials: the credentials of the WebSocket request, if any; they must belong to the same user.
            address: of the client.

        Raises:
            Refused: if the session id is invalid, or there are too many connections.
        """
        session_user = self.sessions.redeem(sid)
        user = None if session_user is None else self.users.get(session_user.name)
        # The key may have been replaced since the handshake.
        is_same = session_user is not None and user is not None and user.has_same_key(session_user)
        if user is None or not is_same or (credentials is not None and credentials.user != user.name):
            raise Refused("This session id is invalid or has expired. Start with a new handshake.")
        connection = ClientConnection(self, user, address)
        self.add(connection)
        return connection

    def add(self, client: ServerClient[Any]) -> None:
        """Add a new client. Raises Refused if there are too many, or the server is shutting down."""
        self.check_room(client.user)
        client.id = next(self._ids)
        self._connections[client] = None
        self._connections_of[client.user] += 1
        self.counters.connections_opened += 1

    def check_room(self, user: str) -> None:
        """Check that the server accepts another client of a user. Raises Refused if it does not."""
        if self.is_closing:
            raise Refused("The server is shutting down.")
        limits = self.options.limits
        if len(self._connections) >= limits.connections:
            raise Refused(
                f"The server already has {limits.connections} clients. Raise Limits.connections of the server "
                "(rxhub.server.Limits)."
            )
        if self._connections_of[user] >= limits.connections_per_user:
            raise Refused(
                f"The user already has {limits.connections_per_user} clients. Connect as several users, or raise "
                "Limits.connections_per_user of the server (rxhub.server.Limits)."
            )

    @contextmanager
    def request_of(self, user: str) -> Generator[None]:
        """Count a request of a user as a client during a `with` block.

        Raises:
            Refused: if there are too many clients, or the server is shutting down.
        """
        self.check_room(user)
        self._connections_of[user] += 1
        try:
            yield
        finally:
            self._release(user)

    async def serve(self, connection: ClientConnection, receive: Receive, send: Send) -> None:
        """Serve a connection until it is closed."""
        await connection.run(receive, send)
        reason = connection.close_reason
        _logger.info("A connection of %r was closed: %s.", connection.user, reason and reason.value)

    def publish(
        self, envelope: Envelope, text: str, account: User, message_id: str | None = None
    ) -> Future[None] | None:
        """Deliver an event of a user to its subscribers or, with a backplane, store it.

        Args:
            envelope: of the event.
            text: the payload of its packet.
            account: the user.
            message_id: the stream stores only one of several events with this id; None is the id of the event.

        Returns:
            Completes when the event is stored, or holds the error; None without a backplane.

        Raises:
            Refused: if the user may not publish the topic, the target is invalid, or the work exceeds the limit.
            EventError: if the data cannot be decoded, or the topic cannot be stored.
        """
        if envelope.topic not in account.publish:
            raise Refused(f"The user {account.name!r} may not publish {envelope.topic[:200]!r}.")
        backplane = self.options.backplane
        if backplane is None:
            self.forward(envelope, text, publisher=account.name)
            return None
        self.router.check(envelope)
        return backplane.publish(envelope, argument(text), message_id)

    def forward(self, envelope: Envelope, text: str, sequence: int = 0, publisher: str | None = None) -> None:
        """Queue an event for all clients that receive it.

        Args:
            envelope: of the event.
            text: the payload of its packet.
            sequence: of the event in the stream, if it comes from one.
            publisher: the user who published it, if known.

        Raises:
            Refused: if the target is invalid, or reading, decoding or the target exceeds the limit of work.
            EventError: if the data cannot be decoded.
        """
        peers = self.router.route(envelope, text, sequence, publisher)
        if not peers:
            return
        event = OutgoingEvent(envelope, text, sequence)
        delivered = 0
        for peer in peers:
            if peer.deliver(event):
                delivered += 1
        self.counters.events_delivered += delivered
        # The writers send later, but the number of receivers is the publisher's choice.
        self.router.meter.steps += delivered * send_steps(text)

    def route_stored(self, sequence: int, stored: bytes) -> None:
        """Route an event of the stream. Anyone may have stored it, so it is checked like an event of a client."""
        meter = self.router.meter
        before = meter.steps
        try:
            text = payload(stored.decode())
            self.forward(read(text), text, sequence)
        except (EventError, Refused, UnicodeDecodeError) as error:
            self.counters.events_unreadable += 1
            _logger.warning("Skipping event %d of the stream: %s", sequence, error)
        finally:
            self.streaming.spend(meter.steps - before + len(stored) // 10)

    def is_congested(self) -> bool:
        """Whether the send queue of a client is filling up."""
        return any(connection.is_congested for connection in self._connections)

    def remove(self, connection: ServerClient[Any], dropped: int = 0) -> None:
        """Remove a closed connection. A second call does nothing."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        self._closed.append(connection)
        if not self._is_removing:
            self._remove_subscriptions()
        self._release(connection.user)
        self.counters.events_dropped += dropped
        if connection.close_reason is CloseReason.SLOW:
            self.counters.slow_consumers += 1
        elif connection.close_reason is CloseReason.SILENT:
            self.counters.silent_clients += 1
        elif connection.close_reason is CloseReason.MALFORMED:
            self.counters.packets_malformed += 1

    def _release(self, user: str) -> None:
        self._connections_of[user] -= 1
        if not self._connections_of[user]:
            del self._connections_of[user]

    def _remove_subscriptions(self) -> None:
        """Remove some subscriptions of closed connections in this round of the loop, and the others in the next."""
        left = _REMOVALS_PER_ROUND
        while self._closed and left > 0:
            removed = self.router.remove_peer(self._closed[0], left)
            if removed < left:
                self._closed.popleft()
            # A client without subscriptions takes time too.
            left -= max(1, removed)
        if self.options.backplane is not None:
            self.options.backplane.schedule_filter_update()
        self._is_removing = True
        asyncio.get_running_loop().call_soon(self._remove_more)

    def _remove_more(self) -> None:
        self._is_removing = False
        if self._closed:
            self._remove_subscriptions()

    def refresh_users(self, now: bool = False) -> None:
        """Apply changes of the users, at most once a second unless `now` is set.

        Closes the connections of users that were removed or have a new key.
        """
        time = monotonic()
        if not now and time - self._refreshed < _REFRESH_INTERVAL_S:
            return
        self._refreshed = time
        try:
            changed = self.users.refresh()
        except UsersError as error:
            _logger.error("%s", error)
            return
        if changed:
            for connection in list(self._connections):
                connection.update_user(self.users.get(connection.user))

    async def close(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Reject new clients, stop reading, send the queued messages, and close all connections.

        Args:
            is_hurried: whether to discard the queued messages.
        """
        self.is_closing = True
        for connection in list(self._connections):
            connection.end(CloseReason.SHUTDOWN)
        deadline = monotonic() + self.options.grace + 1.0
        while self._connections and monotonic() < deadline and not is_hurried():
            await asyncio.sleep(0.01)
        backplane = self.options.backplane
        if backplane is not None:
            # Events of clients that disconnected before the acknowledgement.
            await backplane.flush(deadline - monotonic(), is_hurried)
            await backplane.close()
        if self.loop_lag is not None:
            self.loop_lag.stop()

    @property
    def connections(self) -> Collection[ServerClient[Any]]:
        """The connected clients, in the order of their ids."""
        return self._connections.keys()

    def disconnects(self) -> int:
        """The number of clients that have disconnected so far."""
        return self.counters.connections_opened - len(self._connections)

    def stats(self) -> dict[str, float]:
        """Gauges and counters by name."""
        backplane = self.options.backplane
        return {
            "uptime_seconds": round(monotonic() - self._started, 3),
            **({} if self.loop_lag is None else {"loop_lag_seconds": round(self.loop_lag.seconds, 3)}),
            "connections": len(self._connections),
            "sockets_open": len(self.sockets),
            "sockets_waiting": self.sockets.waiting,
            "users_connected": len(self._connections_of),
            "sessions_waiting": len(self.sessions),
            "subscriptions": self.router.active,
            "subscriptions_passed_over": self.router.meter.skipped,
            "unread_bytes": self.unread.total,
            "messages_waiting": sum(connection.waiting for connection in self._connections),
            **self.counters.as_dict(),
            "task_failures": failures.total(),
            **({} if backplane is None else backplane.stats()),
        }
