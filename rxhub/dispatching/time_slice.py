"""Time slices: how long dispatching blocks a thread that has other work.

A context that shares its thread, with a user's event loop or the main loop of an application, has *limited* time
slices. When one ends, dispatching pauses between two callbacks. On a loop it goes on after the other tasks; elsewhere
the delivery is handed back, and the context continues it before anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic

from rxhub.dispatching.delivery import Delivery

__all__ = ["TIME_SLICE_S", "TimeSlice"]

TIME_SLICE_S = 0.008
"""Seconds for which callbacks run before other work gets a turn."""

# Turns of the loop until a task runs whose sleep has ended: its timer is found due, its future is set, it runs.
_LOOP_TURNS = 3


class TimeSlice:
    """The time slice of one handling context; `hand_back` takes a delivery that was not finished in it.

    `cancelling` is the number of cancellation requests of the context's task that are not meant for the context. `end`
    is in seconds of `time.monotonic`, if it is `limited`.
    """

    __slots__ = ("_cancelling", "end", "hand_back", "limited")

    def __init__(self, hand_back: Callable[[Delivery], None], cancelling: int = 0) -> None:
        self.hand_back = hand_back
        self._cancelling = cancelling
        self.limited = False
        self.end = inf

    def begin(self) -> None:
        self.limited = True
        self.end = monotonic() + TIME_SLICE_S

    async def yield_to_loop(self) -> None:
        """Let the other tasks of the loop run, and start a new time slice."""
        for _ in range(_LOOP_TURNS):
            await asyncio.sleep(0)
        self.begin()

    def is_cancelled(self) -> bool:
        """Whether the running task, which is the context's, was cancelled."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > self._cancelling
