"""Long-lived tasks: unexpected errors are logged, counted, and acted upon.

asyncio reports the error of a task only when the task is garbage-collected, which never happens to a task that is
stored. `supervise` reports it at once, then restarts the work or calls what depends on it. It also keeps the task
alive: event loops hold their tasks weakly.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, TypeVar

from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.event_loop import is_cancelling

__all__ = ["failures", "report", "supervise"]

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
# After running for this long, work that fails is restarted after the first pause again.
_STABLE_S = 10.0

T = TypeVar("T")

logger = logging.getLogger("rxhub")

failures: Counter[str] = Counter()
"""How often each long-lived task of this process failed unexpectedly, by the name of the task."""

_tasks: set[asyncio.Task[Any]] = set()


def supervise(
    work: Callable[[], Coroutine[Any, Any, T]],
    name: str,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    expected: tuple[type[Exception], ...] = (),
    failed: Callable[[Exception], object] | None = None,
    restart: bool = False,
) -> asyncio.Task[T]:
    """Run a coroutine function as a task, and report the error that ends it.

    Awaiting the task raises the error too. A cancellation that was not requested of the task counts as an error.

    Args:
        work: the coroutine function.
        name: of the task, for the log and for `failures`.
        loop: where it runs. Default: the running loop.
        expected: errors that the creator handles itself; they are neither reported nor retried.
        failed: called with an unexpected error, to stop what depends on the task; not with `restart`.
        restart: call `work` again after an unexpected error, with delays that grow from 0.1 to 5 seconds.
    """
    loop = loop or asyncio.get_running_loop()
    task = loop.create_task(_supervised(work, name, expected, failed, restart), name=f"rxhub {name}")
    _tasks.add(task)
    task.add_done_callback(_discard)
    return task


def report(name: str, error: BaseException, about: str = "") -> None:
    """Log and count an unexpected error of a long-lived task; `about` is what it was working on, such as an event."""
    failures[name] += 1
    where = f"{name} ({about})" if about else name
    logger.error("Internal error in the task %r: %s: %s", where, type(error).__name__, error, exc_info=error)


async def _supervised(
    work: Callable[[], Coroutine[Any, Any, T]],
    name: str,
    expected: tuple[type[Exception], ...],
    failed: Callable[[Exception], object] | None,
    restart: bool,
) -> T:
    backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
    while True:
        began = monotonic()
        try:
            return await work()
        except expected:
            raise
        except (Exception, asyncio.CancelledError) as raised:
            if isinstance(raised, Exception):
                error = raised
            elif is_cancelling():
                raise
            else:
                error = RuntimeError("It awaited something that was cancelled.")
            report(name, error)
            if not restart:
                if failed is not None:
                    failed(error)
                raise error from None
        if monotonic() - began > _STABLE_S:
            backoff.reset()
        await asyncio.sleep(backoff.delay())


def _discard(task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    # The error was reported, or the creator handles it: keep asyncio from reporting it again.
    if not task.cancelled():
        task.exception()
