"""A scheduler whose time is the test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex import abc
from reactivex.disposable import Disposable
from reactivex.scheduler.scheduler import Scheduler

__all__ = ["ByHand"]


class ByHand(Scheduler):
    """Runs what was scheduled when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def schedule(self, action: Any, state: Any = None) -> abc.DisposableBase:
        self.waiting.append(lambda: self.invoke_action(action, state))
        return Disposable()

    def schedule_relative(self, duetime: Any, action: Any, state: Any = None) -> abc.DisposableBase:
        return self.schedule(action, state)

    schedule_absolute = schedule_relative

    def run(self) -> None:
        """Run what waits, and what that schedules."""
        while self.waiting:
            self.waiting.pop(0)()
