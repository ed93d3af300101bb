"""Who works next, where everybody shares one loop: so many steps in one round of the loop, then the others' turn.

Theory of operation. A loop runs whatever is ready before it looks at sockets and clocks again. Of a thousand readers
that each have a packet, or a thousand writers that got the same event, each is quick, and all together would keep the
loop for as long as they take. So each asks before it works. In a round that has seen enough work it has to wait: in a
queue of its user's, and of these queues each lets in one after the other, so that a user with a thousand connections
waits for a turn as long as one with a single one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

__all__ = ["LoopTurns"]

_MIN_STEPS = 200


class LoopTurns:
    """The rounds of the loop that is running.

    Args:
        steps_per_round: steps of work in one round, after which nobody begins; see `rxhub.server.limits.Limits.work`.
    """

    __slots__ = ("_done", "_is_scheduled", "_steps_per_round", "_waiting")

    def __init__(self, steps_per_round: int) -> None:
        self._steps_per_round = steps_per_round
        self._done = 0
        self._is_scheduled = False
        self._waiting: OrderedDict[str, deque[tuple[asyncio.Future[None], int]]] = OrderedDict()

    @property
    def is_free(self) -> bool:
        """Whether one may begin without waiting."""
        return self._done < self._steps_per_round and not self._waiting

    def spend(self, steps: int) -> None:
        """Count what was done in this round; the least of things takes some steps too."""
        self._done += max(steps, _MIN_STEPS)
        if not self._is_scheduled:
            self._schedule_next_round()

    def _schedule_next_round(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._next_round)

    async def wait(self, user: str, steps: int | None = None) -> None:
        """Wait for one's turn; not if there was little work in this round, and nobody waits.

        Args:
            user: who wants it.
            steps: how many it will take; if that is not known, it has a round of its own.
        """
        if self.is_free:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append((turn, self._steps_per_round if steps is None else steps))
        self._schedule_next_round()
        await turn

    def _next_round(self) -> None:
        self._done = 0
        self._is_scheduled = False
        granted = 0
        while self._waiting and granted < self._steps_per_round:
            user, queue = self._waiting.popitem(last=False)
            turn, steps = queue.popleft()
            if queue:
                self._waiting[user] = queue
            if not turn.done():  # else whoever waited was cancelled
                turn.set_result(None)
                granted += steps
        if self._waiting:
            self._schedule_next_round()
