"""Calls that are made in the order in which they were queued, by one thread at a time.

Changes that are made under a lock (a subscriber is added, a receiver is disconnected) are reported outside of it, since
the code that is called may take other locks. To keep their order, calls are queued under the lock and made by the first
thread that calls `run`. A thread that comes while another one makes calls either waits until its own call was made, or
leaves it to the other thread, which checks the queue again at its end. Only the latter is safe in finalizers, and for
calls into the program, which may wait for that thread.
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
        add: queues a function and its argument; called under the lock that decides the order. It is the method of the
            deque: it allocates nothing that could trigger a garbage collection.
    """

    def __init__(self) -> None:
        self._calls: deque[Call[T]] = deque()
        self.add: Callable[[Call[T]], None] = self._calls.append
        self._turn = ForkSafeLock(self)
        self._is_running = False

    def run(self, own: Call[T] | None = None, wait: bool = False) -> None:
        """Make the queued calls.

        A nested call returns at once, and its calls follow. An exception of `own`, which the caller has queued, is
        raised when all calls were made; others are logged. With `wait`, it waits while another thread makes calls, so
        that `own` has been made on return.
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
            # Queued after the last check, by a thread that left it to this one.
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
