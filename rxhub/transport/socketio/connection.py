"""One connection to an event server, from the handshake to its end. Lives on the background loop.

Three tasks share it: one reads, one writes, one looks at the clock. Whichever ends first ends the line, and says why.
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

CONNECT_TIMEOUT_S = 20.0
"""Seconds for which each step of connecting may take."""

_FAREWELL = 1.0
_PING = 20.0
_MOST_NOTICES = 1000
_TURN = 16
_MOST_SAID = 500
_MOST_FRAGMENTS = 4_096

logger = logging.getLogger("rxhub")


class SocketIOConnection:
    """An open connection.

    Attributes:
        answers: the server has acknowledged something, so it is worth waiting for more of that.
        too_large: the server has ended the connection because a message was too large for it.
    """

    def __init__(self, socket: ClientConnection, session: ClientSession, handshake: Handshake) -> None:
        self.answers = False
        self.too_large = False
        self._announcing: SubscriptionSync | None = None
        self._socket = socket
        self._session = session
        self._watchdog = HeartbeatMonitor(handshake.heartbeat, monotonic(), time())
        self._notices: dict[int, SubscriptionChange] = {}

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Self:
        """Connect: the handshake, the WebSocket, and the server's first word.

        Raises:
            ServerUnreachable: if that fails; says why, and what to do.
        """
        handshake = await shake_hands(endpoint, CONNECT_TIMEOUT_S)
        session, packet = ClientSession(), None
        try:
            # With heartbeats the server lets itself be heard; without, it is asked.
            socket = await _Connect(
                endpoint.socket_url(handshake.sid),
                additional_headers=endpoint.socket_headers,
                user_agent_header=None,
                compression=None,
                max_size=4 * MAX_PACKET,
                create_connection=_Socket,
                open_timeout=CONNECT_TIMEOUT_S,
                close_timeout=_FAREWELL,
                ping_interval=_PING if handshake.heartbeat is None else None,
                ping_timeout=_PING,
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
                raise ServerUnreachable(f"The event server at {endpoint.url} did not let us in: {error}") from error
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
        return self._announcing is not None and self._announcing.settled

    async def run(
        self, source: Mapping[str, Any], interests: SubscriptionSync, outbox: Outbox, recent: RecentIds, sink: Sink
    ) -> str:
        """Announce, write, read and answer until the connection ends; why it did, in words for people.

        Args:
            source: who we are.
            interests: what the server is to be told of.
            outbox: what is to be sent.
            recent: what has come already.
            sink: where events go.
        """
        interests.renew()
        self._announcing = interests
        lost = (ConnectionClosed, OSError)
        tasks = [
            supervise(lambda: self._read(outbox, recent, sink), "reading from an event server", expected=lost),
            supervise(lambda: self._write(source, interests, outbox), "writing to an event server", expected=lost),
            supervise(self._watch, "watching the heartbeats of an event server", expected=lost),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._session.lost()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._hang_up()
            self.too_large = self._socket.close_code == CloseCode.MESSAGE_TOO_BIG
        # Reading knows best why a connection ended: writing finds it only closed.
        task = next(task for task in tasks if task in done)
        error = task.exception()
        if error is None:
            return task.result()
        return f"the connection was lost: {str(error) or type(error).__name__}"

    def abandon(self) -> None:
        """Close this process's copy of the socket without a word; for a child process."""
        socket = getattr(self._socket.transport.get_extra_info("socket"), "_sock", None)
        if socket is not None:
            socket.close()

    async def _read(self, outbox: Outbox, recent: RecentIds, sink: Sink) -> str:
        socket, session = self._socket, self._session
        while True:
            frame = await socket.recv()
            now = monotonic()
            self._watchdog.heard(now)
            try:
                packet = session.receive(_text(frame))
                code = packet.code
                if code is Code.EVENT:
                    event = read_event(packet.data)
                    if event is None:
                        logger.warning("An event packet without exactly one event was ignored.")
                    elif not recent.is_duplicate(event):
                        while not sink.has_room():
                            await asyncio.sleep(0.02)
                            self._watchdog.heard(monotonic())
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
                        return f"the server asks for a new session ({_shortened(packet.data)})"
            except (ProtocolError, EventError) as error:
                logger.warning("What the event server sent was ignored: %s", error)
            if not self.answers:
                for letter in outbox.overdue(now):
                    letter.resolve()

    async def _write(self, source: Mapping[str, Any], interests: SubscriptionSync, outbox: Outbox) -> str:
        socket, session = self._socket, self._session
        # What is written to a broken socket is not lost, but asyncio complains of each.
        while session.state is SessionState.OPEN and not socket.transport.is_closing():
            if (notice := interests.take()) is not None:
                event = Event(notice.topic, data=notice.data, source=dict(source))
                number, packet = session.emit(write_event(event))
                self._expect(number, notice)
            elif (letter := outbox.take()) is not None:
                number, packet = session.emit(resent(letter.argument) if letter.resent else letter.argument)
                outbox.wrote(letter, number, monotonic())
            else:
                await outbox.wakeup.wait()
                continue
            await socket.send(packet)
            if number % _TURN == 0:
                # As long as there is room in the socket's buffer, sending lets nobody else have a turn.
                await asyncio.sleep(0)
        return "the server ended the session" if session.state is SessionState.CLOSED else "the connection was lost"

    async def _watch(self) -> str:
        while not (reason := self._watchdog.look(monotonic(), time())):
            await asyncio.sleep(self._watchdog.interval)
        # What is dead is not waited for.
        cut(self._socket.transport)
        return reason

    def _acknowledged(self, packet: Packet, outbox: Outbox) -> None:
        self.answers = True
        number = -1 if packet.id is None else packet.id
        letter = outbox.acknowledged(number)
        answer: Mapping[str, Any] = {}
        try:
            answer = read_answer(packet.data)
        except ProtocolError as error:
            # It was received all the same: sent again, it would be doubled.
            logger.warning("An acknowledgement could not be read: %s", error)
        refused = answer.get("success") is False
        why = _shortened(answer.get("message")) or "it gave no reason"
        if letter is not None:
            _settle(letter, f"The event server refused {letter.topic}: {why}" if refused else "")
        elif (notice := self._notices.pop(number, None)) is not None and self._announcing is not None:
            self._announcing.answered()
            if refused:
                what = "subscribe" if notice.topic == SUBSCRIBE else "unsubscribe"
                logger.warning("The event server failed to %s subscriber %s: %s", what, notice.id, why)

    def _expect(self, number: int, notice: SubscriptionChange) -> None:
        """Remember whom the server's answer will be about; not for ever, since not every server answers."""
        self._notices[number] = notice
        if len(self._notices) > _MOST_NOTICES and self._announcing is not None:
            del self._notices[next(iter(self._notices))]
            self._announcing.answered()

    async def _hang_up(self) -> None:
        try:
            await self._socket.close()
        except Exception as error:
            logger.debug("Closing a connection failed: %s", error)


