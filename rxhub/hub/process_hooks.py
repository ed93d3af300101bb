"""What happens to all hubs at once: the interpreter exits, or the process forks."""

from __future__ import annotations

import atexit
import logging
from typing import Protocol
from weakref import WeakSet

from rxhub.concurrency.fork import run_after_fork
from rxhub.hub.runner import start_no_more
from rxhub.transport import io_thread as loop

__all__ = ["Living", "watch"]

logger = logging.getLogger("rxhub")


class Living(Protocol):
    """What must hear of it."""

    def close(self, timeout: float = 5) -> None:
        """Come to an end."""
        ...

    def forked(self) -> None:
        """Start anew in a child process."""
        ...


_living: WeakSet[Living] = WeakSet()


def watch(hub: Living) -> None:
    """Close `hub` at exit and renew it after a fork, as long as somebody else holds it."""
    _living.add(hub)


def _close_all() -> None:
    start_no_more()
    loop.start_no_more()
    for hub in list(_living):
        try:
            hub.close(timeout=1)
        except Exception as error:
            logger.error("%r could not be closed: %s", hub, error, exc_info=error)


def _fork_all() -> None:
    for hub in list(_living):
        hub.forked()


atexit.register(_close_all)
run_after_fork(_fork_all)
