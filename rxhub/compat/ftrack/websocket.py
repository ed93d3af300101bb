"""A WebSocket for threads, as ftrack's hub uses it.

rxhub's own line lives on an event loop. Subclasses of ftrack's hub, though, override what is called for each packet,
and their code must run neither on a loop nor behind one; so here a thread reads, and whoever publishes writes.
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

__all__ = ["PATIENCE", "Line"]

PATIENCE = 60.0
"""Seconds that a server has for each step of connecting."""

_FAREWELL = 2.0
_PING = 20.0

# What it has to say is in the exceptions already; and at DEBUG it would log the key.
_silent = logging.getLogger("rxhub.compat.ftrack.websockets")
_silent.disabled = True


class Line:
    """One open WebSocket.

    Args:
        endpoint: the server.
        session: the id of the session.
        patience: seconds after which a server that says nothing is taken for dead; None if it sends no heartbeats.
        trust: whose certificates are accepted; None for the default.

    Raises:
        OSError: if the server cannot be reached.
        websockets.exceptions.WebSocketException: if it does not let us in.
    """

    def __init__(
        self, endpoint: Endpoint, session: str, patience: float | None, trust: ssl.SSLContext | None = None
    ) -> None:
        from websockets.sync.client import connect

        # Entered, as one would by `with`: later versions connect only then.
        self._socket: Any = connect(
            endpoint.socket_url(session),
            additional_headers=endpoint.socket_headers,
            user_agent_header=None,
            compression=None,
            ssl=trust,
            ping_interval=_PING if patience is None else None,
            ping_timeout=_PING,
            open_timeout=PATIENCE,
            close_timeout=_FAREWELL,
            max_size=4 * MAX_PACKET,  # bytes, of which a character has at most four
            logger=_silent,
        ).__enter__()
        self._watchdog = HeartbeatMonitor(patience, monotonic(), time())
        self._outgoing: deque[bytes | None] = deque()
        self._writing = False
        self._mutex = ForkSafeLock()

    @property
    def connected(self) -> bool:
        """Whether both ends are there, as far as is known."""
        return self._socket.protocol.state.name == "OPEN"

    @property
    def sock(self) -> socket.socket:
        """The socket below, for who looks for it."""
        return self._socket.socket

    def send(self, packet: str) -> None:
        """Send one packet; from a signal handler that has interrupted this thread while it sends, after that.

        Raises:
            OSError: if the connection is broken or closed.
            TypeError: if the packet is no text.
            UnicodeEncodeError: if UTF-8 cannot carry it.
        """
        if not isinstance(packet, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"A packet is text, but {type(packet).__name__} was given.")
        # Before it is sent: an error in the middle of sending would end the connection.
        self._write(packet.encode())

    @property
    def has_unsent(self) -> bool:
        """Whether something waits until this thread, which is interrupted while it sends, goes on."""
        return bool(self._outgoing)

    def _write(self, encoded: bytes | None) -> None:
        """Send a packet, or close (None), behind what is being sent.

        websockets' own lock is not reentrant: a signal handler that called it within itself would wait for ever. With
        this lock a handler gets in; it finds that its thread is writing, and leaves the rest to it.
        """
        from websockets.exceptions import ConnectionClosed

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
                except ConnectionClosed as error:
                    raise ConnectionError(str(error)) from error
                finally:
                    self._writing = False

    def recv(self) -> str | bytes:
        """Wait for one packet.

        Raises:
            OSError: if the connection is broken or closed, the server is silent, or the computer has slept.
        """
        from websockets.exceptions import ConnectionClosed

        while True:
            try:
                packet: str | bytes = self._socket.recv(timeout=self._watchdog.interval)
            except TimeoutError:
                why = self._watchdog.look(monotonic(), time())
                if why:
                    # No use in a farewell to who does not listen.
                    self.abandon()
                    raise ConnectionError(why) from None
            except ConnectionClosed as error:
                raise ConnectionError(str(error)) from error
            else:
                self._watchdog.heard(monotonic())
                return packet

    def close(self) -> None:
        """Say goodbye and close; harmless if it is closed. Within a signal handler as `send`."""
        with suppress(OSError):
            self._write(None)

    def abandon(self) -> None:
        """Cut the connection: whoever sends or waits is woken up by an error."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        """Forget the socket without a word; for a child process, whose parent goes on with it."""
        with suppress(OSError):
            os.close(self.sock.detach())
