"""The event server behind its endpoints: who is connected, what they subscribed to, what has been counted.

Everything here runs on one asyncio loop, the one that serves the application.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from rxhub.concurrency.supervise import failures, supervise
from rxhub.errors import EventError, HubConnectionError, Refused, StreamError, UsersError
from rxhub.server.authentication import Authentication, Credentials, TooManyAttempts
from rxhub.server.connection import CloseReason, Connection, Receive, Send
from rxhub.server.counters import Counters
from rxhub.server.envelope import Envelope, payload, read
from rxhub.server.limited_log import LimitedLog
from rxhub.server.limits import Limits, SlowConsumer
from rxhub.server.loop_turns import LoopTurns
from rxhub.server.rate_limit import TokenBucket, TokenBuckets
from rxhub.server.receive_memory import UnreadBudget
from rxhub.server.router import Router
from rxhub.server.send_queue import send_steps
from rxhub.server.sessions import Sessions
from rxhub.server.sockets import Sockets
from rxhub.server.users import User, Users
from rxhub.transport.socketio.packet import Code, Packet, encode
from rxhub.transport.socketio.protocol import Handshake

if TYPE_CHECKING:
    from rxhub.server.backplane import Backplane

__all__ = ["EventServer"]

_REFRESH_INTERVAL_S = 1.0
# Steps of work in one round of the loop: about five milliseconds of reading, and as much of writing.
_STEPS_PER_ROUND = 50_000
# Subscriptions of clients that have left, which are removed in one round of the loop.
_REMOVALS_PER_ROUND = 100

_logger = logging.getLogger("rxhub.server")


class EventServer:
    """A server without its routes.

    Args:
        users: who may connect.
        limits: what they may do.
        heartbeat: seconds between two heartbeats. ftrack's JavaScript client leaves after 15 seconds without one.
        heartbeat_timeout: seconds after which a client that sends nothing, not even an answer to a heartbeat, is gone.
        slow_consumer: what happens to a client that does not read.
        grace: seconds for which a shutdown waits until what is in the queues has been sent.
        backplane: what joins it with other servers; alone if it is not given.

    Attributes:
        router: all subscriptions.
        sessions: handshakes that wait for their WebSocket.
        reading: the turns of those who read what clients send.
        writing: the turns of those who send to clients.
        counters: what has been counted.
        sockets: open sockets, if they are accepted by `rxhub.server.acceptor`.
        unread: what messages may take that are incomplete or wait for their turn.
        refusals: the log of refused requests.
        is_closing: it lets nobody in any more.
    """

    def __init__(
        self,
        users: Users,
        *,
        limits: Limits | None = None,
        heartbeat: float = 10.0,
        heartbeat_timeout: float = 30.0,
        slow_consumer: SlowConsumer = SlowConsumer.DISCONNECT,
        grace: float = 5.0,
        backplane: Backplane | None = None,
    ) -> None:
        if not 0 < heartbeat < heartbeat_timeout:
            raise ValueError(
                f"A client needs more than one heartbeat's time to answer: heartbeat={heartbeat!r} must be above 0 and "
                f"below heartbeat_timeout={heartbeat_timeout!r}."
            )
        self.limits = limits or Limits()
        self.heartbeat = heartbeat
        self.heartbeat_timeout = heartbeat_timeout
        self.slow_consumer = slow_consumer
        self.grace = grace
        self.backplane = backplane
        self._events = TokenBuckets(self.limits.events, self.limits.events_at_once)
        self.router: Router[Connection] = Router(
            self.limits, None if backplane is None else backplane.filters, self._events
        )
        self.sessions: Sessions[User] = Sessions(self.limits.session_expiry, self.limits.sessions)
        self.reading = LoopTurns(_STEPS_PER_ROUND)
        self.writing = LoopTurns(_STEPS_PER_ROUND)
        self._streaming = LoopTurns(_STEPS_PER_ROUND)
        self.counters = Counters()
        self.sockets = Sockets(self.limits.connections + self.limits.pending, self.limits.pending, self.counters)
        self.unread = UnreadBudget(self.limits, self.counters)
        self.refusals = LimitedLog(_logger)
        self.is_closing = False
        self._users = users
        self._authentication = Authentication(users, self.limits)
        self._connections: dict[Connection, None] = {}
        self._connections_of: Counter[str] = Counter()
        self._handshakes = TokenBuckets(self.limits.handshakes, self.limits.handshakes_at_once)
        # Clients that are gone, whose subscriptions are still to be removed; and whether enough were in this round.
        self._closed: deque[Connection] = deque()
        self._is_removing = False
        self._started = self._refreshed = monotonic()
        self._start_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the other servers, if there are any and it has not yet.

        Raises:
            HubConnectionError: if the backplane cannot be reached or does not let us in; the next call tries again.
            StreamError: if it has no place for a stream.
        """
        if self.backplane is None:
            return
        if self._start_task is None or (self._start_task.done() and self._start_task.exception() is not None):
            backplane = self.backplane
            self._start_task = supervise(
                lambda: backplane.start(
                    self.route_stored,
                    self.router.owner,
                    self._is_congested,
                    self.router.rewind,
                    self.limits.ids_per_user,
                    self._streaming,
                ),
                "joining the backplane",
                expected=(HubConnectionError, StreamError),
            )
        # Whoever waits for it may go away.
        await asyncio.shield(self._start_task)

    def bucket(self, user: str) -> TokenBucket:
        """What limits the packets of a user, over all connections."""
        return self._events[user]

    async def authenticate(self, shown: Credentials, address: str) -> User:
        """The user of some credentials.

        Raises:
            NotAuthenticated: if they are nobody's.
            TooManyAttempts: if too many were nobody's lately.
        """
        self.refresh_users(at_once=True)
        return await self._authentication.user(shown, address)

    def handshake(self, user: User) -> str:
        """The answer to a handshake.

        Raises:
            TooManyAttempts: if the user makes too many.
        """
        if not self._handshakes[user.name].take():
            raise TooManyAttempts(f"The user {user.name!r} connects too often; wait a second.")
        # A client takes both for promises in whole seconds, the first for the longest silence it will hear.
        seconds = max(1, round(self.heartbeat_timeout))
        self.counters.handshakes += 1
        return Handshake(self.sessions.issue(user), seconds, seconds).format()

    def admit(self, sid: str, shown: Credentials | None) -> Connection:
        """The connection of a session id, which is good no more then.

        Args:
            sid: from a handshake.
            shown: credentials, if the client shows any with its WebSocket; they must be of the same user.

        Raises:
            Refused: if it is not good, or there are too many connections.
        """
        then = self.sessions.redeem(sid)
        user = None if then is None else self._users.get(then.name)
        # The key may have been replaced since the handshake, to lock out whoever made it.
        is_same = then is not None and user is not None and user.has_same_key(then)
        if user is None or not is_same or (shown is not None and shown.user != user.name):
            raise Refused("This session id is not, or no longer, good: begin with a handshake.")
        if self.is_closing:
            raise Refused("The server shuts down.")
        if len(self._connections) >= self.limits.connections:
            raise Refused(
                f"There are {self.limits.connections} clients at most. Raise Limits.connections of the server "
                "(rxhub.server.Limits)."
            )
        if self._connections_of[user.name] >= self.limits.connections_per_user:
            raise Refused(
                f"There are {self.limits.connections_per_user} clients of one user at most. Connect as several users, "
                "or raise Limits.connections_per_user of the server (rxhub.server.Limits)."
            )
        connection = Connection(self, user)
        self._connections[connection] = None
        self._connections_of[user.name] += 1
        self.counters.connections_opened += 1
        return connection

    async def serve(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Serve an admitted client until it or the server ends it."""
        await connection.run(receive, send)
        _logger.info(
            "A connection of %r ended: %s.", connection.user, connection.close_reason and connection.close_reason.value
        )

    def forward(self, envelope: Envelope, text: str, sequence: int = 0, publisher: str | None = None) -> None:
        """Put an event into the queues of all clients that get it.

        Args:
            envelope: what was read of it.
            text: the payload of its packet.
            sequence: its number in the stream, if it comes from one.
            publisher: the user who has published it; None if that is not known.

        Raises:
            Refused: if its target cannot be read, or reading it or its target takes more work than the limit allows.
            EventError: if its data has to be decoded, and cannot be.
        """
        peers = self.router.route(envelope, text, sequence, publisher)
        if not peers:
            return
        packet = encode(Packet(Code.EVENT, data=text))
        delivered = 0
        for peer in peers:
            if peer.deliver(packet):
                delivered += 1
        self.counters.events_delivered += delivered
        # Who sends it, later and one after the other, has no part in how many there are.
        self.router.meter.steps += delivered * send_steps(packet)

    def route_stored(self, sequence: int, stored: bytes) -> None:
        """Take an event from the backplane. It may have come from anywhere, so it is read as a client's is."""
        before = self.router.meter.steps
        try:
            text = payload(stored.decode())
            self.forward(read(text), text, sequence)
        except (EventError, Refused, UnicodeDecodeError) as error:
            self.counters.events_unreadable += 1
            _logger.warning("The event %d of the stream is passed over: %s", sequence, error)
        finally:
            self._streaming.spend(self.router.meter.steps - before + len(stored) // 10)

    def _is_congested(self) -> bool:
        return any(connection.is_congested for connection in self._connections)

    def remove(self, connection: Connection, dropped: int = 0) -> None:
        """Forget a connection that has ended; a second time does nothing."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        self._closed.append(connection)
        if not self._is_removing:
            self._remove_subscriptions()
        self._connections_of[connection.user] -= 1
        if not self._connections_of[connection.user]:
            del self._connections_of[connection.user]
        self.counters.events_dropped += dropped
        if connection.close_reason is CloseReason.SLOW:
            self.counters.slow_consumers += 1
        elif connection.close_reason is CloseReason.SILENT:
            self.counters.silent_clients += 1
        elif connection.close_reason is CloseReason.MALFORMED:
            self.counters.packets_malformed += 1

    def _remove_subscriptions(self) -> None:
        """Remove some of what clients had that are gone, in this round of the loop; nothing is delivered to them."""
        left = _REMOVALS_PER_ROUND
        while self._closed and left > 0:
            removed = self.router.remove_peer(self._closed[0], left)
            if removed < left:
                self._closed.popleft()
            # A client without a subscription takes its time too.
            left -= max(1, removed)
        if self.backplane is not None:
            self.backplane.schedule_filter_update()
        self._is_removing = True
        asyncio.get_running_loop().call_soon(self._remove_more)

    def _remove_more(self) -> None:
        self._is_removing = False
        if self._closed:
            self._remove_subscriptions()

    def refresh_users(self, at_once: bool = False) -> None:
        """See whether the users have changed; whoever is no user any more, or has a new key, is cut off."""
        now = monotonic()
        if not at_once and now - self._refreshed < _REFRESH_INTERVAL_S:
            return
        self._refreshed = now
        try:
            changed = self._users.refresh()
        except UsersError as error:
            _logger.error("%s", error)
            return
        if changed:
            for connection in list(self._connections):
                connection.update_user(self._users.get(connection.user))

    async def close(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Let nobody in any more, read nothing more, send what is in the queues, and end all connections.

        Args:
            is_hurried: whether what is in the queues is to be given up.
        """
        self.is_closing = True
        for connection in list(self._connections):
            connection.end(CloseReason.SHUTDOWN)
        deadline = monotonic() + self.grace + 1.0
        while self._connections and monotonic() < deadline and not is_hurried():
            await asyncio.sleep(0.01)
        if self.backplane is not None:
            # Of clients that have left before they were answered.
            await self.backplane.flush(deadline - monotonic(), is_hurried)
            await self.backplane.close()

    def disconnects(self) -> int:
        """How many clients have left so far."""
        return self.counters.connections_opened - len(self._connections)

    def stats(self) -> dict[str, float]:
        """What there is and what has been counted, by name."""
        counted = self.counters.as_dict()
        return {
            "uptime_seconds": round(monotonic() - self._started, 3),
            "connections": len(self._connections),
            "sockets_open": len(self.sockets),
            "sockets_waiting": self.sockets.waiting,
            "users_connected": len(self._connections_of),
            "sessions_waiting": len(self.sessions),
            "subscriptions": self.router.active,
            "subscriptions_passed_over": self.router.skipped.total,
            "unread_bytes": self.unread.total,
            "messages_waiting": sum(connection.waiting for connection in self._connections),
            **counted,
            "task_failures": failures.total(),
            **({} if self.backplane is None else self.backplane.stats()),
        }
