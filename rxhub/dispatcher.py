"""One event through its subscribers: priority order, stop, isolation.

Theory of operation: the `Index` answers which subscribers match, already in order, as a snapshot
that never changes. The loop below runs over it. Whatever is not a live subscriber with a plain
callback takes the `detour`, a single flag, so that the common path stays short.

A callback that returns a coroutine suspends the loop: `dispatch_async` awaits it and goes on,
`dispatch` closes it and notes an error. The suspended rest of the run is an iterator, nothing else.

Each callback runs in a copy of the context in which it subscribed (one copy a call, so that calls
cannot leak into each other, and a callback may be entered twice).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, MutableMapping, Sequence
from contextvars import Context, copy_context
from os import urandom
from threading import Lock
from time import perf_counter
from types import CoroutineType
from typing import Any

from reactivex import abc

from rxhub.delivery import Delivery, Outcome
from rxhub.errors import ExpressionError, NotFoundError, NotUniqueError
from rxhub.event import Event
from rxhub.expression import Expression, Index, parse
from rxhub.handover import Answer, HandOver, Settle
from rxhub.roster import Registration, Roster
from rxhub.subject import Subject

__all__ = ["Callback", "Dispatcher", "Subscriber"]

Callback = Callable[[Event], Any]
_Coroutine = Coroutine[Any, Any, Any]

logger = logging.getLogger("rxhub")
_new_delivery = Delivery.__new__

Run = Callable[[_Coroutine, Context], Any]


def _refuse(coroutine: _Coroutine, context: Context) -> Any:
    coroutine.close()
    raise TypeError(
        "A callback that is a coroutine function cannot be awaited in a synchronous dispatch. "
        "Publish without synchronous=True, or await dispatch_async."
    )


class Subscriber(Registration):
    """One registration: which events, what to call, who it is.

    Attributes:
        subscription: the string it was made from.
        expression: the tree that the string parses to.
        callback: called with the event.
        metadata: what event targets are tested against; holds at least `id`.
        context: each call runs in a copy of it; taken when subscribing.
    """

    __slots__ = ("_detour", "_hand_over", "_token", "callback", "context", "expression", "metadata", "subscription")

    def __init__(
        self,
        subscription: str,
        expression: Expression,
        callback: Callback,
        metadata: MutableMapping[str, Any],
        priority: float,
        scheduler: abc.SchedulerBase | None,
        settle: Settle,
    ) -> None:
        super().__init__(priority)
        self.subscription = subscription
        self.expression = expression
        self.callback = callback
        self.metadata = metadata
        self.context = copy_context()
        self._hand_over = None if scheduler is None else HandOver(self, scheduler, settle)
        # Anything but "alive and called right here": the loop looks closer.
        self._detour = scheduler is not None
        self._token: Any = None

    @property
    def id(self) -> str:
        """The identifier, unique in its dispatcher."""
        return self.metadata["id"]

    @property
    def scheduler(self) -> abc.SchedulerBase | None:
        """Where the callback runs; None is where the dispatch runs."""
        return None if self._hand_over is None else self._hand_over.scheduler

    def interested_in(self, event: Mapping[str, Any]) -> bool:
        """Whether the subscription matches `event` (targets aside)."""
        return self.expression.matches(event)

    def call(self, event: Event) -> Any:
        """Run the callback in a copy of the context in which it subscribed."""
        return self.context.copy().run(self.callback, event)

    def __str__(self) -> str:
        return f'<Subscriber {self.id} priority={self.priority} subscription="{self.subscription}">'

    __repr__ = __str__


class Dispatcher:
    """Subscribers, and the run of events through them.

    Args:
        joined: told of each new subscriber.
        left: told of each subscriber that was removed.

    Attributes:
        deliveries: emits each delivery when its run is over.
        errors: emits the outcome of each callback that failed.
    """

    def __init__(
        self,
        joined: Callable[[Subscriber], None] | None = None,
        left: Callable[[Subscriber], None] | None = None,
    ) -> None:
        self._joined = joined
        self._left = left
        self.deliveries: Subject[Delivery] = Subject()
        self.errors: Subject[Outcome] = Subject()
        self._roster: Roster[Subscriber] = Roster()
        self._index: Index[Subscriber] = Index()
        self._by_id: dict[str, Subscriber] = {}
        self._lock = Lock()

    def subscribe(
        self,
        subscription: str,
        callback: Callback,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> Subscriber:
        """Register `callback` for the events that match `subscription`.

        Args:
            subscription: see the subscription language; the empty string matches everything.
            callback: called with the event; may be a coroutine function, which `dispatch_async` awaits.
            subscriber: metadata for event targets. An `id` is added if it has none.
            priority: lower runs first; equal ones run in order of subscribing.
            scheduler: where the callback runs. It then takes its place at hand-over, gets its events
                one at a time in order, and can no longer stop them.

        Raises:
            ExpressionError: if the subscription does not parse.
            NotUniqueError: if a subscriber with this id is registered.
            TypeError: if the callback cannot be called, or the metadata is no mutable mapping.
        """
        if not callable(callback):
            raise TypeError(f"A callback must be callable, but {type(callback).__name__} was given.")
        metadata = {} if subscriber is None else subscriber
        if not isinstance(metadata, MutableMapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Subscriber metadata must be a dict, but {type(metadata).__name__} was given.")
        identifier = metadata.get("id")
        if identifier is None:
            metadata["id"] = identifier = urandom(16).hex()
        member = Subscriber(subscription, parse(subscription), callback, metadata, priority, scheduler, self._settle)
        with self._lock:
            if identifier in self._by_id:
                raise NotUniqueError(
                    f"Subscriber with identifier {identifier} already exists. "
                    "Unsubscribe it first, or leave the id out to have one made."
                )
            self._by_id[identifier] = member
            self._roster.join(member)
            # The index ranks equal priorities by order of adding, as the roster does: both under this lock.
            member._token = self._index.add(member.expression, member, priority)  # pyright: ignore[reportPrivateUsage]
        if self._joined is not None:
            self._joined(member)
        return member

    def unsubscribe(self, identifier: str) -> Subscriber:
        """Remove and return the subscriber with this id; it is not called any more, not even for an event under way.

        Raises:
            NotFoundError: if there is none.
        """
        with self._lock:
            member = self._by_id.pop(identifier, None)
            if member is None:
                raise NotFoundError(
                    f"Cannot unsubscribe missing subscriber with identifier {identifier}. "
                    f"There are {len(self._by_id)} others."
                )
            member._detour = True  # pyright: ignore[reportPrivateUsage]
            self._roster.leave(member)
            self._index.remove(member._token)  # pyright: ignore[reportPrivateUsage]
        if self._left is not None:
            self._left(member)
        return member

    def get(self, identifier: str) -> Subscriber | None:
        """The subscriber with this id, or None."""
        return self._by_id.get(identifier)

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """All subscribers in dispatch order."""
        return self._roster.snapshot()

    def __len__(self) -> int:
        return len(self._roster)

    def dispatch(self, event: Event, answer: Answer | None = None, run: Run | None = None) -> Delivery:
        """Run `event` through its subscribers, here and now.

        Args:
            event: what is delivered; an earlier `stop()` is forgotten.
            answer: called with (event, subscriber, result) for each result that is not None.
            run: runs a coroutine in a context to its end, and returns its result; without it, a
                callback that is a coroutine function yields an error outcome.

        Returns:
            The delivery; it has completed unless a subscriber with a scheduler still runs.
        """
        delivery, rest = self._begin(event)
        while (suspended := self._run(delivery, rest, answer)) is not None:
            if self._conclude(delivery, *suspended, answer, run or _refuse):
                break
        if self.deliveries.observers:
            self.deliveries.on_next(delivery)
        return delivery

    async def dispatch_async(self, event: Event, answer: Answer | None = None) -> Delivery:
        """As `dispatch`, but coroutine callbacks are awaited, in order, on the running loop."""
        delivery, rest = self._begin(event)
        while (suspended := self._run(delivery, rest, answer)) is not None:
            subscriber, coroutine = suspended
            started = perf_counter()
            # A task of its own gives the coroutine the subscriber's context.
            task = asyncio.create_task(coroutine, context=subscriber.context.copy())
            try:
                result, error = await task, None
            except Exception as raised:
                result, error = None, raised
            if self._record(delivery, subscriber, result, error, perf_counter() - started, answer):
                break
        if self.deliveries.observers:
            self.deliveries.on_next(delivery)
        return delivery

    def _begin(self, event: Event) -> tuple[Delivery, Iterator[Subscriber]]:
        event._stopped = False  # pyright: ignore[reportPrivateUsage]
        delivery = _new_delivery(Delivery)
        delivery.event = event
        delivery._outcomes = []  # pyright: ignore[reportPrivateUsage]
        matched = self._index.match(event)
        if event._fields.get("target"):  # pyright: ignore[reportPrivateUsage]
            matched = self._targeted(event, matched)
        return delivery, iter(matched)

    def _run(
        self, delivery: Delivery, rest: Iterator[Subscriber], answer: Answer | None
    ) -> tuple[Subscriber, _Coroutine] | None:
        """Call the callbacks of `rest` until it ends, one stops the event, or one returns a coroutine (returned)."""
        event = delivery.event
        outcomes = delivery._outcomes  # pyright: ignore[reportPrivateUsage]
        timed = bool(self.deliveries.observers)
        started = 0.0
        for subscriber in rest:
            if subscriber._detour:  # pyright: ignore[reportPrivateUsage]
                if subscriber.alive and (hand_over := subscriber._hand_over) is not None:  # pyright: ignore[reportPrivateUsage]
                    hand_over.put(event, delivery, answer)
                continue
            if timed:
                started = perf_counter()
            try:
                result = subscriber.context.copy().run(subscriber.callback, event)
            except Exception as error:
                self._record(delivery, subscriber, None, error, perf_counter() - started if timed else None, answer)
            else:
                if result is not None:
                    if type(result) is CoroutineType:
                        return subscriber, result
                    if answer is not None:
                        answer(event, subscriber, result)
                outcomes.append(Outcome(subscriber, result, None, perf_counter() - started if timed else None))
            if event._stopped:  # pyright: ignore[reportPrivateUsage]
                delivery.stopped_by = subscriber
                break
        return None

    def _conclude(
        self,
        delivery: Delivery,
        subscriber: Subscriber,
        coroutine: _Coroutine,
        answer: Answer | None,
        run: Run,
    ) -> bool:
        """Run a coroutine callback to its end; True if it stopped the event."""
        started = perf_counter()
        try:
            result, error = run(coroutine, subscriber.context.copy()), None
        except Exception as raised:
            result, error = None, raised
        return self._record(delivery, subscriber, result, error, perf_counter() - started, answer)

    def _record(
        self,
        delivery: Delivery,
        subscriber: Subscriber,
        result: Any,
        error: Exception | None,
        latency: float | None,
        answer: Answer | None,
    ) -> bool:
        """Add an outcome that did not come on the common path; True if its callback stopped the event."""
        event = delivery.event
        outcome = Outcome(subscriber, result, error, latency)
        if error is not None:
            self._report(event, outcome, error)
        elif answer is not None and result is not None:
            answer(event, subscriber, result)
        delivery._outcomes.append(outcome)  # pyright: ignore[reportPrivateUsage]
        if event.is_stopped():
            delivery.stopped_by = subscriber
            return True
        return False

    def _settle(
        self, delivery: Delivery, subscriber: Subscriber, result: Any, error: Exception | None, answer: Answer | None
    ) -> None:
        """A callback that was handed to a scheduler has ended."""
        outcome = Outcome(subscriber, result, error)
        if error is not None:
            self._report(delivery.event, outcome, error)
        elif answer is not None and result is not None:
            answer(delivery.event, subscriber, result)
        delivery.close_one(outcome)

    def _report(self, event: Event, outcome: Outcome, error: Exception) -> None:
        logger.error("Error calling %s for event %s: %s", outcome.subscriber, event.topic, error, exc_info=error)
        self.errors.on_next(outcome)

    def _targeted(self, event: Event, matched: Sequence[Subscriber]) -> Sequence[Subscriber]:
        """Those of `matched` whose metadata the event's target matches; none if the target does not parse."""
        try:
            target = parse(event.target)
        except ExpressionError as error:
            logger.error("Event %s reaches nobody, since its target cannot be parsed: %s", event.id, error)
            return ()
        return [subscriber for subscriber in matched if target.matches(subscriber.metadata)]

    def renew_locks(self) -> None:
        """Replace every lock; for a child process, where a thread that held one is gone."""
        self._lock = Lock()
        self._roster.renew_lock()
        self._index.renew_lock()
        for subscriber in self._roster:
            if subscriber._hand_over is not None:  # pyright: ignore[reportPrivateUsage]
                subscriber._hand_over.renew_lock()  # pyright: ignore[reportPrivateUsage]
