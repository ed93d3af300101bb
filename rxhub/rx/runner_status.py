"""Code that waits for a hub gets an error when no context runs the hub any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from threading import local
from time import monotonic
from typing import Protocol

from reactivex import abc
from reactivex.disposable import Disposable

from rxhub.concurrency.event_loop import running_loop
from rxhub.errors import NotHandled
from rxhub.rx.clock import Clock

__all__ = ["WAIT_GAP_S", "Deadlines", "RunnerStatus", "call_within", "not_running", "watching"]

WAIT_GAP_S = 1.0
"""Seconds after `wait(duration)` or `drain()` within which the next such call is expected."""


class RunnerStatus(Protocol):
    """Whether a hub is running, for code that waits for it."""

    @property
    def runs_here(self) -> bool: ...

    @property
    def clock(self) -> Clock: ...

    def stops_in(self) -> float | None:
        """Seconds until the hub counts as not running; None while a context runs it."""
        ...

    def watch(self, stopped: Callable[[], object], /) -> abc.DisposableBase:
        """Call `stopped`, in any thread, whenever a context has ended."""
        ...


def not_running(what: str) -> NotHandled:
    """The error of a call such as `run()` that waits for a hub."""
    return NotHandled(
        f"{what} would wait forever, since nobody handles the hub: call hub.start(), use "
        "`async with hub`, or run hub.wait() or `await hub.run()` elsewhere."
    )


class Deadlines:
    """Timeouts that a waiting thread runs itself, since those of a busy hub are late."""

    def __init__(self) -> None:
        self._timeouts: dict[object, tuple[float, Callable[[], object]]] = {}

    @contextmanager
    def collecting(self) -> Generator[None]:
        """Collect the calls of `call_within` in this thread."""
        before, _waiting.deadlines = getattr(_waiting, "deadlines", None), self
        try:
            yield
        finally:
            _waiting.deadlines = before

    def add(self, seconds: float, callback: Callable[[], object]) -> Disposable:
        """Call `callback` in `seconds`, unless the result is disposed of before."""
        key = object()
        self._timeouts[key] = monotonic() + seconds, callback

        def cancel() -> None:
            self._timeouts.pop(key, None)

        return Disposable(cancel)

    def run_due(self) -> float | None:
        """Run the timeouts that are due; return the seconds until the next one, or None."""
        now = monotonic()
        for key, (due, callback) in (*self._timeouts.items(),):
            if due <= now:
                self._timeouts.pop(key, None)
                callback()
        return min((due - now for due, _ in (*self._timeouts.values(),)), default=None)


_waiting = local()


def call_within(seconds: float, callback: Callable[[], object]) -> Disposable:
    """Have the thread or loop that waits here call `callback` in `seconds`; nothing happens if none waits."""
    deadlines: Deadlines | None = getattr(_waiting, "deadlines", None)
    if deadlines is not None:
        return deadlines.add(seconds, callback)
    if (loop := running_loop()) is None:
        return Disposable()
    timer = loop.call_later(seconds, callback)

    def cancel() -> None:
        with suppress(RuntimeError):  # a closed loop calls nothing
            loop.call_soon_threadsafe(timer.cancel)

    return Disposable(cancel)


@contextmanager
def watching(
    status: RunnerStatus, loop: asyncio.AbstractEventLoop, stopped: Callable[[], object], delay: float = 0.0
) -> Generator[None]:
    """Call `stopped` on the loop if the hub is not running, or when it stops; perhaps more than once.

    The first check is after `delay` seconds.
    """
    timer: asyncio.TimerHandle | None = None
    is_over = False

    def check() -> None:
        nonlocal timer
        left = status.stops_in()
        if is_over or left is None:
            return
        if timer is not None:
            timer.cancel()
        if left > 0:
            timer = loop.call_later(left, check)
        else:
            stopped()

    def check_soon() -> None:
        with suppress(RuntimeError):  # a closed loop has no waiting task
            loop.call_soon_threadsafe(check)

    if delay:
        timer = loop.call_later(delay, check)
    with status.watch(check_soon):
        if not delay:
            check()
        try:
            yield
        finally:
            is_over = True
            if timer is not None:
                timer.cancel()
