"""Calls that are made in the order in which they were queued, by one thread at a time.

Theory of operation. What happens under a lock (a subscriber joins, a receiver is disconnected) is reported to others
outside of it, since they may take locks of their own. So that leaving is never reported before joining, the report is
queued under the lock, and made by whichever thread comes first. A thread that comes while another one makes calls has
two ways: it waits until its own call was made, or it leaves the call to the other thread, which looks again at its
end. Only the second one is safe for a finalizer, or for calls into the program, which may wait for that thread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from rxhub.concurrency.fork import ForkSafeLock

__all__ = ["Call", "OrderedCalls"]

T = TypeVar("T")

Call = tuple[Callable[[T], object], T]

logger = logging.getLogger("rxhub")


class OrderedCalls(Generic[T]):
    """A queue of calls.

    Attributes:
        add: queue a function and its argument; called under the lock that decides about the order. It is the
            deque's own method: nothing is made there that the garbage collector could react to.
    """

    def __init__(self) -> None:
        self._calls: deque[Call[T]] = deque()
        self.add: Callable[[Call[T]], None] = self._calls.append
        self._turn = ForkSafeLock(self)
        self._is_running = False

    def run(self, own: Call[T] | None = None, wait: bool = False) -> None:
        """Make the calls that are queued.

        Called by what is called here, it returns at once, and its calls come behind. An exception of `own` is
        raised when all calls were made; those of others are logged.

        Args:
            own: what the caller has queued.
            wait: wait while another thread makes calls; then `own` has been made on return.
        """
        while self._turn.acquire(blocking=wait):
            try:
                if self._is_running:
                    return
                self._is_running = True
                try:
                    self._run(own)
                finally:
                    self._is_running = False
            finally:
                self._turn.release()
            if not self._calls:
                return
            # Queued after the last look, by a thread that has left it to us.
            wait = False

    def _run(self, own: Call[T] | None) -> None:
        failure: Exception | None = None
        while self._calls:
            call = self._calls.popleft()
            function, argument = call
            try:
                function(argument)
            except Exception as error:
                if call is own:
                    failure = error
                else:
                    logger.error("%r of %r raised: %s", function, argument, error, exc_info=error)
        if failure is not None:
            raise failure

    def after_fork(self) -> None:
        """Forget the calls: the thread that made them is not in the forked child."""
        self._calls.clear()
        self._is_running = False
