"""What a client is answered: in the order of its packets, though some answers are known later than others.

An event that is stored elsewhere is acknowledged when it is. What the client sends meanwhile is read, and its answers
wait behind that one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from rxhub.concurrency.wakeup import Wakeup

__all__ = ["AckQueue", "SendAck"]

SendAck = Callable[[int | None, BaseException | None], object]


class AckQueue:
    """The answers that a connection owes. All futures are done on the loop of the server.

    Args:
        give: called with a packet's number (None if it wants no answer) and the error, if it was refused.
    """

    __slots__ = ("_closed", "_pending", "_room", "_send_ack", "_wakeup")

    def __init__(self, send_ack: SendAck) -> None:
        self._send_ack = send_ack
        self._pending: deque[tuple[int | None, Future[None] | None, BaseException | None]] = deque()
        self._wakeup = Wakeup()
        self._room = 0
        self._closed = False

    def __len__(self) -> int:
        """How many are not known, or wait behind such."""
        return len(self._pending)

    def add(self, number: int | None, error: BaseException | None = None) -> None:
        """The answer to a packet is known."""
        if self._pending:
            self._pending.append((number, None, error))
        else:
            self._send_ack(number, error)

    def add_pending(self, number: int | None, outcome: Future[None]) -> None:
        """The answer to a packet is known when `outcome` is done; refused, if it holds an exception."""
        self._pending.append((number, outcome, None))
        outcome.add_done_callback(self._proceed)

    def close(self) -> None:
        """The connection has ended: once no answer is owed, it is not referred to any more."""
        self._closed = True
        if not self._pending:
            self._send_ack = _to_nobody

    async def wait(self, most: int, timeout: float) -> None:
        """Return when no more than so many are owed, or after `timeout` seconds.

        One task at a time waits.
        """
        if len(self._pending) <= most:
            return
        self._room = most
        self._wakeup.clear()
        await self._wakeup.wait(timeout)

    def _proceed(self, outcome: Future[None]) -> None:
        pending = self._pending
        while pending:
            number, known_by, error = pending[0]
            if known_by is not None:
                if not known_by.done():
                    break
                error = known_by.exception()
            pending.popleft()
            self._send_ack(number, error)
        if self._closed:
            self.close()
        if len(pending) <= self._room:
            self._wakeup.set()


def _to_nobody(number: int | None, error: BaseException | None) -> None:
    pass
