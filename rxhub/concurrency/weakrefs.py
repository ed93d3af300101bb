"""Weak references whose callbacks are certainly called.

Since Python 3.14 the garbage collector clears a weak reference without calling its callback if a finalizer made it
during that collection, to an object that the collection frees (gc.c). A registry that relies on callbacks would keep
such an entry forever, and take a new object with the same id for the dead one. So code that makes a weak reference with
a callback while `collector.running` is true passes it to `ensure_callback`.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["collector", "ensure_callback"]


class _Collector:
    """Whether the garbage collector is running, in any thread. Since Python 3.14, finalizers that it calls see True."""

    __slots__ = ("_doubtful", "running")

    def __init__(self) -> None:
        self.running = False
        self._doubtful: deque[tuple[Callable[[], Any], Callable[[Any], object]]] = deque()

    def watch(self, reference: Callable[[], Any], callback: Callable[[Any], object]) -> None:
        self._doubtful.append((reference, callback))

    def changed(self, phase: str, info: dict[str, int]) -> None:
        """Called by the garbage collector, at its start and at its end."""
        self.running = phase == "start"
        while self._doubtful and not self.running:
            try:
                reference, callback = self._doubtful.popleft()
            except IndexError:  # another thread was faster
                return
            if reference() is None:
                callback(reference)


collector = _Collector()
# Only where needed: Python ignores what a signal handler raises in such a callback, such as KeyboardInterrupt.
if sys.version_info >= (3, 14):
    gc.callbacks.append(collector.changed)


def ensure_callback(reference: Callable[[], Any], callback: Callable[[Any], object]) -> None:
    """Call `callback(reference)` at the end of the present collection, if the reference is dead by then.

    The callback must tolerate a second call, since Python may have called it already, and take no lock.
    """
    collector.watch(reference, callback)
