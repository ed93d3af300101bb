"""Cancel tasks and wait until they finish."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["cancel_and_wait"]

_AGAIN = 0.05


async def cancel_and_wait(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks, and return when they have ended; what they raise is theirs.

    Until Python 3.12 `asyncio.wait_for`, which nats-py uses, loses a cancellation that comes together with what it
    waits for. So the task is cancelled again if it does not end.
    A caller that is cancelled while it waits finishes waiting first.
    """
    own = asyncio.current_task()
    given = [task for task in tasks if task is not None and task is not own]
    interrupted: asyncio.CancelledError | None = None
    while left := [task for task in given if not task.done()]:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left, timeout=_AGAIN)
        except asyncio.CancelledError as error:
            interrupted = error
    for task in given:
        if not task.cancelled():
            task.exception()
    if interrupted is not None:
        raise interrupted
