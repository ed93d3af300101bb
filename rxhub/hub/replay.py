"""Stored events, once more: read from the stream, tested whole, and emitted where the hub is handled.

Theory of operation. The transport reads ahead in the network's thread, a bounded number of events; they wait in a
queue. Each time that the queue is no longer empty, one action is put into the hub's inbox. It is handled between the
live events, takes some dozens of the queue and puts itself behind what waits, so that neither holds up the other. Only
what has been handled is `done` to the transport, which reads no further while the handlers are behind.

With a speed the action stops before an event that is not due yet, and comes again when it is. What the clock shows at
the first event is the beginning; every other one is due as long after it as it was stored after it, divided by the
speed. So a handler that took too long does not slow the rest down.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, NamedTuple, TypeAlias, cast

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import EventError, HubClosed, HubConnectionError, NotHandled, ProtocolError
from rxhub.event import Event
from rxhub.expression import Expression, compile
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Action, Inbox
from rxhub.hub.runner import Runner
from rxhub.rx.awaitable import Awaitable
from rxhub.rx.scope import current_scope
from rxhub.rx.scoped_subject import kept
from rxhub.transport import Durable
from rxhub.transport.durable import HistoryReading, Span, Stored
from rxhub.transport.json_payload import read_stored

__all__ = ["Moment", "Progress", "Replay", "ReplayOptions"]

Moment: TypeAlias = datetime | timedelta | int
"""A place in a stream: an aware time, how long ago, or a sequence."""

_TURN = 64
_NANOSECONDS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

logger = logging.getLogger("rxhub")


class Progress(NamedTuple):
    """How far a replay is.

    Attributes:
        read: how many stored events have been looked at.
        total: how many it will be: those whose topics the subscription may mean, when the replay began; None until
            that is known.
        emitted: how many of those that were looked at matched.
        sequence: of the one that was looked at last; 0 before the first. A replay `since` the next goes on behind it.
        time: when that one was stored; None before the first.
    """

    read: int = 0
    total: int | None = None
    emitted: int = 0
    sequence: int = 0
    time: datetime | None = None

    @property
    def fraction(self) -> float:
        """How much of it is done, from 0 to 1. Of a replay that follows, how much of its history."""
        if self.total is None:
            return 0.0
        return min(1.0, self.read / self.total) if self.total else 1.0


@dataclass(frozen=True)
class ReplayOptions:
    """What `EventHub.replay` is given beside the subscription; see there.

    Raises:
        TypeError: if a moment or the speed has the wrong type.
        ValueError: if a time is naive, a number is out of range, or the end is before the start.
    """

    since: Moment | None = None
    until: Moment | None = None
    speed: float | None = None
    follow: bool = False

    def __post_init__(self) -> None:
        _check_moment("since", self.since)
        _check_moment("until", self.until)
        _check_order(self.since, self.until)
        _check_speed(self.speed)
        if self.follow and self.until is not None:
            raise ValueError("A replay that follows has no end: give either until=… or follow=True.")


class Replay(Awaitable[Event], Observable[Event]):
    """What a stream holds of a subscription, as `EventHub.replay` says. Each subscription replays on its own.

    Args:
        expression: filters the events.
        options: the span and the speed.
        transport: stores the events.
        connection: of the hub.
        inbox: of the hub.
        runner: of the hub.
    """

    def __init__(
        self,
        expression: Expression,
        options: ReplayOptions,
        transport: Durable,
        connection: HubConnection,
        inbox: Inbox,
        runner: Runner,
    ) -> None:
        super().__init__()
        self._connection = connection
        self._transport = transport
        self._inbox = inbox
        self._runner = runner
        self._expression = expression
        self._matches = compile(expression)
        self._options = options
        self._latest: _Playing | None = None

    @property
    def progress(self) -> Progress:
        """How far the subscription is that was made last."""
        return Progress() if self._latest is None else self._latest.progress

    def run(self, scheduler: abc.SchedulerBase | None = None) -> Event:
        """The last event, once the replay is over.

        Raises:
            NotHandled: in the thread that handles the hub, where nothing could be replayed meanwhile.
            SequenceContainsNoElementsError: if there was none.
        """
        if self._runner.runs_here:
            raise NotHandled(
                "A replay is handled by this thread, which run() keeps waiting: subscribe to it, or await it."
            )
        return super().run(scheduler)

    def __repr__(self) -> str:
        return f"<replay of {str(self._expression)!r}>"

    def _subscribe_core(
        self, observer: abc.ObserverBase[Event], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        self._runner.check_running("replay")
        if not self._connection.kept_up:
            raise HubConnectionError("Nothing can be replayed, as the hub is not connected. Call connect() first.")
        playing = _Playing(observer, self._inbox, self._matches, self._options)
        span = Span(self._options.since, self._options.until, self._options.follow)
        self._latest = playing
        playing.reading = reading = self._transport.read(self._expression, span, playing)
        reading.begin()
        # A hub that was closed runs no action any more.
        ending = self._connection.changes.subscribe(on_completed=playing.closed)
        playing_on = CompositeDisposable(Disposable(playing.dispose), ending)
        owner = current_scope()
        return playing_on if owner is None else kept(owner, playing_on)


class _End(NamedTuple):
    """How a reading ended."""

    error: Exception | None


class _Playing:
    """One subscription: between the transport, which reads ahead, and an observer (`HistoryReader`).

    It knows nothing of the hub, so that a hub that is dropped in the middle of a replay can go.
    """

    def __init__(
        self,
        observer: abc.ObserverBase[Event],
        inbox: Inbox,
        matches: Callable[[Mapping[str, Any]], bool],
        options: ReplayOptions,
    ) -> None:
        self.reading: HistoryReading | None = None
        self.read_so_far = 0
        self._observer = observer
        self._inbox = inbox
        self._matches = matches
        self._speed = options.speed
        self._follow = options.follow
        self._context = copy_context()
        self._waiting: deque[Stored] = deque()
        # The event at the head of those, once it was looked at and is not due yet.
        self._next: Event | None = None
        self._beginning: tuple[float, int] | None = None
        self._end: _End | None = None
        self._total: int | None = None
        self._emitted = 0
        self._last: Stored | None = None
        self._timer: Action | None = None
        self._is_scheduled = False
        self._scheduling = ForkSafeLock()
        self._is_over = False

    @property
    def progress(self) -> Progress:
        last = self._last
        if last is None:
            return Progress(total=self._total)
        time = _EPOCH + timedelta(microseconds=last.nanoseconds // 1_000)
        return Progress(self.read_so_far, self._total, self._emitted, last.sequence, time)

    # In the network's thread

    def measured(self, total: int) -> None:
        self._total = total

    def read(self, stored: Stored) -> None:
        self._waiting.append(stored)
        self._schedule()

    def ended(self, error: Exception | None) -> None:
        self._end = _End(error)
        self._schedule()

    def _schedule(self) -> None:
        """Have a turn, unless one is to come already."""
        # What was put in before this look is seen by the scheduled turn.
        if self._is_scheduled:
            return
        with self._scheduling:
            if self._is_scheduled:
                return
            self._is_scheduled = True
        self._inbox.call_soon(Action(self._turn))

    # Where the hub is handled

    def _turn(self) -> None:
        """Emit what waits: some of it, and then others have their turn."""
        done, self._timer = 0, None
        try:
            while self._waiting and done < _TURN and not self._is_over:
                delay = self._look()
                if delay > 0:
                    self._timer = Action(self._turn)
                    self._inbox.call_later(delay, self._timer)
                    return
                done += 1
                self._emit()
        except BaseException:
            # Whoever raises has not ended the replay, unless he has disposed of it.
            self._inbox.call_soon(Action(self._turn))
            raise
        finally:
            if done and self.reading is not None:
                self.reading.done(done)
        if not self._is_over:
            self._rest()

    def _look(self) -> float:
        """See whether the event at the head is to be emitted, and in how many seconds."""
        stored = self._waiting[0]
        if self._next is None:
            self._next = self._event(stored)
        if self._next is None or self._speed is None:
            return 0.0
        now = self._inbox.now()
        if self._beginning is None:
            self._beginning = (now, stored.nanoseconds)
        start, first = self._beginning
        return start + (stored.nanoseconds - first) / _NANOSECONDS / self._speed - now

    def _emit(self) -> None:
        """Take the event at the head; emit it if it matches."""
        event, self._next = self._next, None
        self._last = self._waiting.popleft()
        self.read_so_far += 1
        if event is not None:
            self._emitted += 1
            self._context.copy().run(self._observer.on_next, event)

    def _event(self, stored: Stored) -> Event | None:
        """The event, if it matches."""
        try:
            event = read_stored(stored.data)
        except (ProtocolError, EventError) as error:
            logger.error("What is stored as %d is no event, and is passed over: %s", stored.sequence, error)
            return None
        return event if self._matches(event) else None

    def _rest(self) -> None:
        """Wait for more, or end."""
        with self._scheduling:
            self._is_scheduled = False
        end = self._end
        # Checked after the reset, and the end before the queue, so that neither is missed.
        if self._waiting:
            self._schedule()
        elif end is not None and end.error is not None and not self._inbox.open:
            # The connection went with the hub.
            self.closed()
        elif end is not None:
            self._finish(end.error)

    def _finish(self, error: Exception | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._total = self.read_so_far if error is None else self._total
        if error is None:
            self._observer.on_completed()
        else:
            self._observer.on_error(error)

    # Wherever

    def closed(self) -> None:
        """The hub was closed."""
        self._finish(None if self._follow else HubClosed("The hub was closed before the replay was over."))

    def dispose(self) -> None:
        """Read no further."""
        self._is_over = True
        timer = self._timer
        if timer is not None:
            timer.cancel()
        if self.reading is not None:
            self.reading.stop()


def _check_moment(name: str, moment: object) -> None:
    if moment is None:
        return
    if isinstance(moment, bool) or not isinstance(moment, (int, datetime, timedelta)):
        raise TypeError(
            f"{name} is an aware datetime, a timedelta (how long ago) or a sequence, "
            f"but {type(moment).__name__} was given."
        )
    if isinstance(moment, datetime):
        if moment.utcoffset() is None:
            raise ValueError(
                f"{name}={moment!r} is a naive time, which may mean any. Say whose: {name}.astimezone() takes it for "
                "local time, .replace(tzinfo=UTC) for UTC."
            )
    elif moment < timedelta() if isinstance(moment, timedelta) else moment < 0:
        raise ValueError(f"{name} is a sequence or how long ago, and so not negative, but {moment!r} was given.")


def _check_order(since: Moment | None, until: Moment | None) -> None:
    match since, until:
        case timedelta(), timedelta():
            is_backwards = since < until
        case (datetime(), datetime()) | (int(), int()):
            is_backwards = cast("Any", since) > until
        case _:
            is_backwards = False
    if is_backwards:
        raise ValueError(f"The end lies before the beginning: until {until}, since {since}.")


def _check_speed(speed: object) -> None:
    if speed is None:
        return
    if isinstance(speed, bool) or not isinstance(speed, (int, float)):
        raise TypeError(f"speed is a number, 1.0 being the original pace, but {type(speed).__name__} was given.")
    if not (isfinite(speed) and speed > 0):
        raise ValueError(
            f"speed is greater than 0, 1.0 being the original pace, but {speed!r} was given. "
            "None is as fast as the events are handled."
        )
