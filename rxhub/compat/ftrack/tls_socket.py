"""A TLS socket that one thread may read while another one writes.

OpenSSL forbids it for one connection (https://docs.openssl.org/3.0/man7/openssl-threads/), Python's `ssl` does not
prevent it, and `websockets.sync` does it. If a server's session tickets arrive while the request is written, the
request may get lost, and connecting then fails after the server's timeout of ten seconds.
"""

from __future__ import annotations

import selectors
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

__all__ = ["TlsSocket"]

T = TypeVar("T")

# Not epoll, which forgets a file that another thread closes, and then waits forever.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class TlsSocket(ssl.SSLSocket):
    """Calls OpenSSL with a lock, which it does not hold while it waits; a context makes it by its `sslsocket_class`."""

    _lock: Lock | None = None  # once the handshake is done
    _timeout: float | None = None

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        self._timeout = self.gettimeout()
        super().settimeout(0)
        self._lock = Lock()

    def settimeout(self, value: float | None, /) -> None:
        if self._lock is None:
            super().settimeout(value)
        else:
            self._timeout = value

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        return self._retry(lambda: super(TlsSocket, self).recv(buflen, flags), selectors.EVENT_READ)

    def send(self, data: Any, flags: int = 0) -> int:
        return self._retry(lambda: super(TlsSocket, self).send(data, flags), selectors.EVENT_WRITE)

    def close(self) -> None:
        # Ends the wait of another thread, which closing would not.
        with suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)
        super().close()

    def _retry(self, call: Callable[[], T], event: int) -> T:
        if self._lock is None:
            return call()
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while True:
            try:
                with self._lock:
                    return call()
            except ssl.SSLWantReadError:
                wanted = selectors.EVENT_READ
            except ssl.SSLWantWriteError:
                wanted = selectors.EVENT_WRITE
            except BlockingIOError:  # another thread has shut the connection down
                wanted = event
            with _Selector() as selector:
                try:
                    selector.register(self, wanted)
                except ValueError:  # another thread has closed it
                    continue
                if not selector.select(None if deadline is None else deadline - monotonic()):
                    raise TimeoutError("timed out")
