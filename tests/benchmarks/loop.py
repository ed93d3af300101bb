"""A loop for a peer that is written for asyncio, in a thread of its own, as ours has one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from threading import Thread
from typing import Any

__all__ = ["Loop"]

_LIMIT = 120.0


class Loop:
    """Runs from the beginning of a `with` block to its end."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine gives back; two minutes at most."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(_LIMIT)
