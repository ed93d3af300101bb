"""Where handlers run: what all kinds of workers have in common, and how their results come back.

A handler may take a microsecond or an hour. So a job costs a worker no more than taking it from a queue and putting
its result into another, and the network's loop is woken once for many results: the first one wakes it at once, what
follows within a millisecond is fetched together, or as soon as nothing more is to come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from rxhub.transport.nats.processing.job import Job

__all__ = ["Callback", "Executor", "OnResult", "Result", "ResultQueue"]

Callback = Callable[[], object]
"""What is to run where the handlers do, such as the observers of failures."""

# Seconds for which results are gathered while others are still to come.
_GATHERING = 0.001


class Result(NamedTuple):
    """What came of a job.

    Attributes:
        job: which.
        run: which run of it, as `job.run` was when it was handed over.
        error: what the handler raised; `Expired` if it was not called at all.
        took: for how many seconds the handler ran.
    """

    job: Job
    run: int
    error: BaseException | None
    took: float


OnResult = Callable[[Result], None]
"""Takes what has ended, from any thread."""


class Executor(Protocol):
    """What calls handlers. All methods are called on the network's loop, and return at once."""

    @property
    def is_alive(self) -> bool:
        """Whether a handler can be called: the loop that it runs on may have ended."""
        ...

    def start(self) -> None:
        """Be ready."""
        ...

    def put(self, job: Job) -> None:
        """Call the handler when there is somebody to do it."""
        ...

    def tell(self, errand: Callback) -> None:
        """Do it between two handlers."""
        ...

    def withdraw(self) -> list[Job]:
        """Take back what has not been begun, in order."""
        ...

    def overdue(self, timeout: float) -> list[Job]:
        """Whose handlers have been running for more than so many seconds, and are not ended by the workers."""
        ...

    def give_up(self, job: Job) -> None:
        """Its handler is waited for no more; another one takes its place."""
        ...

    def cancel(self) -> None:
        """Interrupt what runs, as far as it can be."""
        ...

    def stop(self) -> None:
        """Begin nothing any more; what runs may end by itself."""
        ...


class ResultQueue:
    """Brings what workers return to the network's loop.

    Args:
        loop: the network's.
        take: called there with all that has ended, in order.
        more_to_come: whether there is work left for the workers, so that further results may be waited for.
        in_hand: how many jobs the workers have, those included that have been put here and not taken.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[list[Result]], None],
        more_to_come: Callable[[], bool],
        in_hand: Callable[[], int],
    ) -> None:
        self._loop = loop
        self._take = take
        self._more_to_come = more_to_come
        self._in_hand = in_hand
        self._waiting: deque[Result] = deque()
        self._is_scheduled = False

    def put(self, returned: Result) -> None:
        """Take a result, from any thread."""
        self._waiting.append(returned)
        if not self._is_scheduled or len(self._waiting) == self._in_hand():
            self._is_scheduled = True
            # The loop of a process that ends.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        # Reset before the look: what comes in between schedules another call.
        self._is_scheduled = False
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(len(waiting))]
        if not batch:
            return
        self._take(batch)
        if self._more_to_come():
            self._is_scheduled = True
            self._loop.call_later(_GATHERING, self._collect)
