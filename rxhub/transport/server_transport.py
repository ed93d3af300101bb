"""The base of transports to a server: an outbox, and one session at a time, from `open` to `close`.

The methods are called from any thread and return at once. A session runs on the I/O loop and reports its state to the
hub's sink. The next one may be requested before the last has ended, and waits for its end, since they share the
outbox.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import HubConnectionError
from rxhub.transport import Sink
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.io_thread import in_io_thread, io_loop
from rxhub.transport.outbox import Outbox

__all__ = ["ServerTransport", "TransportSession", "fail_future", "refused"]


class TransportSession(Protocol):
    """From `open` to `close`. All methods are called on the I/O loop."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The I/O loop."""
        ...

    @property
    def ending(self) -> asyncio.Task[None] | None:
        """The task that ends it, after `end`."""
        ...

    def begin(self) -> None:
        """Connect."""
        ...

    def hurry(self) -> None:
        """If it is reconnecting, try at once."""
        ...

    def end(self, timeout: float, reconnecting: bool, ended: Future[None]) -> None:
        """Disconnect; see `Transport.close`."""
        ...


L = TypeVar("L", bound=TransportSession)


class ServerTransport(ABC, Generic[L]):
    """A transport to a server.

    Args:
        left: the predicate of unsent events in the error of `close`, such as "were not stored".
    """

    def __init__(self, outbox: int, left: str) -> None:
        self.outbox = Outbox(outbox)
        self._left = left
        self._session: L | None = None
        self._last: L | None = None
        self._opening = ForkSafeLock()

    @abstractmethod
    def _new_session(self, sink: Sink, loop: asyncio.AbstractEventLoop, last: L | None) -> L:
        """The session after `last`; not started."""

    @property
    def unsent(self) -> int:
        return len(self.outbox)

    @property
    def refused(self) -> int:
        return self.outbox.refused

    def buffer_before_connect(self) -> None:
        self.outbox.open()

    def open(self, sink: Sink) -> None:
        """Connect; if it is reconnecting, try at once.

        Raises HubClosed if the interpreter is exiting, HubConnectionError in the I/O thread, which would wait for
        itself.
        """
        loop = io_loop()
        if in_io_thread():
            raise HubConnectionError(
                "connect() was called in the I/O thread, by a callback of a future, and would wait for itself. Call it "
                "in another thread."
            )
        self.outbox.open()
        # If two sessions started at once, the first would never be ended.
        with self._opening:
            session = self._session
            if session is None:
                new = self._new_session(sink, loop, self._last)
                # A signal handler in this thread may have connected meanwhile.
                session = self._session
                if session is None:
                    self._session = new
                    loop.call_soon_threadsafe(_begin, new)
                    return
            loop.call_soon_threadsafe(session.hurry)

    def wait_for_room(self, timeout: float) -> bool:
        return self.outbox.wait_for_room(timeout)

    def close(self, timeout: float = 5.0, reconnecting: bool = False) -> Future[None]:
        session, self._session = self._session, None
        ended: Future[None] = Future()
        if session is not None:
            self._last = session
            session.loop.call_soon_threadsafe(session.end, timeout, reconnecting, ended)
        elif self.unsent and not reconnecting:
            self.fail_unsent(ended)
        else:
            ended.set_result(None)
        return ended

    def forked(self) -> None:
        self._session = self._last = None

    async def wait_for_previous(self, last: L | None) -> None:
        """Wait until the last session has ended; before the outbox is used or closed."""
        if last is not None and last.ending is not None:
            await asyncio.wait([last.ending])
            self.outbox.open()

    def session_ended(self, session: L) -> None:
        """A session ended by itself."""
        if self._session is session:
            self._session = None

    def report_disconnected(self, sink: Sink, reason: str = "", attempts: int = 0) -> None:
        """Report that a session ended, unless the next one has started, whose state it would seem to be."""
        if self._session is None:
            sink.on_state(ConnectionState(Phase.DISCONNECTED, reason, attempts))

    def fail_unsent(self, ended: Future[None]) -> None:
        """Fail the unsent events; `ended` holds their number as an error."""
        left = len(self.outbox)
        error = HubConnectionError(f"{left} events {self._left} when the hub was disconnected.")
        self.outbox.close(error)
        if left:
            ended.set_exception(error)
        else:
            ended.set_result(None)


def _begin(session: TransportSession) -> None:
    # `close` takes no lock, and may have been called meanwhile.
    if session.ending is None:
        session.begin()


def fail_future(ended: Future[None], error: Exception) -> None:
    """Complete the future of `close` with an error, unless it is done."""
    if not ended.done():
        ended.set_exception(HubConnectionError(f"Disconnecting failed: {type(error).__name__}: {error}"))


def refused(error: Exception) -> Future[None]:
    """The future of an event that was not accepted."""
    future: Future[None] = Future()
    future.set_exception(error)
    return future
