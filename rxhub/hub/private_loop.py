"""The asyncio loop of a handling context in a thread without one.

It is created for the first coroutine callback and closed with the context. It runs while the context waits for events,
and for a moment every few milliseconds between plain callbacks, but not during them: they may use `asyncio.run`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from time import monotonic
from typing import Any

from rxhub.hub.inbox import Inbox

__all__ = ["END_S", "PrivateLoop"]

END_S = 5.0
"""How long cancelled tasks may take to end when their context ends."""

_AGAIN_S = 0.5
_STEPS = 4

logger = logging.getLogger("rxhub")


class PrivateLoop:
    """A loop that is created on first use."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def made(self) -> bool:
        return self._loop is not None

    @property
    def busy(self) -> bool:
        return self._loop is not None and bool(asyncio.all_tasks(self._loop))

    def run(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
        """Run a coroutine to its end, and other tasks meanwhile; its result."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(self._loop.create_task(coroutine, context=context))

    def wait(self, inbox: Inbox, timeout: float | None) -> None:
        """Run until the inbox may have an item, or `timeout` seconds have passed."""
        if self._loop is None:
            inbox.wait(timeout)
        else:
            self._loop.run_until_complete(inbox.wait_async(timeout))

    def turn(self) -> None:
        if self._loop is not None:
            self._loop.run_until_complete(_steps())

    def close(self) -> None:
        """Cancel the tasks, wait for their end, and close the loop."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            _end_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    def forked(self) -> None:
        if self._loop is not None:
            _of_the_parent.append(self._loop)
            self._loop = None


async def _steps() -> None:
    for _ in range(_STEPS):
        await asyncio.sleep(0)


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    end = monotonic() + END_S
    # More than once: a task may swallow a cancellation, or start another task at its end.
    while tasks := asyncio.all_tasks(loop):
        left = end - monotonic()
        if left <= 0:
            logger.warning(
                "%d tasks of callbacks did not end within %g s of being cancelled and are abandoned: %s",
                len(tasks),
                END_S,
                ", ".join(sorted(task.get_name() for task in tasks)),
            )
            # Kept: asyncio logs an error if a pending task is destroyed.
            _abandoned.extend(tasks)
            return
        for task in tasks:
            task.cancel()
        done, _ = loop.run_until_complete(asyncio.wait(tasks, timeout=min(left, _AGAIN_S)))
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("%s failed when it was cancelled: %s", task.get_name(), error, exc_info=error)


_abandoned: list[asyncio.Task[Any]] = []

# Loops that a fork has copied. Closing one, as its finalizer does, would break the parent's: they share an epoll set.
_of_the_parent: list[asyncio.AbstractEventLoop] = []
