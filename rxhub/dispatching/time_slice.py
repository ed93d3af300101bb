"""How long dispatching keeps a loop from its other work, and where a delivery goes that could not be finished.

A context that shares its thread with others, a user's loop or a host application's main loop, has *limited* turns:
when one is over, dispatching pauses between two callbacks. On a loop it goes on behind the other tasks; elsewhere the
delivery is handed back, and the context comes back to it before anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic

from rxhub.dispatching.delivery import Delivery

__all__ = ["TIME_SLICE_S", "TimeSlice"]

TIME_SLICE_S = 0.008
"""Seconds for which callbacks run before others get their time_slice."""

# Cycles of the loop that a task needs whose sleep is over: its timer is found due, its future is set, it runs.
_CYCLES = 3


class TimeSlice:
    """The turn of one handling context.

    Args:
        hand_back: takes a delivery that some of its subscribers have not got yet.
        cancelling: how many cancellations of the context's task are none of the context.

    Attributes:
        hand_back: as given.
        limited: whether the turn ends by time.
        end: when it ends, in seconds of `time.monotonic`.
    """

    __slots__ = ("_cancelling", "end", "hand_back", "limited")

    def __init__(self, hand_back: Callable[[Delivery], None], cancelling: int = 0) -> None:
        self.hand_back = hand_back
        self._cancelling = cancelling
        self.limited = False
        self.end = inf

    def begin(self) -> None:
        """Begin a limited turn now."""
        self.limited = True
        self.end = monotonic() + TIME_SLICE_S

    async def yield_to_loop(self) -> None:
        """Let the loop's other tasks run, and begin a new time_slice."""
        for _ in range(_CYCLES):
            await asyncio.sleep(0)
        self.begin()

    def is_cancelled(self) -> bool:
        """Whether the running task, which is the context's, is to end."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > self._cancelling
