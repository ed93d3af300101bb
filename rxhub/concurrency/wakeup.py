"""Waking a task from any thread, and threads from a signal handler."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Condition

from rxhub.concurrency.event_loop import running_loop

__all__ = ["Flag", "Wakeup"]


class Wakeup:
    """Wakes the task that waits for work. Calling `set` while no task waits lets the next `wait` return at once.

    Unlike `asyncio.Event`, any thread may call `set`. It costs a system call only if a task waits on the loop of
    another thread. One task waits at a time.
    """

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the task. Does nothing if its loop was closed."""
        self._is_set = True
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            return
        loop = waiter.get_loop()
        if running_loop() is loop:
            _resolve(waiter)
        else:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_resolve, waiter)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, and clear it; False after `timeout` seconds."""
        if not self._is_set:
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            # Not asyncio.timeout(), which costs ten times as much as waiting.
            timer = None if timeout is None else loop.call_later(timeout, _resolve, waiter)
            try:
                # Checked again: a thread may have called `set` before it could see the waiter.
                if not self._is_set:
                    await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        was_set, self._is_set = self._is_set, False
        return was_set


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Flag:
    """As `threading.Event`, but reentrant.

    A signal handler runs inside whatever its thread is doing. If that is `set`, `clear` or `wait`, setting a
    `threading.Event` there waits for a lock that its own thread holds.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(self.is_set, timeout)
