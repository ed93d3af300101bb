"""What the transports to a server have in common: an outbox, and one life at a time, from `open` to `close`.

The methods are called from any thread and return at once. A life runs on the background loop and tells the hub's sink
what becomes of it. The next one may be asked for before the last has ended, and begins when it has: two at once would
share the outbox.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from concurrent.futures import Future
from threading import RLock
from typing import Generic, Protocol, TypeVar

from rxhub.errors import HubConnectionError
from rxhub.transport import Sink
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.io_thread import background, in_its_thread
from rxhub.transport.outbox import Outbox

__all__ = ["Life", "Remote", "fail", "refused"]


class Life(Protocol):
    """From `open` to `close`. All methods are called on its loop."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it runs."""
        ...

    @property
    def ending(self) -> asyncio.Task[None] | None:
        """What ends it; None while nobody has asked for that."""
        ...

    def begin(self) -> None:
        """Connect."""
        ...

    def hurry(self) -> None:
        """If it is connecting again, do not wait for the next attempt."""
        ...

    def end(self, timeout: float, keep: bool, ended: Future[None]) -> None:
        """Hang up; see `Transport.close`."""
        ...


L = TypeVar("L", bound=Life)


class Remote(ABC, Generic[L]):
    """A transport to a server.

    Args:
        outbox: how many events may wait for being accepted by the server.
        left: what is said of events that are left at the end, such as "were not stored".

    Raises:
        ValueError: if the outbox has no room at all.
    """

    def __init__(self, outbox: int, left: str) -> None:
        self.outbox = Outbox(outbox)
        self._left = left
        self._life: L | None = None
        self._last: L | None = None
        self._opening = RLock()

    @abstractmethod
    def _new_life(self, sink: Sink, loop: asyncio.AbstractEventLoop, last: L | None) -> L:
        """The life after `last`, which has not begun."""

    @property
    def unsent(self) -> int:
        return len(self.outbox)

    @property
    def refused(self) -> int:
        return self.outbox.refused

    def hold(self) -> None:
        self.outbox.reopen()

    def open(self, sink: Sink) -> None:
        """Connect; if it is connecting again already, do not wait for the next attempt.

        Raises:
            HubClosed: if the interpreter is exiting.
            HubConnectionError: if it is called where it could only wait for itself.
        """
        loop = background()
        if in_its_thread():
            raise HubConnectionError(
                "connect() was called in the network's own thread, by a callback of a future, which would wait for "
                "itself. Hand it to another thread."
            )
        self.outbox.reopen()
        # Of two lives that begin at once, nobody would end the first.
        with self._opening:
            life = self._life
            if life is None:
                new = self._new_life(sink, loop, self._last)
                # A signal handler in this thread may have connected meanwhile.
                life = self._life
                if life is None:
                    self._life = new
                    loop.call_soon_threadsafe(_begin, new)
                    return
            loop.call_soon_threadsafe(life.hurry)

    def wait_for_room(self, timeout: float) -> bool:
        return self.outbox.wait_for_room(timeout)

    def close(self, timeout: float = 5.0, keep: bool = False) -> Future[None]:
        life, self._life = self._life, None
        ended: Future[None] = Future()
        if life is not None:
            self._last = life
            life.loop.call_soon_threadsafe(life.end, timeout, keep, ended)
        elif self.unsent and not keep:
            self.settle_accounts(ended)
        else:
            ended.set_result(None)
        return ended

    def forked(self) -> None:
        self._life = self._last = None
        self._opening = RLock()
        self.outbox.forked()

    async def follow(self, last: L | None) -> None:
        """Wait until the last life has ended; before the outbox is used, and before its accounts are settled."""
        if last is not None and last.ending is not None:
            await asyncio.wait([last.ending])
            self.outbox.reopen()

    def over(self, life: L) -> None:
        """A life has ended by itself."""
        if self._life is life:
            self._life = None

    def ended(self, sink: Sink, reason: str = "", attempts: int = 0) -> None:
        """A life has ended; if another one has begun meanwhile, that it is disconnected would be taken for its news."""
        if self._life is None:
            sink.changed(ConnectionState(Phase.DISCONNECTED, reason, attempts))

    def settle_accounts(self, ended: Future[None]) -> None:
        """Give up what is left, and tell how much it was."""
        left = len(self.outbox)
        error = HubConnectionError(f"{left} events {self._left} when the hub was disconnected.")
        self.outbox.give_up(error)
        if left:
            ended.set_exception(error)
        else:
            ended.set_result(None)


def _begin(life: Life) -> None:
    # `close`, which takes no lock, may have come in between.
    if life.ending is None:
        life.begin()


def fail(ended: Future[None], error: Exception) -> None:
    """Tell a caller of `close` that disconnecting failed, unless it was told before."""
    if not ended.done():
        ended.set_exception(HubConnectionError(f"Disconnecting failed: {type(error).__name__}: {error}"))


def refused(error: Exception) -> Future[None]:
    """The future of an event that was not taken in."""
    future: Future[None] = Future()
    future.set_exception(error)
    return future
