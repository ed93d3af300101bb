"""The accept loop.

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
from rxhub.server.sockets import Sockets, SocketSlot

__all__ = ["Acceptor"]

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_S = 0.05
_WARNING_INTERVAL_S = 60.0

_logger = logging.getLogger("rxhub.server")


class Acceptor:
    """Accepts connections on a listening socket.

    Args:
        listener: the socket.
        sockets: provides a slot for each connection, or rejects it.
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
        self._warned = float("-inf")

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
        if self._context is not None:
            self._sockets.mark_waiting(slot, cast("asyncio.Task[None]", asyncio.current_task()).cancel)
        timeout = None if self._context is None else self._timeout
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
        now = asyncio.get_running_loop().time()
        if now - self._warned < _WARNING_INTERVAL_S:
            return
        self._warned = now
        _logger.warning(
            "Rejecting connections: %s. %d are open, and %d of them have not sent a complete request. The counter "
            "connections_rejected includes them. This warning is logged once a minute.",
            "the limit of connections is reached" if error is None else error,
            len(self._sockets),
            self._sockets.waiting,
        )
