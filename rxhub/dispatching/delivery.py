"""One event's run through its subscribers, as an observable.

Nearly every delivery is over when `dispatch` returns, and is never examined. So the dispatcher stores the subscribers
that matched, and records only exceptions: a result that is not None, an error, a subscriber that was not called.
Outcomes are made from these on demand. Callbacks that run on a scheduler keep a delivery open; `complete_pending` adds
their outcomes. One thread at a time advances the cursor of a subscription; another one that finds it busy returns,
because the busy one checks again before it leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxhub.concurrency.fork import ForkSafeLock, LazyForkSafeLock
from rxhub.dispatching.subscriber import Subscriber
from rxhub.event import Event
from rxhub.rx.awaitable import Awaitable
from rxhub.telemetry.log_fields import event_fields
from rxhub.text.displayable import Displayable
from rxhub.text.printable import printable

if TYPE_CHECKING:
    from rxhub.telemetry.spans import HandlerTrace

__all__ = ["NOT_CALLED", "Delivery", "Failed", "Outcome"]


logger = logging.getLogger("rxhub")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result or the error of one callback.

    Attributes:
        subscriber: the subscriber whose callback it was.
        result: what it returned; None if it failed.
        error: what it raised, or the error that ended its pipeline; None if it succeeded.
        latency: seconds that it took; None unless `deliveries` had an observer at the time.
        started: seconds from the first call of the delivery until this one; None if there is no latency.
    """

    subscriber: Subscriber
    result: Any = None
    error: Exception | None = None
    latency: float | None = None
    started: float | None = None


