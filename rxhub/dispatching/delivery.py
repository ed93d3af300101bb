"""One event's run through its subscribers, as an observable.

Theory of operation: nearly every delivery is over when its dispatch returns, and nobody looks at
it. So the dispatcher only keeps who matched (the index's on_result, as it is) and notes what is out of
the ordinary: a result that is not None, a failure, somebody who was not called after all. The
outcomes are made for those who come. A subscription reads them through a cursor of its
own, from the first on. Only hand-overs to a scheduler leave a delivery open; each announces its
outcome by `complete_pending`, which drains every cursor. A cursor is drained by one thread at a time; who
finds it busy leaves, because the busy one looks again before it goes.
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
from rxhub.event import Event
from rxhub.rx.awaitable import Awaitable
from rxhub.text.displayable import Displayable
from rxhub.text.printable import printable

if TYPE_CHECKING:
    from rxhub.dispatching.dispatcher import Subscriber

__all__ = ["NOT_CALLED", "Delivery", "Failed", "Outcome"]


logger = logging.getLogger("rxhub")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one callback.

    Attributes:
        subscriber: whose callback it was.
        result: what it returned; None if it failed.
        error: what it raised, or the error that ended its pipeline; None if all went well.
        latency: seconds that it took; None unless somebody observed the deliveries at the time.
    """

    subscriber: Subscriber
    result: Any = None
    error: Exception | None = None
    latency: float | None = None


class Failed:
    """What a failed call leaves in the notes."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class NotCalled:
    """What a subscriber that was not called here leaves in the notes."""

    __slots__ = ()


NOT_CALLED = NotCalled()


class Delivery(Awaitable[Outcome], Observable[Outcome], Displayable):
    """One event and the outcomes of its callbacks, in the order in which they ended.

    Emits the outcomes and completes when the last callback has ended or one stopped the event;
    whoever subscribes later gets all of them again. Iterating gives the outcomes so far.

    Attributes:
        event: the event that was delivered.
        stopped_by: the subscriber that stopped it, or None.
    """

    # Observable.__init__ costs more than a dispatch; what it would set stands here or is made when asked for.
    __init__ = object.__init__  # pyright: ignore[reportAssignmentType]

    event: Event
    stopped_by: Subscriber | None = None
    _called: Sequence[Subscriber]
    _next = 0
    _notes: dict[Subscriber, Any] | None = None
    _latencies: dict[Subscriber, float] | None = None
    _later: tuple[Outcome, ...] = ()
    _pending = 0
    _cursors: tuple[_Cursor, ...] = ()
    _subscribe = None

    lock = LazyForkSafeLock()  # pyright: ignore[reportAssignmentType]

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes so far: first those of the dispatch, in order, then those that were handed over."""
        notes, latencies = self._notes or {}, self._latencies or {}
        here: list[Outcome] = []
        for subscriber in self._called:
            note, latency = notes.get(subscriber), latencies.get(subscriber)
            if type(note) is Failed:
                here.append(Outcome(subscriber, None, note.error, latency))
            elif note is not NOT_CALLED:
                here.append(Outcome(subscriber, note, None, latency))
            if subscriber is self.stopped_by:
                break
        return (*here, *self._later)

    @property
    def unreached(self) -> tuple[Subscriber, ...]:
        """Whose subscriptions matched, but who did not get the event, since it had been stopped before."""
        called = self._called
        return () if self.stopped_by is None else tuple(called[called.index(self.stopped_by) + 1 :])

    @property
    def results(self) -> list[Any]:
        """What the callbacks that succeeded have returned so far, None included."""
        return [outcome.result for outcome in self.outcomes if outcome.error is None]

    @property
    def errors(self) -> list[Exception]:
        """What failed callbacks have raised so far."""
        return [outcome.error for outcome in self.outcomes if outcome.error is not None]

    @property
    def completed(self) -> bool:
        """Whether every callback has ended; False while one that was handed over still runs."""
        return not self._pending

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
        # Registered before it reads, so that an outcome added from now on is announced to it.
        with _registering:
            self._cursors = (*self._cursors, cursor)
        cursor.drain()
        return Disposable(cursor.leave)

    def record(self, subscriber: Subscriber, what: Any) -> None:
        """Keep what is out of the ordinary about one call."""
        if self._notes is None:
            self._notes = {}
        self._notes[subscriber] = what

    def start_clock(self) -> None:
        """A callback begins, and somebody wants to know how long it takes."""
        self._started = perf_counter()

    def stop_clock(self, subscriber: Subscriber) -> None:
        """The callback that began last has ended."""
        if self._latencies is None:
            self._latencies = {}
        self._latencies[subscriber] = perf_counter() - self._started

    def add_pending(self) -> None:
        """A callback was handed to a scheduler; its outcome will come by `complete_pending`."""
        with _registering:
            self._pending += 1

    def complete_pending(self, outcome: Outcome | None) -> None:
        """A handed-over callback has ended with `outcome`, or was dropped (None)."""
        with _registering:
            if outcome is not None:
                self._later = (*self._later, outcome)
            self._pending -= 1
        for cursor in self._cursors:
            try:
                cursor.drain()
            except Exception as error:
                logger.error("An observer of %r raised, the others go on.", self, exc_info=error)


# One lock for all deliveries: it is held for a few instructions, and only for those that are
# observed or handed over.
_registering = ForkSafeLock()


class _Cursor:
    """How far one observer of a delivery has read."""

    def __init__(self, delivery: Delivery, observer: abc.ObserverBase[Outcome]) -> None:
        self._delivery = delivery
        self._observer = observer
        self._read = 0
        self._busy = Lock()
        self._left = False

    def drain(self) -> None:
        delivery = self._delivery
        while self._busy.acquire(blocking=False):
            try:
                # Completed is asked first: nothing comes after it.
                completed, outcomes = delivery.completed, delivery.outcomes
                while self._read < len(outcomes) and not self._left:
                    self._read += 1
                    self._observer.on_next(outcomes[self._read - 1])
                if completed and not self._left:
                    self.leave()
                    self._observer.on_completed()
            finally:
                self._busy.release()
            # What was added between the last look and the release was announced to a busy cursor.
            if self._left or (self._read == len(delivery) and not delivery.completed):
                return

    def leave(self) -> None:
        self._left = True
        with _registering:
            self._delivery._cursors = tuple(c for c in self._delivery._cursors if c is not self)  # pyright: ignore[reportPrivateUsage]
