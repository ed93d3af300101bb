"""The accept loop.

asyncio's own accepts as many connections as there are descriptors. Without descriptors it logs an error for each
place in the backlog, again and again. This one counts what it rejects and logs it once a minute.
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
from typing import cast

from rxhub.server.sockets import Sockets, SocketSlot

__all__ = ["Acceptor"]

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_S = 0.05
_WARNING_INTERVAL_S = 60.0

_logger = logging.getLogger("rxhub.server")


class Acceptor:
    """Accepts connections at a socket that listens.

    Args:
        listener: the socket.
        sockets: where each connection takes a slot, or is rejected.
        protocol: makes the protocol of a connection. Its `connection_lost` releases the slot.
        context: for TLS; None for plain text.
        timeout: seconds for which a TLS handshake, and the end of TLS, may take.
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
        """Accept until it is cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        self._hold_spare()
        try:
            while True:
                try:
                    accepted, _ = await loop.sock_accept(self._listener)
                except OSError as error:
                    if error.errno not in _EXHAUSTED:
                        continue  # the peer has gone meanwhile; accept(2) lists what else its network may report
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
                    opening = loop.create_task(self._open(accepted, slot))
                    self._opening.add(opening)
                    opening.add_done_callback(self._opening.discard)
                # While connections wait to be accepted, `sock_accept` lets nobody else have a turn.
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
        except OSError:  # of the handshake: it took too long, or the peer does not speak TLS
            self._sockets.counters.requests_refused += 1
            self._sockets.release(slot)
        except BaseException:
            self._sockets.release(slot)
            raise

    def _reject(self) -> None:
        """Give up the spare descriptor for as long as it takes to close a connection that waits to be accepted."""
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
            "Connections are rejected: %s. %d are open, %d of which wait for a request. They are counted as "
            "connections_rejected; this is logged once a minute.",
            "there is no room for more" if error is None else error,
            len(self._sockets),
            self._sockets.waiting,
        )
