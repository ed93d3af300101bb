"""Replays stored events: reads them from the stream, filters them, and emits them in the handling context.

The transport reads ahead a bounded number of events in the I/O thread and queues them. When the queue is no longer
empty, an action is added to the hub's inbox. It emits some dozens of the queue and adds itself again after the waiting
items, so that live events and the replay do not block each other. Only emitted events count as `done`, so the transport
does not read further while the handlers are behind.

With a speed, the action stops before an event that is not due yet, and runs again when it is. The first event is due at
once, each other one as long after it as it was stored after it, divided by the speed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import CompositeDisposable, Disposable

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import EventError, HubClosed, HubConnectionError, NotHandled, ProtocolError
from rxhub.event import Event
from rxhub.exploration.frames import Frames
from rxhub.expression import Expression, compile
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Action, Inbox
from rxhub.hub.runner import Runner
from rxhub.rx.awaitable import Awaitable
from rxhub.rx.scope import current_scope
from rxhub.rx.scoped_subject import kept
from rxhub.telemetry import counts, tracing
from rxhub.transport import Durable
from rxhub.transport.durable import HistoryReading, Span, Stored
from rxhub.transport.json_payload import read_stored

if TYPE_CHECKING:
    from rxhub.telemetry.open_spans import OpenSpan

__all__ = ["Moment", "Progress", "Replay", "ReplayOptions"]

Moment: TypeAlias = datetime | timedelta | int
"""A position in a stream: an aware time, how long ago, or a sequence."""

_TURN = 64
_NANOSECONDS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

logger = logging.getLogger("rxhub")


class Progress(NamedTuple):
    """The progress of a replay.

    Attributes:
        read: the number of stored events read.
        total: the expected number: events with matching topics at the start of the replay; None until it is known.
        emitted: how many of the read events matched.
        sequence: of the event read last; 0 before the first. A replay `since` the next sequence continues after it.
        time: when that event was stored; None before the first.
    """

    read: int = 0
    total: int | None = None
    emitted: int = 0
    sequence: int = 0
    time: datetime | None = None

    @property
    def fraction(self) -> float:
        """The done part, from 0 to 1; of a replay that follows, the part of its history."""
        if self.total is None:
            return 0.0
        return min(1.0, self.read / self.total) if self.total else 1.0


@dataclass(frozen=True)
class ReplayOptions:
    """The options of `EventHub.replay`; see there."""

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


class Replay(Awaitable[Event], Observable[Event], Frames):
    """The stored events of a subscription, see `EventHub.replay`. Each Rx subscription replays on its own."""

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
        """The progress of the latest Rx subscription."""
        return Progress() if self._latest is None else self._latest.progress

    def run(self, scheduler: abc.SchedulerBase | None = None) -> Event:
        """Wait for the end; the last event."""
        if self._runner.runs_here:
            raise NotHandled("A replay is handled by this thread, which run() blocks. Subscribe to it, or await it.")
        return super().run(scheduler)

    def to_list(self) -> Observable[list[Event]]:
        """All events as one list: `replay.to_list().run()`, or `await replay.to_list()`."""
        return self.pipe(ops.to_list())

    def rows(self) -> list[Mapping[str, Any]]:
        """Wait for the end; the events as mappings with their positions, for `to_arrow`."""
        if self._runner.runs_here:
            raise NotHandled("A replay is handled by this thread, which a frame blocks. Use await replay.to_list().")

        def row(event: Event) -> Mapping[str, Any]:
            progress = self.progress
            return {**event.fields, "position": {"sequence": progress.sequence, "time": progress.time}}

        return self.pipe(ops.map(row), ops.to_list()).run()

    def __repr__(self) -> str:
        return f"<replay of {str(self._expression)!r}>"

    def _subscribe_core(
        self, observer: abc.ObserverBase[Event], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        self._runner.check_running("replay")
        if not self._connection.kept_up:
            raise HubConnectionError("Cannot replay, as the hub is not connected. Call connect() first.")
        span = None if tracing.active is None else tracing.active.replay(str(self._expression))
        playing = _Playing(observer, self._inbox, self._matches, self._options, span)
        part = Span(self._options.since, self._options.until, self._options.follow)
        self._latest = playing
        playing.reading = reading = self._transport.read(self._expression, part, playing)
        reading.begin()
        # A closed hub runs no actions.
        ending = self._connection.changes.subscribe(on_completed=playing.closed)
        playing_on = CompositeDisposable(Disposable(playing.dispose), ending)
        owner = current_scope()
        return playing_on if owner is None else kept(owner, playing_on)


class _Playing:
    """One Rx subscription: between the transport, which reads ahead, and an observer (`HistoryReader`).

    It does not refer to the hub, so that a hub dropped during a replay can be collected.
    """

    def __init__(
        self,
        observer: abc.ObserverBase[Event],
        inbox: Inbox,
        matches: Callable[[Mapping[str, Any]], bool],
        options: ReplayOptions,
        span: OpenSpan | None,
    ) -> None:
        self.reading: HistoryReading | None = None
        self.read_so_far = 0
        self._observer = observer
        self._inbox = inbox
        self._matches = matches
        self._speed = options.speed
        self._follow = options.follow
        self._context = copy_context()
        self._span = span
        if span is not None:
            span.attach(self._context)
        self._waiting: deque[Stored] = deque()
        # The first of those, if it was decoded and is not due yet.
        self._next: Event | None = None
        self._beginning: tuple[float, int] | None = None
        self._end: tuple[Exception | None] | None = None
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

    # In the I/O thread

    def measured(self, total: int) -> None:
        self._total = total

    def read(self, stored: Stored) -> None:
        self._waiting.append(stored)
        self._schedule()

    def ended(self, error: Exception | None) -> None:
        self._end = (error,)
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

    # In the handling context

    def _turn(self) -> None:
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
            # An observer that raises does not end the replay.
            self._inbox.call_soon(Action(self._turn))
            raise
        finally:
            if done and self.reading is not None:
                self.reading.done(done)
        if not self._is_over:
            self._rest()

    def _look(self) -> float:
        """Decode the first event; in how many seconds it is due."""
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
        event, self._next = self._next, None
        self._last = self._waiting.popleft()
        self.read_so_far += 1
        if event is not None:
            self._emitted += 1
            if (counting := counts.active) is not None:
                counting.replayed.add(event.topic)
            self._context.copy().run(self._observer.on_next, event)

    def _event(self, stored: Stored) -> Event | None:
        try:
            event = read_stored(stored.data)
        except (ProtocolError, EventError) as error:
            logger.error("Skipped stored message %d, which is not an event: %s", stored.sequence, error)
            return None
        return event if self._matches(event) else None

    def _rest(self) -> None:
        with self._scheduling:
            self._is_scheduled = False
        end = self._end
        # Checked after the reset, and the end before the queue, so that neither is missed.
        if self._waiting:
            self._schedule()
        elif end is not None and end[0] is not None and not self._inbox.open:
            # The connection ended with the hub.
            self.closed()
        elif end is not None:
            self._finish(end[0])

    def _finish(self, error: Exception | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._end_span(error)
        self._total = self.read_so_far if error is None else self._total
        if error is None:
            self._observer.on_completed()
        else:
            self._observer.on_error(error)

    # In any thread

    def closed(self) -> None:
        self._finish(None if self._follow else HubClosed("The hub was closed before the replay was over."))

    def dispose(self) -> None:
        self._is_over = True
        self._end_span(None)
        timer = self._timer
        if timer is not None:
            timer.cancel()
        if self.reading is not None:
            self.reading.stop()

    def _end_span(self, error: Exception | None) -> None:
        span, self._span = self._span, None
        if span is not None:
            span.span.set_attribute("messaging.batch.message_count", self._emitted)
            span.end(error)


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
                f"{name}={moment!r} has no time zone. Use {name}.astimezone() for local time, "
                ".replace(tzinfo=UTC) for UTC."
            )
    elif moment < timedelta() if isinstance(moment, timedelta) else moment < 0:
        raise ValueError(f"{name} is a sequence or how long ago, at least 0, but {moment!r} was given.")


def _check_order(since: Moment | None, until: Moment | None) -> None:
    match since, until:
        case timedelta(), timedelta():
            is_backwards = since < until
        case (datetime(), datetime()) | (int(), int()):
            is_backwards = cast("Any", since) > until
        case _:
            is_backwards = False
    if is_backwards:
        raise ValueError(f"The end is before the start: until {until}, since {since}.")


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
