"""Graceful drain of in-flight messages.

Running handlers may finish until the deadline. Then they are cancelled, if that is possible. All other messages are
returned to the server, so that another process receives them at once. Messages of handlers that still run are not
returned: another process would handle them at the same time. The server redelivers them after `ACK_WAIT_S`.

Returned messages are redelivered at once. With ordering by key, nothing is therefore returned before everything that
may precede it has finished.
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

_POLL_S = 0.005
_CANCEL_TIMEOUT_S = 1.0


async def drain(executor: Executor, in_flight: InFlight, deadline: float, in_order: bool) -> list[Job]:
    """Return all messages to the server, running ones after their handlers have finished.

    `deadline`: for running handlers, as `time.monotonic()` counts. Returns the jobs whose handlers still run. Their
    messages are not returned.
    """

    async def wait_for_handlers(until: float) -> bool:
        """Whether all have finished."""
        while executor.is_alive and any(job.is_started for job in in_flight.jobs.values()):
            if monotonic() >= until:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    if not in_order:
        _return(in_flight, lambda job: not job.is_started)
    if not await wait_for_handlers(deadline):
        executor.cancel()
        await wait_for_handlers(monotonic() + _CANCEL_TIMEOUT_S)
    is_alive = executor.is_alive
    _return(in_flight, lambda job: not (job.is_started and is_alive))
    return list(in_flight.jobs.values())


def _return(in_flight: InFlight, condition: Callable[[Job], bool]) -> None:
    jobs = [job for job in in_flight.jobs.values() if condition(job)]
    for job in sorted(jobs, key=lambda job: job.message.sequence):
        if job.task is not None:
            job.task.cancel()
        in_flight.settle(job, NAK)
