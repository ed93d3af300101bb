"""One client's WebSocket: reads packets, hands events to the router, sends what the router has for it.

It ends without a closing frame, by the end of the stream, and that is on purpose: ftrack's Python client takes a
closing frame for a packet that it does not know, and then neither reads nor reconnects (measured). At the end of the
stream it connects again, and so do the JavaScript clients. A `0::` would do for Python, but socket.io 0.9's client
takes it for a farewell.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rxhub.concurrency.supervise import supervise
from rxhub.errors import EventError, ProtocolError, Refused
from rxhub.server.ack_queue import AckQueue
from rxhub.server.envelope import Envelope, argument, read
from rxhub.server.rate_limit import STEPS_PER_EVENT
from rxhub.server.send_queue import SendQueue
from rxhub.server.user_quotas import metadata_too_large
from rxhub.server.users import User
from rxhub.transport.socketio.packet import HEARTBEAT, Code, Packet
from rxhub.transport.socketio.protocol import ServerSession, SessionState

if TYPE_CHECKING:
    from rxhub.server.event_server import EventServer

__all__ = ["CloseReason", "Connection"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SUBSCRIBE: Final = "ftrack.meta.subscribe"
UNSUBSCRIBE: Final = "ftrack.meta.unsubscribe"

_PACKETS_PER_TURN = 16
_CLOSE_TIMEOUT_S = 1.0
# Of one client, as long as they are being stored: then it is read more slowly, so that nobody fills the backplane.
_MAX_PENDING_ACKS = 512
# Seconds for which it is not read at most, since its heartbeats are among what it sends.
_ACK_WAIT_S = 5.0
# Seconds at most between the look that finds a client silent and the one that ends it.
_SILENCE_GRACE_S = 1.0

_logger = logging.getLogger("rxhub.server")


class CloseReason(Enum):
    """Why a connection ended."""

    GONE = "the client left"
    MALFORMED = "the client sent what is no packet"
    SILENT = "the client answered no heartbeat"
    SLOW = "the client did not read"
    REMOVED = "the user was removed or changed"
    SHUTDOWN = "the server shuts down"


class _Subscription(msgspec.Struct):
    subscriber: dict[str, Any]
    subscription: str


class _Unsubscription(msgspec.Struct):
    subscriber: dict[str, Any]


_subscription = msgspec.json.Decoder(_Subscription).decode
_unsubscription = msgspec.json.Decoder(_Unsubscription).decode


class Connection:
    """One client.

    Args:
        server: whose client it is.
        account: the user who made the handshake.

    Attributes:
        user: the user's name.
        ending: why it ended; None as long as it has not.
    """

    __slots__ = (
        "__weakref__",
        "_account",
        "_acks",
        "_activation",
        "_is_waiting",
        "_last_received",
        "_rate",
        "_reader",
        "_send_queue",
        "_server",
        "_session",
        "_silence_check",
        "_timer",
        "close_reason",
        "user",
    )

    def __init__(self, server: EventServer, account: User) -> None:
        limits = server.limits
        self.user = account.name
        self.close_reason: CloseReason | None = None
        self._server = server
        self._account = account
        self._session = ServerSession()
        self._acks = AckQueue(self._send_ack)
        # The latest subscription that does not hold yet.
        self._activation: Future[None] | None = None
        self._send_queue = SendQueue(limits.queue, limits.queue_bytes, server.slow_consumer)
        self._rate = server.bucket(account.name)
        self._reader: asyncio.Task[CloseReason] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_received = 0.0
        # Whether all that has arrived was read, and more is waited for.
        self._is_waiting = False
        # When it was last heard at the look that found it silent, and when the next look is due.
        self._silence_check = (0.0, 0.0)

    @property
    def waiting(self) -> int:
        """Messages that wait to be sent."""
        return len(self._send_queue)

    @property
    def is_congested(self) -> bool:
        """Whether the client reads more slowly than it is sent to."""
        return self._send_queue.is_congested

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve a WebSocket that was accepted, until it ends. The caller then ends the stream."""

        async def send_text(text: str) -> None:
            await send({"type": "websocket.send", "text": text})

        loop = asyncio.get_running_loop()
        self._last_received = loop.time()
        self._send_queue.put(self._session.open())
        self._timer = loop.call_later(self._server.heartbeat, self._heartbeat)
        # Sending raises OSError or RuntimeError when the client has gone, depending on the ASGI server.
        writer = supervise(
            lambda: self._send_queue.write(send_text, self._server.writing),
            "writing to a client",
            expected=(OSError, RuntimeError),
        )
        reader = self._reader = supervise(lambda: self._read(receive), "reading from a client")
        if self.close_reason is not None:  # before it began
            reader.cancel()
        try:
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
            if self.close_reason is None:
                self.close_reason = self._close_reason(reader)
            if self.close_reason not in {CloseReason.GONE, CloseReason.SLOW}:
                deadline = loop.time() + (
                    self._server.grace if self.close_reason is CloseReason.SHUTDOWN else _CLOSE_TIMEOUT_S
                )
                await self._acks.wait(0, deadline - loop.time())
                self._send_queue.close()
                await asyncio.wait({writer}, timeout=max(0.0, deadline - loop.time()))
        finally:
            self._timer.cancel()
            self._session.lost()
            self._server.remove(self, dropped=self._send_queue.dropped)
            reader.cancel()
            writer.cancel()
            # Whatever they end with has been looked at, or comes of a peer that is gone.
            await asyncio.gather(reader, writer, return_exceptions=True)
            # Without the cycles of references, what it holds is freed now and not by the garbage collector.
            self._reader = None
            self._send_queue.clear()
            self._acks.close()

    def deliver(self, text: str) -> bool:
        """Put an event packet into the queue; False if this client gets nothing any more."""
        return self._session.state is SessionState.OPEN and self._put(text, is_event=True)

    def end(self, reason: CloseReason) -> None:
        """End it: what is in the queue is sent first, for as long as that may take; nothing more is read."""
        if self.close_reason is None:
            self.close_reason = reason
        if self._reader is not None:
            self._reader.cancel()

    def update_user(self, account: User | None) -> None:
        """Go on with the rules that the user has now; end it if there is no such user, or the key is another one."""
        if account is None or not account.has_same_key(self._account):
            self.end(CloseReason.REMOVED)
        elif account.subscribe.patterns != self._account.subscribe.patterns:
            # What it subscribed to was narrowed by the old rules; it subscribes again when it is back.
            self.end(CloseReason.REMOVED)
        else:
            self._account = account

    def _close_reason(self, reader: asyncio.Task[CloseReason]) -> CloseReason:
        """What the first of the two tasks ended for; the reader, if both did."""
        if self._send_queue.overflowed:
            return CloseReason.SLOW
        if not reader.done() or reader.cancelled():
            return CloseReason.GONE
        return CloseReason.GONE if reader.exception() is not None else reader.result()

    async def _read(self, receive: Receive) -> CloseReason:
        loop = asyncio.get_running_loop()
        meter, turns = self._server.router.meter, self._server.reading
        count = 0.0
        while True:
            self._is_waiting = True
            message = await receive()
            self._is_waiting = False
            if message["type"] == "websocket.disconnect":
                return CloseReason.GONE
            self._last_received = loop.time()
            try:
                packet = self._session.receive(message.get("text"))  # pyright: ignore[reportArgumentType]  # it checks
            except ProtocolError as error:
                _logger.warning("A client of %r is cut off: %s", self.user, error)
                return CloseReason.MALFORMED
            self._server.counters.packets_received += 1
            cost = 1.0
            if packet.code is Code.EVENT:
                if self._activation is not None and self._is_publication(packet):
                    await self._wait_for_acks(0)
                if not turns.is_free:
                    await turns.wait(self.user)
                before, of_others = meter.steps, meter.steps_of_others
                self._take(packet)
                steps = meter.steps - before + len(packet.data) // 10
                turns.spend(steps)
                # A packet that takes more (it is large, its target is long, many clients get it) counts as several, so
                # that the rate of a user bounds the user's share of the processor too. Not time: others take it too.
                cost = max(1.0, (steps - meter.steps_of_others + of_others) / STEPS_PER_EVENT)
            elif packet.code is Code.DISCONNECT:
                return CloseReason.GONE
            elif packet.id is not None:
                self._put(self._session.refuse(packet.id, "Only events are taken here."))
            # A client that is silent from now on is not to hold its last message in memory.
            del message, packet
            if len(self._acks) > _MAX_PENDING_ACKS:
                await self._wait_for_acks(_MAX_PENDING_ACKS)
            delay = self._rate.reserve(cost)
            count += cost
            if delay > 0:
                # Read no more for now. What the client sends waits in its own socket, and nothing is lost.
                await asyncio.sleep(delay)
            elif count >= _PACKETS_PER_TURN:
                # Many packets may have come in one piece; without this, nobody else had a turn meanwhile.
                count = 0.0
                await asyncio.sleep(0)

    def _take(self, packet: Packet) -> None:
        """Do what an event packet asks for, and acknowledge it."""
        counters = self._server.counters
        counters.events_received += 1
        try:
            if len(packet.data) > self._server.limits.message:
                raise Refused(
                    f"An event has {self._server.limits.message} characters at most; this has {len(packet.data)}. Send "
                    "less, or raise Limits.message of the server (rxhub.server.Limits)."
                )
            envelope = read(packet.data)
            if envelope.topic == SUBSCRIBE:
                outcome = self._subscribe(envelope)
            elif envelope.topic == UNSUBSCRIBE:
                outcome = self._unsubscribe(envelope)
            else:
                outcome = self._publish(envelope, packet.data)
        except (EventError, Refused) as error:
            self._acks.add(packet.id, error)
        else:
            if outcome is None:
                self._acks.add(packet.id)
            else:
                self._acks.add_pending(packet.id, outcome)

    def _send_ack(self, number: int | None, error: BaseException | None) -> None:
        if error is not None:
            self._server.counters.events_refused += 1
            _logger.info("An event of %r was refused: %s", self.user, error)
        if number is not None and self._session.state is SessionState.OPEN:
            session = self._session
            self._put(session.accept(number) if error is None else session.refuse(number, str(error)))

    def _is_publication(self, packet: Packet) -> bool:
        """Whether a packet is an event that the client's own subscriptions are to meet, which do not hold yet."""
        if self._activation is None or self._activation.done():
            self._activation = None
            return False
        try:
            return read(packet.data).topic not in {SUBSCRIBE, UNSUBSCRIBE}
        except EventError:
            return False

    async def _wait_for_acks(self, most: int) -> None:
        """Read nothing more until no more than so many answers are owed, as long as the backplane gets on."""
        backplane = self._server.backplane
        if backplane is not None and backplane.is_connected:
            await self._acks.wait(most, min(_ACK_WAIT_S, self._server.heartbeat_timeout / 3))

    def _publish(self, envelope: Envelope, text: str) -> Future[None] | None:
        if envelope.topic not in self._account.publish:
            raise Refused(f"The user {self.user!r} may not publish {envelope.topic[:200]!r}.")
        backplane = self._server.backplane
        if backplane is None:
            self._server.forward(envelope, text, publisher=self.user)
            return None
        self._server.router.check(envelope)
        if len(self._acks) >= self._server.limits.queue:
            raise Refused(f"Nothing can be stored at present, and {len(self._acks)} packets of this client wait.")
        return backplane.publish(envelope, argument(text))

    def _subscribe(self, envelope: Envelope) -> Future[None] | None:
        limits = self._server.limits
        if len(memoryview(envelope.data)) > limits.metadata + 4 * limits.expression:
            raise metadata_too_large(limits)
        try:
            asked = _subscription(envelope.data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Refused(
                f"A subscription has a subscriber (an object) and a subscription (a text), but: {error}."
            ) from None
        server = self._server
        if len(self._acks) >= limits.queue:
            raise Refused(f"Nothing can be read at present, and {len(self._acks)} packets of this client wait.")
        admit = server.router.subscribe(self, asked.subscriber, asked.subscription, self._account.subscribe)
        if server.backplane is None:
            return None
        self._activation = admitted = server.backplane.admit(asked.subscriber["id"], self.user, admit)
        admitted.add_done_callback(lambda outcome: outcome.exception() and self._unsubscribe(envelope))
        return admitted

    def _unsubscribe(self, envelope: Envelope) -> None:
        try:
            asked = _unsubscription(envelope.data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Refused(f"An end of a subscription has a subscriber (an object), but: {error}.") from None
        self._server.router.unsubscribe(self, asked.subscriber)
        if self._server.backplane is not None:
            self._server.backplane.schedule_filter_update()

    def _put(self, text: str, is_event: bool = False) -> bool:
        taken = self._send_queue.put(text, is_event)
        if not taken and self._send_queue.overflowed and self.close_reason is None:
            # The writer may be held up in a send for as long as the client does not read.
            self.end(CloseReason.SLOW)
        return taken

    def _heartbeat(self) -> None:
        """Ask whether the client is there, and end it if it has not answered for too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._is_waiting and now - self._last_received > self._server.heartbeat_timeout:
            heard, due = self._silence_check
            if heard == self._last_received and now - due < _SILENCE_GRACE_S:
                self.end(CloseReason.SILENT)
                return
            # What held this process up held up reading as well: what arrived meanwhile is read before the next look.
            # It held up heartbeats too, so a client that answers them has had none to answer.
            self._silence_check = self._last_received, now + _SILENCE_GRACE_S
            self._timer = loop.call_later(_SILENCE_GRACE_S, self._heartbeat)
            if self._session.state is SessionState.OPEN:
                self._put(self._session.send(HEARTBEAT))
            return
        # First: an error below must not end the heartbeats.
        self._timer = loop.call_later(self._server.heartbeat, self._heartbeat)
        self._server.refresh_users()
        if self._session.state is SessionState.OPEN:
            self._put(self._session.send(HEARTBEAT))
