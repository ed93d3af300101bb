"""How a process lets go of what it holds, when nothing more comes.

What runs may end in its time, and is interrupted after that, as far as it can be. All else is handed back, so that
another process gets it at once. What still runs then is not: whoever got it at once would run beside it. It comes again
when its time is over.

What is handed back comes at once, and what comes first runs first. So where there is an order, nothing is handed back
before everything that may precede it has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from rxhub.transport.nats.processing.acks import NAK
from rxhub.transport.nats.processing.executor import Executor
from rxhub.transport.nats.processing.in_flight import InFlight
from rxhub.transport.nats.processing.job import Job

__all__ = ["drain"]

_LOOK = 0.005
# Seconds that an interrupted handler has for its own ending.
_LAST_WORDS = 1.0


async def drain(workers: Executor, holding: InFlight, deadline: float, in_order: bool) -> int:
    """Hand back what has not begun, and what has when it has ended.

    Args:
        workers: who have nothing any more that has not begun.
        holding: what is held.
        deadline: by the monotonic clock, until when what runs may end.
        in_order: whether events wait for others.

    Returns:
        How many handlers still run, whose events are held.
    """

    def is_busy() -> bool:
        return workers.is_alive and any(job.is_begun for job in holding.jobs.values())

    if not in_order:
        _hand_back(holding, lambda job: not job.is_begun)
    while is_busy() and monotonic() < deadline:
        await asyncio.sleep(_LOOK)
    if is_busy():
        workers.cancel()
        deadline = monotonic() + _LAST_WORDS
        while is_busy() and monotonic() < deadline:
            await asyncio.sleep(_LOOK)
    is_alive = workers.is_alive
    _hand_back(holding, lambda job: not (job.is_begun and is_alive))
    return len(holding.jobs)


def _hand_back(holding: InFlight, which: Callable[[Job], bool]) -> None:
    jobs = [job for job in holding.jobs.values() if which(job)]
    for job in sorted(jobs, key=lambda job: job.message.sequence):
        if job.task is not None:
            job.task.cancel()
        holding.settle(job, NAK)
