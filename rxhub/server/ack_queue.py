"""Sends acknowledgements in the order of a client's packets, although some are known later than others.

An event with a backplane is acknowledged when it is stored. The acknowledgements of the client's later packets wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from rxhub.concurrency.wakeup import Wakeup

__all__ = ["AckQueue", "SendAck"]

SendAck = Callable[[int | None, BaseException | None], object]


class AckQueue:
    """The pending acknowledgements of a connection. All futures complete on the event loop of the server.

    Args:
        send_ack: called with the number of a packet (None if it needs no acknowledgement), and the error or None.
    """

    __slots__ = ("_closed", "_pending", "_room", "_send_ack", "_wakeup")

    def __init__(self, send_ack: SendAck) -> None:
        self._send_ack = send_ack
        self._pending: deque[tuple[int | None, Future[None] | None, BaseException | None]] = deque()
        self._wakeup = Wakeup()
        self._room = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, number: int | None, error: BaseException | None = None) -> None:
        """Acknowledge a packet, or reject it with an error."""
        if self._pending:
            self._pending.append((number, None, error))
        else:
            self._send_ack(number, error)

    def add_pending(self, number: int | None, outcome: Future[None]) -> None:
        """Acknowledge a packet when `outcome` is done, or reject it if `outcome` holds an exception."""
        self._pending.append((number, outcome, None))
        outcome.add_done_callback(self._proceed)

    def close(self) -> None:
        """The connection is closed. Drop the reference to it once nothing is pending."""
        self._closed = True
        if not self._pending:
            self._send_ack = _discard

    async def wait(self, limit: int, timeout: float) -> None:
        """Wait until at most `limit` acknowledgements are pending, or for `timeout` seconds. Only one task may wait."""
        if len(self._pending) <= limit:
            return
        self._room = limit
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


def _discard(number: int | None, error: BaseException | None) -> None:
    pass
