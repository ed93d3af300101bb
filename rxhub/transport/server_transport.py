"""The base of transports to a server: an outbox, and one session at a time, from `open` to `close`.

The methods are called from any thread and return at once. A session runs on the I/O loop and reports its state to the
hub's sink. The next one may be requested before the last has ended, and waits for its end, since they share the
outbox.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.concurrency.supervise import supervise
from rxhub.errors import HubConnectionError
from rxhub.transport import Sink
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.io_thread import in_io_thread, io_loop
from rxhub.transport.outbox import Outbox

__all__ = ["ServerTransport", "SessionHost", "TransportSession", "refused"]


class SessionHost(Protocol):
    """What a session needs of its transport; see `ServerTransport`."""

    outbox: Outbox

    def session_ended(self, session: Any) -> None: ...
    def report_disconnected(self, sink: Sink, reason: str = "", attempts: int = 0) -> None: ...
    def fail_unsent(self, ended: Future[None]) -> None: ...


H = TypeVar("H", bound=SessionHost)


class TransportSession(ABC, Generic[H]):
    """From `open` to `close`. Everything but the constructor runs on the I/O loop."""

    server: ClassVar[str]  # the kind of server, for the log

    def __init__(
        self, transport: H, sink: Sink, loop: asyncio.AbstractEventLoop, last: TransportSession[Any] | None
    ) -> None:
        self.loop = loop
        self.task: asyncio.Task[None] | None = None  # connects, and may go on while connected; None before it has begun
        self.ending: asyncio.Task[None] | None = None  # ends the session; None before
        self._transport = transport
        self._sink = sink
        self._last = last

    @abstractmethod
    async def run(self) -> None:
        """Connect, and report the state to the sink."""

    @abstractmethod
    async def disconnect(self, timeout: float) -> None:
        """Send what is unsent, within `timeout` seconds, and disconnect."""

    @abstractmethod
    def hurry(self) -> None:
        """If it is reconnecting, try at once."""

    def on_end(self, reconnecting: bool) -> None:
        """Clean up when it has ended; with `reconnecting`, the next one continues."""

    def begin(self) -> None:
        """Connect, unless `close`, which takes no lock, was called meanwhile."""
        if self.ending is None:
            self.task = supervise(self._run, f"connection to {self.server}", loop=self.loop, failed=self._failed)

    def end(self, timeout: float, reconnecting: bool, ended: Future[None]) -> None:
        def failed(error: Exception) -> None:
            if not ended.done():
                ended.set_exception(HubConnectionError(f"Disconnecting failed: {type(error).__name__}: {error}"))

        name = f"disconnecting from {self.server}"
        self.ending = supervise(lambda: self._end(timeout, reconnecting, ended), name, loop=self.loop, failed=failed)

    async def _run(self) -> None:
        await self._wait_for_previous()
        self._last = None
        await self.run()

    def _failed(self, error: Exception) -> None:
        """Report an internal error, also to a waiting `connect`."""
        self._transport.session_ended(self)
        self._transport.report_disconnected(self._sink, f"{type(error).__name__}: {error}")

    async def _end(self, timeout: float, reconnecting: bool, ended: Future[None]) -> None:
        await self._wait_for_previous()
        try:
            await self.disconnect(timeout)
        finally:
            self.on_end(reconnecting)
            self._transport.report_disconnected(self._sink)
            if reconnecting:
                ended.set_result(None)
            else:
                self._transport.fail_unsent(ended)

    async def _wait_for_previous(self) -> None:
        """Wait until the last session has ended; before the outbox is used or closed."""
        last = self._last
        if last is not None and last.ending is not None:
            await asyncio.wait([last.ending])
            self._transport.outbox.open()


L = TypeVar("L", bound=TransportSession[Any])


class ServerTransport(ABC, Generic[L]):
    """A transport to a server.

    `left` is the predicate of unsent events in the error of `close`, such as "were not stored".
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
        """Connect, or try at once. Raises HubClosed at exit, HubConnectionError in the I/O thread."""
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
                    loop.call_soon_threadsafe(new.begin)
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


def refused(error: Exception) -> Future[Any]:
    """The future of what was not accepted."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