_websocket_logger = logging.getLogger("rxhub.websocket")
# A program that logs everything would find its cookies and tokens in the log: below this, headers and frames are told.
_websocket_logger.setLevel(logging.INFO)


class _Socket(ClientConnection):
    """A WebSocket that bounds the number of fragments of a message.

    websockets bounds a message's bytes. Fragments that are empty, or one byte each, take a hundred times their length.
    """

    _fragments = 0

    def process_event(self, event: Any) -> None:
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._fragments = 0 if event.fin else self._fragments + 1
            if self._fragments > _MOST_FRAGMENTS:
                logger.warning("The event server sent a message of more than %d fragments.", _MOST_FRAGMENTS)
                cut(self.transport)


class _Connect(connect):
    """Follows no redirection, since our headers would follow it to wherever it leads."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _text(frame: str | bytes) -> str:
    if isinstance(frame, bytes):
        raise ProtocolError("A binary frame was received; a packet is text.")
    return frame


def _shortened(words: object) -> str:
    """What a server says, for the log: not megabytes of it, and no lines that look like others."""
    text = words if isinstance(words, str) else "" if words is None else str(words)
    shown = text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}…"
    return inline(shown)


def _settle(letter: PendingPublish, refusal: str) -> None:
    if refusal:
        logger.error("%s", refusal)
        letter.resolve(EventError(refusal))
    else:
        letter.resolve()
