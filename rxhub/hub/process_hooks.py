"""Closes all hubs when the interpreter exits, and resets them in forked children."""

from __future__ import annotations

import atexit
import logging
from typing import Protocol
from weakref import WeakSet

from rxhub.concurrency.fork import run_after_fork
from rxhub.transport.io_thread import refuse_new_threads

__all__ = ["Living", "watch"]

logger = logging.getLogger("rxhub")


class Living(Protocol):
    """A hub."""

    def close(self, timeout: float = 5) -> None: ...

    def forked(self) -> None: ...


_living: WeakSet[Living] = WeakSet()


def watch(hub: Living) -> None:
    """Close `hub` at exit and reset it after a fork; held weakly."""
    _living.add(hub)


def _close_all() -> None:
    refuse_new_threads()
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
