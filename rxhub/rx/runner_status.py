"""Whoever waits for what a hub's handling brings is told when nobody handles the hub any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from threading import local
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from reactivex import abc
from reactivex.disposable import Disposable

from rxhub.errors import NotHandled

__all__ = ["WAIT_GAP_S", "Deadlines", "RunnerStatus", "RunnerWatch", "call_within", "not_running"]

WAIT_GAP_S = 1.0
"""Seconds within which the next `wait(duration)` or `drain()` is expected after the last one."""


class RunnerStatus(Protocol):
    """Who handles a hub, as far as it concerns those who wait."""

    @property
    def runs_here(self) -> bool:
        """Whether this thread handles the hub."""
        ...

    def stops_in(self) -> float | None:
        """Seconds until the hub counts as handled by nobody; None while somebody handles it."""
        ...

    def watch(self, tell: Callable[[], object]) -> abc.DisposableBase:
        """Have `tell` called, in any thread, whenever a handling context has ended."""
        ...


def not_running(what: str) -> NotHandled:
    """The error of `what`, which waits for handling."""
    return NotHandled(
        f"{what} would wait for ever, since nobody handles the hub: call hub.start(), use "
        "`async with hub`, or run hub.wait() or `await hub.run()` elsewhere."
    )


class Deadlines:
    """What a thread that waits does when its time has come, since a hub that is busy or stuck does not."""

    def __init__(self) -> None:
        self._acts: dict[object, tuple[float, Callable[[], object]]] = {}

    @contextmanager
    def collecting(self) -> Generator[None]:
        """Take what is given to `within` in this thread."""
        before, _waiting.deadlines = getattr(_waiting, "deadlines", None), self
        try:
            yield
        finally:
            _waiting.deadlines = before

    def add(self, seconds: float, act: Callable[[], object]) -> Disposable:
        """Call `act` in `seconds`, unless the result is disposed of before."""
        key = object()
        self._acts[key] = monotonic() + seconds, act

        def leave() -> None:
            self._acts.pop(key, None)

        return Disposable(leave)

    def act(self) -> float | None:
        """Do what is due; seconds until the next is, or None."""
        now = monotonic()
        for key, (due, act) in (*self._acts.items(),):
            if due <= now:
                self._acts.pop(key, None)
                act()
        return min((due - now for due, _ in (*self._acts.values(),)), default=None)


_waiting = local()


def call_within(seconds: float, act: Callable[[], object]) -> Disposable:
    """Have `act` called in `seconds` by who subscribes here to wait: a thread in `run()`, or the running loop.

    Nothing is called for a subscription that nobody waits for.
    """
    deadlines: Deadlines | None = getattr(_waiting, "deadlines", None)
    if deadlines is not None:
        return deadlines.add(seconds, act)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return Disposable()
    timer = loop.call_later(seconds, act)

    def cancel() -> None:
        # A loop that was closed calls nothing.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(timer.cancel)

    return Disposable(cancel)


class RunnerWatch:
    """A `with` block that waits on a loop, and is told at once if that is in vain, or when it becomes so.

    Args:
        runner_status: of the hub that is waited for.
        loop: the running loop.
        tell: called on the loop when nobody handles the hub; it may be called more than once.
        patience: seconds before the first look.
    """

    def __init__(
        self,
        runner_status: RunnerStatus,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[], object],
        patience: float = 0.0,
    ) -> None:
        self._runner_status = runner_status
        self._loop = loop
        self._tell = tell
        self._is_over = False
        self._timer = loop.call_later(patience, self._look) if patience else None

    def __enter__(self) -> Self:
        self._watching = self._runner_status.watch(self._ended)
        if self._timer is None:
            self._look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._watching.dispose()
        if self._timer is not None:
            self._timer.cancel()

    def _ended(self) -> None:
        # A loop that was closed has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        left = self._runner_status.stops_in()
        if self._is_over or left is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._tell()
