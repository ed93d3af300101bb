"""One client's WebSocket: reads packets, passes events to the server, and sends what the server has for the client.

The server closes a connection by ending the stream, without a closing frame. ftrack's Python client treats a closing
frame as an unknown packet, and then neither reads nor reconnects (measured). At the end of the stream, it reconnects,
and so do JavaScript clients. The packet `0::` would work for Python, but socket.io 0.9's client does not reconnect
after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from typing import Any, Final, Protocol

from rxhub.concurrency.supervise import supervise
from rxhub.errors import EventError, ProtocolError, Refused
from rxhub.server.ack_queue import AckQueue
from rxhub.server.client import CloseReason, ServerClient
from rxhub.server.counters import Counters
from rxhub.server.envelope import Envelope, OutgoingEvent, read
from rxhub.server.loop_turns import LoopTurns
from rxhub.server.options import ServerOptions
from rxhub.server.rate_limit import STEPS_PER_EVENT, TokenBucket
from rxhub.server.router import Router
from rxhub.server.subscribe_request import SUBSCRIBE, UNSUBSCRIBE, subscribe_request, unsubscribed
from rxhub.server.users import User
from rxhub.transport.socketio.packet import HEARTBEAT, Code, Packet
from rxhub.transport.socketio.protocol import ServerSession, SessionState

__all__ = ["ClientConnection", "ConnectionHost"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PACKETS_PER_TURN: Final = 16
_CLOSE_TIMEOUT_S: Final = 1.0
# If more events of a client wait to be stored, it is read more slowly, so that it cannot fill the backplane.
_MAX_PENDING_ACKS: Final = 512
# Reading pauses at most this long, because heartbeats arrive on the same connection.
_ACK_WAIT_S: Final = 5.0
# Between the check that finds a client silent and the check that closes the connection.
_SILENCE_GRACE_S: Final = 1.0

_logger = logging.getLogger("rxhub.server")


class ConnectionHost(Protocol):
    """What its connections use of a `rxhub.server.event_server.EventServer`."""

    options: ServerOptions
    router: Router[ServerClient[Any]]
    counters: Counters
    reading: LoopTurns
    writing: LoopTurns

    def rate(self, user: str) -> TokenBucket: ...

    def publish(self, envelope: Envelope, text: str, account: User) -> Future[None] | None: ...

    def refresh_users(self) -> None: ...

    def remove(self, connection: ServerClient[Any], dropped: int = 0) -> None: ...


class ClientConnection(ServerClient[str]):
    """One client that has connected as the user of its handshake."""

    protocol = "websocket"

    def __init__(self, host: ConnectionHost, account: User, address: str = "") -> None:
        super().__init__(host.options, account, address)
        self._host = host
        self._session = ServerSession()
        self._acks = AckQueue(self._send_ack)
        # The latest subscription that is not active yet.
        self._activation: Future[None] | None = None
        self._rate = host.rate(account.name)
        self._reader: asyncio.Task[CloseReason] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_received = 0.0
        # Whether everything that arrived has been read, and the reader waits for more.
        self._is_waiting = False
        # `_last_received` at the check that found the client silent, and when the next check is due.
        self._silence_check = (0.0, 0.0)

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve an accepted WebSocket until it is closed. The caller then ends the stream."""

        async def send_text(text: str) -> None:
            await send({"type": "websocket.send", "text": text})

        host, options, loop = self._host, self._host.options, asyncio.get_running_loop()
        self._last_received = loop.time()
        self._send_queue.put(self._session.open())
        self._timer = loop.call_later(options.heartbeat, self._heartbeat)
        # When the client has disconnected, sending raises OSError or RuntimeError, depending on the ASGI server.
        writer = supervise(
            lambda: self._send_queue.write(send_text, host.writing),
            "writing to a client",
            expected=(OSError, RuntimeError),
        )
        reader = self._reader = supervise(lambda: self._read(receive), "reading from a client")
        if self.close_reason is not None:  # closed before it started
            reader.cancel()
        try:
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
            if self.close_reason is None:
                self.close_reason = self._reason_of(reader)
            if self.close_reason not in {CloseReason.GONE, CloseReason.SLOW}:
                is_shutdown = self.close_reason is CloseReason.SHUTDOWN
                deadline = loop.time() + (options.grace if is_shutdown else _CLOSE_TIMEOUT_S)
                await self._acks.wait(0, deadline - loop.time())
                self._send_queue.close()
                await asyncio.wait({writer}, timeout=max(0.0, deadline - loop.time()))
        finally:
            self._timer.cancel()
            self._session.lost()
            host.remove(self, dropped=self._send_queue.dropped)
            reader.cancel()
            writer.cancel()
            # Their errors have been handled above, or are caused by the lost connection.
            await asyncio.gather(reader, writer, return_exceptions=True)
            # Break reference cycles, so that memory is freed now and not by the garbage collector.
            self._reader = None
            self._send_queue.clear()
            self._acks.close()

    def deliver(self, event: OutgoingEvent) -> bool:
        return self._session.state is SessionState.OPEN and self._put(event.packet, is_event=True)

    def end(self, reason: CloseReason) -> None:
        """Stop reading, send the queued messages within the timeout, and close the connection."""
        if self.close_reason is None:
            self.close_reason = reason
        if self._reader is not None:
            self._reader.cancel()

    def _reason_of(self, reader: asyncio.Task[CloseReason]) -> CloseReason:
        """The reason of the task that ended first, or of the reader if both did."""
        if self._send_queue.overflowed:
            return CloseReason.SLOW
        if not reader.done() or reader.cancelled():
            return CloseReason.GONE
        return CloseReason.GONE if reader.exception() is not None else reader.result()

    async def _read(self, receive: Receive) -> CloseReason:
        loop = asyncio.get_running_loop()
        meter, turns = self._host.router.meter, self._host.reading
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
                _logger.warning("Disconnecting a client of %r, which sent an invalid packet: %s", self.user, error)
                return CloseReason.MALFORMED
            self._host.counters.packets_received += 1
            cost = 1.0
            if packet.code is Code.EVENT:
                if self._activation is not None and self._must_wait_for_activation(packet):
                    await self._wait_for_acks(0)
                if not turns.is_free:
                    await turns.wait(self.user)
                before, of_others = meter.steps, meter.steps_of_others
                self._handle(packet)
                steps = meter.steps - before + len(packet.data) // 10
                turns.spend(steps)
                # An expensive packet (large, with a long target, or with many receivers) counts as several, so that the
                # rate of a user limits the user's share of the processor. Elapsed time would include other work.
                cost = max(1.0, (steps - meter.steps_of_others + of_others) / STEPS_PER_EVENT)
            elif packet.code is Code.DISCONNECT:
                return CloseReason.GONE
            elif packet.id is not None:
                self._put(self._session.refuse(packet.id, "This server only accepts events."))
            # Do not keep the last message in memory while waiting for the next one.
            del message, packet
            if len(self._acks) > _MAX_PENDING_ACKS:
                await self._wait_for_acks(_MAX_PENDING_ACKS)
            delay = self._rate.reserve(cost)
            count += cost
            if delay > 0:
                # What the client sends during the delay waits in its own socket, so nothing is lost.
                await asyncio.sleep(delay)
            elif count >= _PACKETS_PER_TURN:
                # Many packets can arrive in one segment. Other connections need their turn between them.
                count = 0.0
                await asyncio.sleep(0)

    def _handle(self, packet: Packet) -> None:
        """Process and acknowledge an event packet."""
        host, limits = self._host, self._host.options.limits
        host.counters.events_received += 1
        try:
            if len(packet.data) > limits.message:
                raise Refused(
                    f"An event may have {limits.message} characters at most; this one has {len(packet.data)}. Send "
                    "less data, or raise Limits.message of the server (rxhub.server.Limits)."
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
            self._host.counters.events_refused += 1
            _logger.info("Rejected an event of %r: %s", self.user, error)
        if number is not None and self._session.state is SessionState.OPEN:
            session = self._session
            self._put(session.accept(number) if error is None else session.refuse(number, str(error)))

    def _must_wait_for_activation(self, packet: Packet) -> bool:
        """Whether a packet publishes an event while a subscription of this client is not active yet."""
        if self._activation is None or self._activation.done():
            self._activation = None
            return False
        try:
            return read(packet.data).topic not in {SUBSCRIBE, UNSUBSCRIBE}
        except EventError:
            return False

    async def _wait_for_acks(self, limit: int) -> None:
        """Wait until at most `limit` acknowledgements are pending, while the backplane is connected."""
        options = self._host.options
        if options.backplane is not None and options.backplane.is_connected:
            await self._acks.wait(limit, min(_ACK_WAIT_S, options.heartbeat_timeout / 3))

    def _publish(self, envelope: Envelope, text: str) -> Future[None] | None:
        options = self._host.options
        if options.backplane is not None and len(self._acks) >= options.limits.queue:
            raise Refused(
                f"The event was not stored: {len(self._acks)} packets of this client already wait for the backplane. "
                "Publish it again later."
            )
        return self._host.publish(envelope, text, self._account)

    def _subscribe(self, envelope: Envelope) -> Future[None] | None:
        host, limits = self._host, self._host.options.limits
        request = subscribe_request(envelope, limits)
        if len(self._acks) >= limits.queue:
            raise Refused(
                f"The subscription was not added: {len(self._acks)} packets of this client already wait for the "
                "backplane. Subscribe again later."
            )
        activate = host.router.subscribe(self, request.subscriber, request.subscription, self._account.subscribe)
        if host.options.backplane is None:
            return None
        identifier = request.subscriber["id"]
        self._activation = activated = host.options.backplane.activate(identifier, self.user, activate)
        activated.add_done_callback(lambda outcome: outcome.exception() and self._unsubscribe(envelope))
        return activated

    def _unsubscribe(self, envelope: Envelope) -> None:
        self._host.router.unsubscribe(self, unsubscribed(envelope))
        if self._host.options.backplane is not None:
            self._host.options.backplane.schedule_filter_update()

    def _heartbeat(self) -> None:
        """Send a heartbeat, or close the connection if the client has been silent for too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        options = self._host.options
        if self._is_waiting and now - self._last_received > options.heartbeat_timeout:
            received, due = self._silence_check
            if received == self._last_received and now - due < _SILENCE_GRACE_S:
                self.end(CloseReason.SILENT)
                return
            # If this process was blocked, packets may have arrived that were not read. They are read before the next
            # check. Heartbeats were delayed too, so a client may have had none to answer.
            self._silence_check = self._last_received, now + _SILENCE_GRACE_S
            self._timer = loop.call_later(_SILENCE_GRACE_S, self._heartbeat)
        else:
            # First: an error below must not end the heartbeats.
            self._timer = loop.call_later(options.heartbeat, self._heartbeat)
            self._host.refresh_users()
        if self._session.state is SessionState.OPEN:
            self._put(self._session.send(HEARTBEAT))
