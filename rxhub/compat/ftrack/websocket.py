"""A blocking WebSocket for ftrack's hub.

rxhub's own connection runs on an event loop. Subclasses of ftrack's hub override methods that are called for each
packet, and their code must not run on an event loop. Here a thread reads, and the publishing threads write.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections import deque
from contextlib import suppress
from time import monotonic, time
from typing import Any

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.transport.socketio.endpoint import Endpoint
from rxhub.transport.socketio.heartbeat import HeartbeatMonitor
from rxhub.transport.socketio.packet import MAX_PACKET

__all__ = ["CONNECT_TIMEOUT_S", "ThreadedWebSocket"]

CONNECT_TIMEOUT_S = 60.0  # of each step of connecting
_CLOSE_TIMEOUT_S = 2.0
_PING_INTERVAL_S = 20.0

# The exceptions contain the same information, and at DEBUG websockets logs the API key.
_discarding_logger = logging.getLogger("rxhub.compat.ftrack.websockets")
_discarding_logger.disabled = True


class ThreadedWebSocket:
    """One open WebSocket of a session.

    After `server_timeout` seconds without a packet the server counts as dead; None if it sends no heartbeats.
    """

    def __init__(
        self, endpoint: Endpoint, session: str, server_timeout: float | None, trust: ssl.SSLContext | None = None
    ) -> None:
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        self._closed = ConnectionClosed
        # Later versions of websockets connect only in __enter__.
        self._socket: Any = connect(
            endpoint.socket_url(session),
            additional_headers=endpoint.socket_headers,
            user_agent_header=None,
            compression=None,
            ssl=trust,
            ping_interval=_PING_INTERVAL_S if server_timeout is None else None,
            ping_timeout=_PING_INTERVAL_S,
            open_timeout=CONNECT_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=4 * MAX_PACKET,  # bytes, of which a character has at most four
            logger=_discarding_logger,
        ).__enter__()
        self._heartbeat = HeartbeatMonitor(server_timeout, monotonic(), time())
        self._outgoing: deque[bytes | None] = deque()
        self._writing = False
        self._mutex = ForkSafeLock()

    @property
    def connected(self) -> bool:
        """Whether the connection is open, as far as is known."""
        return self._socket.protocol.state.name == "OPEN"

    @property
    def sock(self) -> socket.socket:
        """The underlying socket, as in ftrack's client."""
        return self._socket.socket

    def send(self, packet: str) -> None:
        """Send one packet; if a signal handler interrupted this thread while it sends, after that.

        Raises OSError if the connection is broken or closed.
        """
        if not isinstance(packet, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"A packet is a string, but {type(packet).__name__} was given.")
        # Encoded first: an error while sending would end the connection.
        self._write(packet.encode())

    @property
    def has_unsent(self) -> bool:
        """Whether packets wait for an interrupted thread to go on sending."""
        return bool(self._outgoing)

    def _write(self, encoded: bytes | None) -> None:
        """Send a packet, or close (None), after packets that are being sent.

        The lock of websockets is not reentrant, so a signal handler that interrupts its holder would deadlock. This
        lock is reentrant: the handler finds that its thread is writing, and leaves its packet to that thread.
        """
        with self._mutex:
            self._outgoing.append(encoded)
            while self._outgoing and not self._writing:
                self._writing = True
                try:
                    first = self._outgoing.popleft()
                    if first is None:
                        self._socket.close()
                    else:
                        self._socket.send(first, text=True)
                except self._closed as error:
                    raise ConnectionError(str(error)) from error
                finally:
                    self._writing = False

    def recv(self) -> str | bytes:
        """Wait for one packet; raises OSError if the connection ended, or the server is silent."""
        while True:
            try:
                packet: str | bytes = self._socket.recv(timeout=self._heartbeat.interval)
            except TimeoutError:
                why = self._heartbeat.look(monotonic(), time())
                if why:
                    # A silent server does not answer a closing handshake.
                    self.abort()
                    raise ConnectionError(why) from None
            except self._closed as error:
                raise ConnectionError(str(error)) from error
            else:
                self._heartbeat.heard(monotonic())
                return packet

    def close(self) -> None:
        """Close the connection; harmless if it is closed. In a signal handler, like `send`."""
        with suppress(OSError):
            self._write(None)

    def abort(self) -> None:
        """Close the socket without a handshake; waiting threads get an error."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def detach(self) -> None:
        """Release the socket in a forked child, while the parent keeps using it."""
        with suppress(OSError):
            os.close(self.sock.detach())
