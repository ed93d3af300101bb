"""The time of a hub: real, or advanced by a test (`rxhub.testing.virtual`)."""

from __future__ import annotations

from datetime import datetime
from time import monotonic
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """The time of a hub's timers and of `hub.scheduler`.

    Attributes:
        driven_by: the call that advances the time and runs the handlers when no handling context does; empty for real
            time.
    """

    driven_by: str

    def monotonic(self) -> float:
        """Seconds since some moment."""
        ...

    def wall_time(self) -> datetime | None:
        """The time that `hub.scheduler` shows; None for the current time."""
        ...

    def check_scheduling(self) -> None:
        """Called before something is scheduled. Raises NotHandled if the caller would sleep until it is due."""
        ...


class SystemClock:
    """Real time."""

    driven_by = ""
    monotonic = staticmethod(monotonic)

    def wall_time(self) -> None:
        return None

    def check_scheduling(self) -> None:
        pass
