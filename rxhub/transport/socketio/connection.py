"""One connection to an event server, from the handshake to its end, on the I/O loop.

Three tasks read, write and watch the heartbeats. The first one that ends closes the connection, with the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic, time
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import DATA_OPCODES, CloseCode, Frame

from rxhub.concurrency.supervise import supervise
from rxhub.errors import EventError, ProtocolError
from rxhub.event import Event
from rxhub.text.printable import inline
from rxhub.transport import Sink
from rxhub.transport.io_thread import cut
from rxhub.transport.json_payload import read_answer, read_event, resent, write_event
from rxhub.transport.outbox import Outbox, PendingPublish
from rxhub.transport.socketio.deduplication import RecentIds
from rxhub.transport.socketio.endpoint import Endpoint
from rxhub.transport.socketio.handshake import ServerUnreachable, explained, shake_hands
from rxhub.transport.socketio.heartbeat import HeartbeatMonitor
from rxhub.transport.socketio.packet import MAX_PACKET, Code, Packet
from rxhub.transport.socketio.protocol import ClientSession, Handshake, SessionState
from rxhub.transport.socketio.subscription_sync import SUBSCRIBE, SubscriptionChange, SubscriptionSync

__all__ = ["CONNECT_TIMEOUT_S", "SocketIOConnection"]

CONNECT_TIMEOUT_S = 20.0  # the timeout of each step of connecting
_CLOSE_TIMEOUT_S = 1.0
_PING_INTERVAL_S = 20.0
_MAX_CHANGES = 1000
_YIELD_EVERY = 16
_MAX_TEXT = 500
_MAX_FRAGMENTS = 4_096

logger = logging.getLogger("rxhub")


class SocketIOConnection:
    """An open connection."""

    def __init__(self, socket: ClientConnection, session: ClientSession, handshake: Handshake) -> None:
        self.answers = False  # the server has acknowledged something, so acknowledgements are waited for
        self.too_large = False  # the server closed the connection because a message was too large
        self._subscriptions: SubscriptionSync | None = None
        self._socket = socket
        self._session = session
        self._heartbeat = HeartbeatMonitor(handshake.heartbeat, monotonic(), time())
        self._changes: dict[int, SubscriptionChange] = {}

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Self:
        """Connect: the handshake, the WebSocket, and the first packet. Raises ServerUnreachable."""
        handshake = await shake_hands(endpoint, CONNECT_TIMEOUT_S)
        session, packet = ClientSession(), None
        try:
            # A server without heartbeats is pinged.
            socket = await _Connect(
                endpoint.socket_url(handshake.sid),
                additional_headers=endpoint.socket_headers,
                user_agent_header=None,
                compression=None,
                max_size=4 * MAX_PACKET,
                create_connection=_Socket,
                open_timeout=CONNECT_TIMEOUT_S,
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_interval=_PING_INTERVAL_S if handshake.heartbeat is None else None,
                ping_timeout=_PING_INTERVAL_S,
                logger=_websocket_logger,
            )
        except Exception as error:
            raise explained(error, endpoint, CONNECT_TIMEOUT_S) from error
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                while session.state is SessionState.OPENING:
                    packet = session.receive(_text(await socket.recv()))
        except BaseException as error:
            cut(socket.transport)
            if isinstance(error, (ProtocolError, ConnectionClosed)):
                raise ServerUnreachable(
                    f"The event server at {endpoint.url} did not accept the connection: {error}"
                ) from error
            if isinstance(error, Exception):
                raise explained(error, endpoint, CONNECT_TIMEOUT_S) from error
            raise
        if session.state is SessionState.CLOSED:
            await socket.close()
            why = _shortened(packet and packet.data) or "no reason given"
            raise ServerUnreachable(f"The event server at {endpoint.url} refused the session: {why}.")
        return cls(socket, session, handshake)

    @property
    def subscriptions_synced(self) -> bool:
        """Whether the server knows of every subscriber."""
        return self._subscriptions is not None and self._subscriptions.settled

    async def run(
        self, source: Mapping[str, Any], subscriptions: SubscriptionSync, outbox: Outbox, recent: RecentIds, sink: Sink
    ) -> str:
        """Subscribe, write, read and answer until the connection ends; the reason, as text."""
        subscriptions.renew()
        self._subscriptions = subscriptions
        lost = (ConnectionClosed, OSError)
        tasks = [
            supervise(lambda: self._read(outbox, recent, sink), "reading from an event server", expected=lost),
            supervise(lambda: self._write(source, subscriptions, outbox), "writing to an event server", expected=lost),
            supervise(self._watch, "watching the heartbeats of an event server", expected=lost),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._session.lost()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()
            self.too_large = self._socket.close_code == CloseCode.MESSAGE_TOO_BIG
        # The reader knows the reason best; the writer only finds the connection closed.
        task = next(task for task in tasks if task in done)
        error = task.exception()
        if error is None:
            return task.result()
        return f"the connection was lost: {str(error) or type(error).__name__}"

    def abandon(self) -> None:
        """Close a forked child's copy of the socket, without sending anything."""
        socket = getattr(self._socket.transport.get_extra_info("socket"), "_sock", None)
        if socket is not None:
            socket.close()

    async def _read(self, outbox: Outbox, recent: RecentIds, sink: Sink) -> str:
        socket, session = self._socket, self._session
        while True:
            frame = await socket.recv()
            now = monotonic()
            self._heartbeat.heard(now)
            try:
                packet = session.receive(_text(frame))
                code = packet.code
                if code is Code.EVENT:
                    event = read_event(packet.data)
                    if event is None:
                        logger.warning("Ignored an event packet without exactly one event.")
                    elif not recent.is_duplicate(event):
                        while not sink.has_room():
                            await asyncio.sleep(0.02)
                            self._heartbeat.heard(monotonic())
                        sink.on_event(event)
                elif code is Code.ACKNOWLEDGE:
                    self._acknowledged(packet, outbox)
                elif code is Code.HEARTBEAT:
                    await socket.send(session.answer(packet))
                elif code is Code.DISCONNECT:
                    return "the server ended the session"
                elif code is Code.ERROR:
                    logger.error(
                        "The event server reported an error: %s", _shortened(packet.data) or "without a reason"
                    )
                    if packet.data.endswith("+0"):
                        return f"the server requested a new session ({_shortened(packet.data)})"
            except (ProtocolError, EventError) as error:
                logger.warning("Ignored an invalid packet of the event server: %s", error)
            if not self.answers:
                for publish in outbox.overdue(now):
                    publish.resolve()

    async def _write(self, source: Mapping[str, Any], subscriptions: SubscriptionSync, outbox: Outbox) -> str:
        socket, session = self._socket, self._session
        # asyncio logs each write to a broken socket.
        while session.state is SessionState.OPEN and not socket.transport.is_closing():
            if (change := subscriptions.take()) is not None:
                event = Event(change.topic, data=change.data, source=dict(source))
                number, packet = session.emit(write_event(event))
                self._expect(number, change)
            elif (publish := outbox.take()) is not None:
                number, packet = session.emit(resent(publish.argument) if publish.resent else publish.argument)
                outbox.wrote(publish, number, monotonic())
            else:
                await outbox.wakeup.wait()
                continue
            await socket.send(packet)
            if number % _YIELD_EVERY == 0:
                # Sending does not yield while the buffer of the socket has room.
                await asyncio.sleep(0)
        return "the server ended the session" if session.state is SessionState.CLOSED else "the connection was lost"

    async def _watch(self) -> str:
        while not (reason := self._heartbeat.look(monotonic(), time())):
            await asyncio.sleep(self._heartbeat.interval)
        cut(self._socket.transport)
        return reason

    def _acknowledged(self, packet: Packet, outbox: Outbox) -> None:
        self.answers = True
        number = -1 if packet.id is None else packet.id
        publish = outbox.acknowledged(number)
        answer: Mapping[str, Any] = {}
        try:
            answer = read_answer(packet.data)
        except ProtocolError as error:
            # The event was accepted all the same.
            logger.warning("An acknowledgement is invalid: %s", error)
        refused = answer.get("success") is False
        why = _shortened(answer.get("message")) or "it gave no reason"
        if publish is not None:
            _settle(publish, f"The event server refused {publish.topic}: {why}" if refused else "")
        elif (change := self._changes.pop(number, None)) is not None and self._subscriptions is not None:
            self._subscriptions.answered()
            if refused:
                what = "subscribe" if change.topic == SUBSCRIBE else "unsubscribe"
                logger.warning("The event server failed to %s subscriber %s: %s", what, change.id, why)

    def _expect(self, number: int, change: SubscriptionChange) -> None:
        """Remember a change until the server answers. Bounded, since not every server answers."""
        self._changes[number] = change
        if len(self._changes) > _MAX_CHANGES and self._subscriptions is not None:
            del self._changes[next(iter(self._changes))]
            self._subscriptions.answered()

    async def _close(self) -> None:
        try:
            await self._socket.close()
        except Exception as error:
            logger.debug("Closing a connection failed: %s", error)


_websocket_logger = logging.getLogger("rxhub.websocket")
# Below this level, websockets logs headers and frames, with cookies and tokens.
_websocket_logger.setLevel(logging.INFO)


class _Socket(ClientConnection):
    """A WebSocket that limits the number of fragments of a message, which take a hundred times their length."""

    _fragments = 0

    def process_event(self, event: Any) -> None:
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._fragments = 0 if event.fin else self._fragments + 1
            if self._fragments > _MAX_FRAGMENTS:
                logger.warning("The event server sent a message of more than %d fragments.", _MAX_FRAGMENTS)
                cut(self.transport)


class _Connect(connect):
    """Follows no redirects, which would pass the headers on."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _text(frame: str | bytes) -> str:
    if isinstance(frame, bytes):
        raise ProtocolError("A binary frame was received; a packet is text.")
    return frame


def _shortened(words: object) -> str:
    """A text of the server for the log: bounded and in one line."""
    text = words if isinstance(words, str) else "" if words is None else str(words)
    shown = text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
    return inline(shown)


def _settle(publish: PendingPublish, refusal: str) -> None:
    if refusal:
        logger.error("%s", refusal)
        publish.resolve(EventError(refusal))
    else:
        publish.resolve()
