"""The time of a hub: real, or advanced by a test (`rxhub.testing.virtual`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Protocol

from reactivex import abc

from rxhub.concurrency.wakeup import Flag

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """The time of a hub's timers and of `hub.scheduler`.

    Attributes:
        driven_by: the call that advances the time and runs the handlers when no handling context does; empty for real
            time.
        scheduler: for operators without one in a pipeline that `run()` waits for. None: each timer starts a thread.
    """

    driven_by: str
    scheduler: abc.SchedulerBase | None

    def monotonic(self) -> float: ...

    def wall_time(self) -> datetime | None:
        """The time that `hub.scheduler` shows; None for the current time."""
        ...

    def check_scheduling(self) -> None:
        """Called before something is scheduled. Raises NotHandled if the caller would sleep until it is due."""
        ...

    def wait(self, wakeup: Flag, timeout: float | None, ended: Callable[[], bool]) -> None:
        """Wait until `wakeup` is set, or `timeout` seconds have passed; a test's clock advances until `ended`."""
        ...


class SystemClock:
    """Real time."""

    driven_by = ""
    scheduler: abc.SchedulerBase | None = None
    monotonic = staticmethod(monotonic)

    def wall_time(self) -> None:
        return None

    def check_scheduling(self) -> None:
        pass

    def wait(self, wakeup: Flag, timeout: float | None, ended: Callable[[], bool]) -> None:
        wakeup.wait(timeout)
