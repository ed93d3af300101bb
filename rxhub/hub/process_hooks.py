"""What happens to all hubs at once: the interpreter exits, or the process forks."""

from __future__ import annotations

import atexit
import logging
import os
from typing import Protocol
from weakref import WeakSet

from rxhub.dispatching import delivery
from rxhub.hub.runner import start_no_more
from rxhub.transport import io_thread as loop
from rxhub.transport import memory

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
    memory.renew_lock()
    loop.forget()
    delivery.renew_lock()
    for hub in list(_living):
        hub.forked()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_all)
