"""What a client is answered: in the order of its packets, though some answers are known later than others.

An event that is stored elsewhere is acknowledged when it is. What the client sends meanwhile is read, and its answers
wait behind that one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from rxhub.concurrency.wakeup import Wakeup

__all__ = ["Answers", "Give"]

Give = Callable[[int | None, BaseException | None], object]


class Answers:
    """The answers that a connection owes. All futures are done on the loop of the server.

    Args:
        give: called with a packet's number (None if it wants no answer) and the error, if it was refused.
    """

    __slots__ = ("_closed", "_give", "_owed", "_room", "_wakeup")

    def __init__(self, give: Give) -> None:
        self._give = give
        self._owed: deque[tuple[int | None, Future[None] | None, BaseException | None]] = deque()
        self._wakeup = Wakeup()
        self._room = 0
        self._closed = False

    def __len__(self) -> int:
        """How many are not known, or wait behind such."""
        return len(self._owed)

    def now(self, number: int | None, error: BaseException | None = None) -> None:
        """The answer to a packet is known."""
        if self._owed:
            self._owed.append((number, None, error))
        else:
            self._give(number, error)

    def later(self, number: int | None, outcome: Future[None]) -> None:
        """The answer to a packet is known when `outcome` is done; refused, if it holds an exception."""
        self._owed.append((number, outcome, None))
        outcome.add_done_callback(self._proceed)

    def close(self) -> None:
        """The connection has ended: once no answer is owed, it is not referred to any more."""
        self._closed = True
        if not self._owed:
            self._give = _to_nobody

    async def wait(self, most: int, patience: float) -> None:
        """Return when no more than so many are owed, or after `patience` seconds.

        One task at a time waits.
        """
        if len(self._owed) <= most:
            return
        self._room = most
        self._wakeup.clear()
        await self._wakeup.wait(patience)

    def _proceed(self, outcome: Future[None]) -> None:
        owed = self._owed
        while owed:
            number, known_by, error = owed[0]
            if known_by is not None:
                if not known_by.done():
                    break
                error = known_by.exception()
            owed.popleft()
            self._give(number, error)
        if self._closed:
            self.close()
        if len(owed) <= self._room:
            self._wakeup.set()


def _to_nobody(number: int | None, error: BaseException | None) -> None:
    pass