class Failed:
    """The record of a call that failed."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


NOT_CALLED: Any = object()
"""The record of a subscriber that was removed in the meantime, or runs on a scheduler."""


class Delivery(Displayable, Awaitable[Outcome], Observable[Outcome]):
    """One event and the outcomes of its callbacks, in the order in which they ended.

    Emits the outcomes; completes when the last callback has ended or one stopped the event. Late subscribers receive
    all outcomes. Iterating yields the outcomes so far.

    Attributes:
        event: the event that was delivered.
        stopped_by: the subscriber that stopped it, or None.
    """

    # Observable.__init__ costs more than a dispatch; what it would set is a class attribute or made on demand.
    __init__ = object.__init__  # pyright: ignore[reportAssignmentType]

    event: Event
    stopped_by: Subscriber | None = None
    lock = LazyForkSafeLock()  # pyright: ignore[reportAssignmentType]
    _matched: Sequence[Subscriber]
    _next = 0
    _records: dict[Subscriber, Any] | None = None
    _times: dict[Subscriber, tuple[float, float]] | None = None
    _first_start: float | None = None
    _scheduled_outcomes: tuple[Outcome, ...] = ()
    _pending = 0
    _cursors: tuple[_Cursor, ...] = ()
    _subscribe = None
    _trace: HandlerTrace | None = None

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes so far: first those of the dispatch, in order, then those of callbacks on schedulers."""
        records, times = self._records or {}, self._times or {}
        outcomes: list[Outcome] = []
        for subscriber in self._matched:
            record = records.get(subscriber)
            started, latency = times.get(subscriber, (None, None))
            if type(record) is Failed:
                outcomes.append(Outcome(subscriber, None, record.error, latency, started))
            elif record is not NOT_CALLED:
                outcomes.append(Outcome(subscriber, record, None, latency, started))
            if subscriber is self.stopped_by:
                break
        return (*outcomes, *self._scheduled_outcomes)

    @property
    def unreached(self) -> tuple[Subscriber, ...]:
        """The subscribers that matched but did not receive the event, since it was stopped before."""
        matched = self._matched
        return () if self.stopped_by is None else tuple(matched[matched.index(self.stopped_by) + 1 :])

    @property
    def results(self) -> list[Any]:
        """What the callbacks that succeeded have returned so far, None included."""
        return [outcome.result for outcome in self.outcomes if outcome.error is None]

    @property
    def errors(self) -> list[Exception]:
        """What callbacks have raised so far."""
        return [outcome.error for outcome in self.outcomes if outcome.error is not None]

    @property
    def completed(self) -> bool:
        """Whether every callback has ended; False while one runs on a scheduler."""
        return not self._pending

    @property
    def log_fields(self) -> dict[str, Any]:
        """The attributes of log records about it."""
        trace = self._trace
        return event_fields(self.event, trace_id="" if trace is None else trace.trace_id)

    def __iter__(self) -> Iterator[Outcome]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        parts = [f"{len(self)} outcomes", f"{len(self.errors)} errors"]
        if self.stopped_by is not None:
            parts.append(f"stopped by {self.stopped_by.id}")
        if self._pending:
            parts.append(f"{self._pending} under way")
        return printable(f"<Delivery of {self.event.topic}: {', '.join(parts)}>")

    def _subscribe_core(
        self, observer: abc.ObserverBase[Outcome], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        cursor = _Cursor(self, observer)
        # Registered before it reads, so that an outcome added from now on advances it.
        with _lock:
            self._cursors = (*self._cursors, cursor)
        cursor.advance()
        return Disposable(cursor.leave)

    def record(self, subscriber: Subscriber, what: Any) -> None:
        """Record a result that is not None, an error, or that the subscriber was not called."""
        if self._records is None:
            self._records = {}
        self._records[subscriber] = what

    def start_clock(self) -> None:
        self._started = perf_counter()
        if self._first_start is None:
            self._first_start = self._started

    def stop_clock(self, subscriber: Subscriber) -> None:
        if self._times is None:
            self._times = {}
        self._times[subscriber] = self.times_since(self._started)

    @property
    def timed(self) -> bool:
        """Whether the times of its callbacks are recorded."""
        return self._first_start is not None

    def times_since(self, started: float) -> tuple[float, float]:
        """The `started` and the `latency` of a callback that was called at a time of `perf_counter` and ends now."""
        return started - (self._first_start or started), perf_counter() - started

    def add_pending(self) -> None:
        with _lock:
            self._pending += 1

    def complete_pending(self, outcome: Outcome | None) -> None:
        """A callback on a scheduler has ended, or was dropped (None)."""
        with _lock:
            if outcome is not None:
                self._scheduled_outcomes = (*self._scheduled_outcomes, outcome)
            self._pending -= 1
        for cursor in self._cursors:
            try:
                cursor.advance()
            except Exception as error:
                logger.error("An observer of %r raised. The others go on.", self, exc_info=error)


# One lock for all deliveries: it is held for a few instructions, and only for deliveries that are observed or pending.
_lock = ForkSafeLock()


class _Cursor:
    """How far one observer of a delivery has read."""

    def __init__(self, delivery: Delivery, observer: abc.ObserverBase[Outcome]) -> None:
        self._delivery = delivery
        self._observer = observer
        self._read = 0
        self._busy = Lock()
        self._left = False

    def advance(self) -> None:
        """Emit what is new, unless another thread is doing so."""
        delivery = self._delivery
        while self._busy.acquire(blocking=False):
            try:
                # `completed` is read first: no outcome follows it.
                completed, outcomes = delivery.completed, delivery.outcomes
                while self._read < len(outcomes) and not self._left:
                    self._read += 1
                    self._observer.on_next(outcomes[self._read - 1])
                if completed and not self._left:
                    self.leave()
                    self._observer.on_completed()
            finally:
                self._busy.release()
            # An outcome added between the last read and the release found this cursor busy.
            if self._left or (self._read == len(delivery) and not delivery.completed):
                return

    def leave(self) -> None:
        self._left = True
        with _lock:
            self._delivery._cursors = tuple(c for c in self._delivery._cursors if c is not self)  # pyright: ignore[reportPrivateUsage]
