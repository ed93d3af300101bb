"""Limits the duration of garbage collections, regardless of the number of objects.

A full collection visits all objects: 60 to 180 ms for 20,000 subscriptions, during which the event loop is blocked. So
objects that survive a full collection are frozen (`gc.freeze`), and the next one visits only newer objects. Reference
counting still frees frozen objects.

Frozen objects in reference cycles remain: about 2 KB for each client that disconnects, mostly a transport of asyncio.
They are collected when the server is idle, or when there are very many.

Freezing affects the whole process, so only `serve` uses it. In Python versions with incremental collection, which have
a third threshold of 0, only the objects that exist at the start are frozen.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["collect_when_idle", "short_collections"]

# For the three generations. At most 42,000 objects survive until a full collection.
_THRESHOLDS = 700, 10, 5
_CHECK_INTERVAL_S = 10.0
_DISCONNECTS_WHEN_IDLE = 1_000
_DISCONNECTS_WHEN_BUSY = 50_000


@contextmanager
def short_collections() -> Generator[None]:
    """Limit the duration of garbage collections during a `with` block."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    if thresholds[2]:
        gc.set_threshold(*_THRESHOLDS)
    gc.callbacks.append(_freeze_survivors)
    try:
        yield
    finally:
        gc.callbacks.remove(_freeze_survivors)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def collect_when_idle(
    disconnects: Callable[[], int], events: Callable[[], int], interval: float = _CHECK_INTERVAL_S
) -> None:
    """Collect frozen objects periodically, until cancelled.

    Args:
        disconnects: returns the number of clients that have disconnected so far.
        events: returns the number of events so far. The server is idle if it does not change between two checks.
        interval: seconds between two checks.
    """
    collected_at, count = disconnects(), events()
    while True:
        await asyncio.sleep(interval)
        before, count = count, events()
        if disconnects() - collected_at >= (_DISCONNECTS_WHEN_IDLE if count == before else _DISCONNECTS_WHEN_BUSY):
            collected_at = disconnects()
            gc.unfreeze()
            gc.collect()


def _freeze_survivors(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()
