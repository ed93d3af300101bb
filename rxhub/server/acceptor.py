"""The accept loop, and the open sockets that it may close to make room for new ones.

Anyone can open many connections and send nothing. So this module may close a socket without a complete request at any
time: if there is no room for a new connection, it closes the socket that has waited longest. Clients that send their
request at once are not affected, because their sockets only wait for milliseconds. Sockets of clients, and sockets
whose request is being answered, stay open. If there are no others, the new connection is closed.

Without free file descriptors, asyncio's accept loop logs an error for each connection in the backlog, repeatedly. This
one counts the connections that it rejects, and logs them once a minute.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import cast

from rxhub.concurrency.supervise import supervise
from rxhub.server.counters import Counters
from rxhub.server.rate_limit import TokenBucket

__all__ = ["Acceptor", "SocketSlot", "Sockets"]

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_S = 0.05
_WARNINGS_PER_S = 1 / 60

_logger = logging.getLogger("rxhub.server")


class Sockets:
    """The sockets of a server: `most` in all, and `most_waiting` without a complete request."""

    def __init__(self, most: int, most_waiting: int, counters: Counters) -> None:
        self.counters = counters
        self._most = most
        self._most_waiting = most_waiting
        self._open: set[SocketSlot] = set()
        self._waiting: dict[SocketSlot, Callable[[], object]] = {}  # in order of waiting

    def __len__(self) -> int:
        return len(self._open)

    @property
    def waiting(self) -> int:
        """The number of sockets without a complete request."""
        return len(self._waiting)

    def take(self) -> SocketSlot | None:
        """The slot of an accepted socket; None if there is no room, so that the socket must be closed."""
        if (len(self._open) >= self._most or len(self._waiting) >= self._most_waiting) and not self.make_room():
            self.counters.connections_rejected += 1
            return None
        slot = SocketSlot(self)
        self._open.add(slot)
        return slot

    def make_room(self) -> bool:
        """Close the socket that has waited longest for a complete request. False if none waits."""
        for slot, abort in self._waiting.items():
            self.counters.connections_rejected += 1
            self.release(slot)
            abort()
            return True
        return False

    def mark_waiting(self, slot: SocketSlot, abort: Callable[[], object]) -> None:
        """The socket waits for a complete request. `abort` closes it to make room.

        A socket that already waits keeps its position.
        """
        if slot in self._open:
            self._waiting[slot] = abort

    def mark_active(self, slot: SocketSlot) -> None:
        """The request is complete, or the socket is a client's. It stays open."""
        self._waiting.pop(slot, None)

    def release(self, slot: SocketSlot) -> None:
        """The socket is closed. A second call does nothing."""
        self._waiting.pop(slot, None)
        self._open.discard(slot)


class SocketSlot:
    """One open socket.

    Attributes:
        sockets: all sockets of the server.
        accepted: loop time in seconds when the socket was accepted.
    """

    __slots__ = ("accepted", "sockets")

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets
        self.accepted = asyncio.get_running_loop().time()


class Acceptor:
    """Accepts connections on a listening socket.

    Args:
        listener: the socket.
        sockets: all sockets of the server.
        protocol: creates the protocol of a connection. Its `connection_lost` releases the slot.
        context: for TLS; None for plain text.
        timeout: maximum seconds of a TLS handshake and of a TLS shutdown.
    """

    def __init__(
        self,
        listener: socket.socket,
        sockets: Sockets,
        protocol: Callable[[SocketSlot], asyncio.Protocol],
        context: ssl.SSLContext | None,
        timeout: float,
    ) -> None:
        self._listener = listener
        self._sockets = sockets
        self._protocol = protocol
        self._context = context
        self._timeout = timeout
        self._opening: set[asyncio.Task[None]] = set()
        self._spare = -1
        self._warnings = TokenBucket(_WARNINGS_PER_S, 1)

    async def run(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        self._hold_spare()
        try:
            while True:
                try:
                    accepted, _ = await loop.sock_accept(self._listener)
                except OSError as error:
                    if error.errno not in _EXHAUSTED:
                        continue  # the peer has disconnected; accept(2) lists further errors of its network
                    self._warn(error)
                    if not self._sockets.make_room():
                        self._reject()
                    await asyncio.sleep(_PAUSE_S)
                    continue
                slot = self._sockets.take()
                if slot is None:
                    self._warn(None)
                    accepted.close()
                else:
                    opening = supervise(partial(self._open, accepted, slot), "opening a connection")
                    self._opening.add(opening)
                    opening.add_done_callback(self._opening.discard)
                # While connections wait, `sock_accept` returns without yielding to other tasks.
                await asyncio.sleep(0)
        finally:
            for opening in self._opening:
                opening.cancel()
            if self._spare >= 0:
                os.close(self._spare)

    async def _open(self, accepted: socket.socket, slot: SocketSlot) -> None:
        timeout = None
        if self._context is not None:
            self._sockets.mark_waiting(slot, cast("asyncio.Task[None]", asyncio.current_task()).cancel)
            timeout = self._timeout
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._protocol(slot),
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=timeout,
            )
        except OSError:  # the handshake timed out, or the peer does not use TLS
            self._sockets.counters.requests_refused += 1
            self._sockets.release(slot)
        except BaseException:
            self._sockets.release(slot)
            raise

    def _reject(self) -> None:
        """Use the spare descriptor to accept and close one waiting connection."""
        self._sockets.counters.connections_rejected += 1
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        with suppress(OSError):
            self._listener.accept()[0].close()
        self._hold_spare()

    def _hold_spare(self) -> None:
        if self._spare < 0:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)

    def _warn(self, error: OSError | None) -> None:
        if self._warnings.take():
            _logger.warning(
                "Rejecting connections: %s. %d are open, and %d of them have not sent a complete request. The counter "
                "connections_rejected includes them. This warning is logged once a minute.",
                "the limit of connections is reached" if error is None else error,
                len(self._sockets),
                self._sockets.waiting,
            )
