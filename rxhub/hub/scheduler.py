"""A reactivex scheduler whose actions run in a hub's handling context."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from reactivex import abc, typing
from reactivex.disposable import CompositeDisposable, Disposable, SingleAssignmentDisposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

from rxhub.hub.inbox import Action, Inbox

__all__ = ["HubScheduler"]

State = TypeVar("State")


class HubScheduler(PeriodicScheduler):
    """Runs actions between events, in the thread or loop that handles the hub.

    Actions wait while the hub is not running. Actions that wait when the hub is closed never run.
    """

    def __init__(self, inbox: Inbox) -> None:
        super().__init__()
        self._inbox = inbox

    @property
    def now(self) -> datetime:
        return self._inbox.clock.wall_time() or super().now

    def schedule(self, action: typing.ScheduledAction[State], state: State | None = None) -> abc.DisposableBase:
        """Run `action` after everything that waits now."""
        return self._put(0, action, state)

    def schedule_relative(
        self, duetime: typing.RelativeTime, action: typing.ScheduledAction[State], state: State | None = None
    ) -> abc.DisposableBase:
        """Run `action` when `duetime` (seconds or a timedelta) has passed."""
        return self._put(self.to_seconds(duetime), action, state)

    def schedule_absolute(
        self, duetime: typing.AbsoluteTime, action: typing.ScheduledAction[State], state: State | None = None
    ) -> abc.DisposableBase:
        """Run `action` at `duetime`."""
        return self._put((self.to_datetime(duetime) - self.now).total_seconds(), action, state)

    def _put(self, delay: float, action: typing.ScheduledAction[State], state: State | None) -> abc.DisposableBase:
        self._inbox.clock.check_scheduling()
        inner = SingleAssignmentDisposable()

        def run() -> None:
            inner.disposable = self.invoke_action(action, state=state)

        entry = Action(run)
        if delay > 0:
            self._inbox.call_later(delay, entry)
        else:
            self._inbox.call_soon(entry)
        return CompositeDisposable(inner, Disposable(entry.cancel))
