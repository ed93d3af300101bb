"""Shares one event loop fairly: a limited number of steps in each round, and turns for the rest.

An event loop runs everything that is ready before it checks sockets and timers again. A thousand readers with one
packet each, or a thousand writers with the same event, would block it together, although each is fast. So each asks
before it works. When a round has seen enough work, it waits in a queue of its user. The queues take turns, so a user
with a thousand connections waits as long as a user with one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

__all__ = ["LoopTurns"]

_MIN_STEPS = 200


class LoopTurns:
    """The rounds of the running event loop. After `steps_per_round` (see `Limits.work`), no task starts in a round."""

    def __init__(self, steps_per_round: int) -> None:
        self._steps_per_round = steps_per_round
        self._done = 0
        self._is_scheduled = False
        self._waiting: OrderedDict[str, deque[tuple[asyncio.Future[None], int]]] = OrderedDict()

    @property
    def is_free(self) -> bool:
        """Whether a task may start without waiting."""
        return self._done < self._steps_per_round and not self._waiting

    def spend(self, steps: int) -> None:
        """Count work of this round, at least 200 steps."""
        self._done += max(steps, _MIN_STEPS)
        self._schedule_next_round()

    def _schedule_next_round(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._next_round)

    async def wait(self, user: str, steps: int | None = None) -> None:
        """Wait for a turn of a user, unless `is_free`. `steps` is the expected work; None takes a whole round."""
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
            if not turn.done():  # otherwise it was cancelled
                turn.set_result(None)
                granted += steps
        if self._waiting:
            self._schedule_next_round()
