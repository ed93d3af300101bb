"""One event through its subscribers: priority order, stop, isolation.

Theory of operation: the `Index` answers which subscribers match, already in order, as a snapshot
that never changes. The loop below runs over it. Whatever is not a live subscriber with a plain
callback sets `_needs_slow_path`, a single flag, so that the common path stays short.

There are two such loops, alike but for one word: `dispatch_async` awaits what a callback returns if it
is awaitable, `dispatch` has it run by whoever handles the hub, or notes an error. Both note only what
is out of the ordinary; a `Delivery` makes outcomes of that when somebody looks.

Each callback runs in a copy of the context in which it subscribed (one copy a call, so that calls
cannot leak into each other, and a callback may be entered twice).
"""

# The insides of event, subscriber and delivery are this file's own: the loop cannot afford their properties.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Hashable, Mapping, MutableMapping, Sequence
from contextvars import Context, ContextVar, copy_context
from functools import partial
from os import urandom
from time import monotonic
from typing import Any, cast

from reactivex import abc

from rxhub.concurrency.awaitables import as_coroutine, awaited, is_unfinished, needs_await
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.concurrency.ordered_calls import OrderedCalls
from rxhub.dispatching.delivery import NOT_CALLED, Delivery, Failed, Outcome
from rxhub.dispatching.observe_on import OnOutcome, OnResult, ScheduledSubscriber
from rxhub.dispatching.registry import Registration, Registry
from rxhub.dispatching.time_slice import TimeSlice
from rxhub.errors import ExpressionError, NotFoundError, as_exception
from rxhub.event import Event
from rxhub.expression import Dialect, Expression, Index, parse
from rxhub.redaction import redacted_text
from rxhub.rx.scope import Scope, current_scope
from rxhub.rx.scoped_subject import ScopedSubject
from rxhub.rx.subject import Subject
from rxhub.text.displayable import Displayable
from rxhub.text.printable import printable

__all__ = ["Callback", "Dispatcher", "Run", "Subscriber"]

Callback = Callable[[Event], Any]
_Coroutine = Coroutine[Any, Any, Any]

logger = logging.getLogger("rxhub")
# Most programs have no context variables; their subscribers share this.
_EMPTY = Context()

_awaited_by: ContextVar[Dispatcher | None] = ContextVar("rxhub_awaited_by", default=None)

Run = Callable[[_Coroutine, Context], Any]
"""Runs a coroutine in a context to its end, and returns its result."""


def _refuse(coroutine: _Coroutine, _: Context) -> Any:
    coroutine.close()
    raise TypeError(
        "A callback returned an awaitable, which cannot be awaited in a synchronous dispatch. "
        "Publish without synchronous=True: where the hub is handled, it is awaited."
    )


class Subscriber(Registration, Displayable):
    """One registration: which events, what to call, who it is.

    Attributes:
        id: the identifier, unique in its dispatcher.
        subscription: the string it was made from.
        expression: the tree that the string parses to.
        callback: called with the event.
        metadata: what event targets are tested against; holds at least `id`.
        context: each call runs in a copy of it; taken when subscribing.
        owner: in whose name it was registered, such as a plugin's; it leaves with him.
    """

    __slots__ = (
        "_hand_over",
        "_leave",
        "_needs_slow_path",
        "_token",
        "callback",
        "context",
        "expression",
        "id",
        "metadata",
        "owner",
        "subscription",
    )

    def __init__(
        self,
        subscription: str,
        expression: Expression,
        callback: Callback,
        metadata: MutableMapping[str, Any],
        priority: float,
        scheduler: abc.SchedulerBase | None,
        on_outcome: OnOutcome,
    ) -> None:
        super().__init__(priority)
        self.subscription = subscription
        self.expression = expression
        self.callback = callback
        self.metadata = metadata
        # Kept apart: the metadata is its owner's, who may change it.
        self.id: str = metadata["id"]
        self.context = copy_context() or _EMPTY
        self._hand_over = None if scheduler is None else ScheduledSubscriber(self, scheduler, on_outcome)
        # Anything but "alive and called right here": the loop looks closer.
        self._needs_slow_path = scheduler is not None
        self._token: Any = None
        self.owner: Scope | None = None
        self._leave: Callable[[], None] | None = None

    @property
    def scheduler(self) -> abc.SchedulerBase | None:
        """Where the callback runs; None is where the dispatch runs."""
        return None if self._hand_over is None else self._hand_over.scheduler

    def interested_in(self, event: Mapping[str, Any]) -> bool:
        """Whether the subscription matches `event` (targets aside)."""
        return self.expression.matches(event)

    def __str__(self) -> str:
        subscription = redacted_text(self.subscription)
        return printable(f'<Subscriber {self.id} priority={self.priority} subscription="{subscription}">')

    __repr__ = __str__


class Dispatcher:
    """Subscribers, and the run of events through them.

    Args:
        joined: told of each new subscriber.
        left: told of each subscriber that was removed.
        dialect: how subscriptions and targets are read.

    Attributes:
        dialect: how subscriptions and targets are read.
        deliveries: emits each delivery when its run is over.
        errors: emits the outcome of each callback that failed.
    """

    def __init__(
        self,
        joined: Callable[[Subscriber], None] | None = None,
        left: Callable[[Subscriber], None] | None = None,
        dialect: Dialect = Dialect.RXHUB,
    ) -> None:
        self._joined = joined
        self._left = left
        self.dialect = dialect
        # Two threads may dispatch at the same time, but an Rx observer must not be called while it is busy.
        self.deliveries: Subject[Delivery] = ScopedSubject(serialize=True)
        self.errors: Subject[Outcome] = ScopedSubject(serialize=True)
        # Truthy while somebody observes the deliveries; looked at for every event.
        self._watchers = self.deliveries._subscriptions
        self._registry: Registry[str, Subscriber] = Registry()
        self._index: Index[Subscriber] = Index()
        self._match = self._index.match
        self._lock = ForkSafeLock()
        # Joining and leaving are told outside of the lock: a subscriber that left must not be announced after that.
        self._told: OrderedCalls[Subscriber] = OrderedCalls()

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
            ScopeClosed: if a plugin subscribes that was torn down.
            TypeError: if the callback cannot be called, the metadata is no mutable mapping, its id cannot be hashed,
                or the priority is no number.
        """
        if not callable(callback):
            raise TypeError(f"A callback must be callable, but {type(callback).__name__} was given.")
        metadata: MutableMapping[str, Any] = {} if subscriber is None else subscriber
        if not isinstance(metadata, MutableMapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            number = isinstance(metadata, int | float)
            hint = f" A priority goes by its name: priority={metadata}." if number else ""
            raise TypeError(f"Subscriber metadata must be a dict, but {type(metadata).__name__} was given.{hint}")
        identifier: Any = metadata.get("id")
        if identifier is None:
            metadata["id"] = identifier = urandom(16).hex()
        if not isinstance(cast("object", identifier), Hashable):
            raise TypeError(f"A subscriber's id must be hashable, but {type(identifier).__name__} was given.")
        if not isinstance(priority, (int, float)) or priority != priority:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"A priority is a number (the lowest runs first), but {priority!r} was given.")
        tree = parse(subscription, self.dialect)
        return self.add(Subscriber(subscription, tree, callback, metadata, priority, scheduler, self.on_outcome))

    def add(self, member: Subscriber) -> Subscriber:
        """Register a subscriber that was made elsewhere, and give it back.

        Raises:
            NotUniqueError: if one with its id is registered.
        """
        call = None if self._joined is None else (self._joined, member)
        # The registry and the index rank equal priorities by order of coming: both must see the same order.
        with self._lock:
            self._registry.join(member.id, member)
            member._token = self._index.add(member.expression, member, member.priority)
            if call is not None:
                self._told.add(call)
        if call is not None:
            self._told.run(call, wait=True)
        owner = current_scope()
        if owner is not None:
            member.owner = owner
            member._leave = leave = partial(self._leave, member)
            owner.add(leave)
            if not member.alive:  # another thread has removed it before it was kept
                owner.discard(leave)
        return member

    def report_in_order(self, report: Callable[[Subscriber], object], member: Subscriber) -> None:
        """Call `report` when all earlier joining and leaving has been told, and return after it."""
        call = report, member
        self._told.add(call)
        self._told.run(call, wait=True)

    def _leave(self, member: Subscriber) -> None:
        """The owner of `member` leaves."""
        if self._registry.get(member.id) is member:
            try:
                self.unsubscribe(member.id)
            except NotFoundError:
                pass  # another thread was faster

    def unsubscribe(self, identifier: str) -> Subscriber:
        """Remove and return the subscriber with this id; it is not called any more, not even for an event under way.

        Raises:
            NotFoundError: if there is none.
        """
        with self._lock:
            member = self._registry.leave(identifier)
            member._needs_slow_path = True
            self._index.remove(member._token)
            call = None if self._left is None else (self._left, member)
            if call is not None:
                self._told.add(call)
        if member.owner is not None and member._leave is not None:
            member.owner.discard(member._leave)
            member._leave = None  # it holds the member
        if call is not None:
            # Not waiting: a finalizer may have called this while it holds locks that the telling thread waits for.
            self._told.run(call)
        return member

    def get(self, identifier: str) -> Subscriber | None:
        """The subscriber with this id, or None."""
        return self._registry.get(identifier)

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """All subscribers in dispatch order."""
        return self._registry.snapshot()

    def __len__(self) -> int:
        return len(self._registry)

    def dispatch(  # noqa: C901 - written out: a call for each callback would cost more than the rest
        self,
        event: Event,
        on_result: OnResult | None = None,
        run: Run | None = None,
        time_slice: TimeSlice | None = None,
        unfinished: Delivery | None = None,
    ) -> Delivery:
        """Run `event` through its subscribers, here and now.

        Args:
            event: what is delivered; an earlier `stop()` is forgotten.
            on_result: called with (event, subscriber, result) for each result that is not None.
            run: runs a coroutine in a context to its end, and returns its result; without it, a
                callback that is a coroutine function yields an error outcome.
            time_slice: of the context that handles the event. It takes back a delivery when its time is over, and one
                that
                an exception interrupts which is no `Exception`, such as KeyboardInterrupt.
            unfinished: the delivery of the event that was handed back; it goes on at the next subscriber.

        Returns:
            The delivery; it has completed unless a subscriber with a scheduler still runs, or it was handed back.
        """
        # The common path of the whole library: each line here is paid for by every event.
        if unfinished is None:
            event._stopped = False
            matched = self._match(event)
            try:
                target = event._fields["target"]
            except KeyError:
                target = None  # somebody deleted it
            if target:
                matched = self._targeted(event, matched)
            delivery = Delivery()
            delivery.event = event
            delivery._called = matched
        else:
            delivery = unfinished
            matched = delivery._called[delivery._next :]
        # Asked once: a callback may come to observe the deliveries.
        timed = bool(self._watchers)
        for subscriber in matched:
            if subscriber._needs_slow_path:
                self._hand_over(delivery, subscriber, on_result)
                continue
            if timed:
                delivery.start_clock()
            try:
                result: Any = subscriber.context.copy().run(subscriber.callback, event)
                if result is not None:
                    if (needs_await if run is None else is_unfinished)(result):
                        result = (run or _refuse)(as_coroutine(result), self._awaiting_context(subscriber))
                    if result is not None:
                        delivery.record(subscriber, result)
                        if on_result is not None:
                            on_result(event, subscriber, result)
            except (Exception, asyncio.CancelledError) as error:
                delivery.record(subscriber, self._failed(event, subscriber, error))
            except BaseException as error:
                self._interrupted(delivery, subscriber, error, time_slice)
                raise
            if timed:
                delivery.stop_clock(subscriber)
            if event._stopped:
                delivery.stopped_by = subscriber
                break
            if (
                time_slice is not None
                and time_slice.limited
                and monotonic() >= time_slice.end
                and subscriber is not matched[-1]
            ):
                self._put_off(delivery, subscriber, time_slice)
                return delivery
        if self._watchers:
            self.deliveries.on_next(delivery)
        return delivery

    async def dispatch_async(  # noqa: C901 - as above
        self,
        event: Event,
        on_result: OnResult | None = None,
        time_slice: TimeSlice | None = None,
        unfinished: Delivery | None = None,
    ) -> Delivery:
        """As `dispatch`, but coroutine callbacks are awaited, in order, on the running loop.

        When the time_slice is over, the loop's other tasks run before the next callback. If the task of the time_slice
        is cancelled, the callback under way is cancelled, and the delivery handed back.
        """
        if unfinished is None:
            event._stopped = False
            matched = self._match(event)
            try:
                target = event._fields["target"]
            except KeyError:
                target = None  # somebody deleted it
            if target:
                matched = self._targeted(event, matched)
            delivery = Delivery()
            delivery.event = event
            delivery._called = matched
        else:
            delivery = unfinished
            matched = delivery._called[delivery._next :]
        # Asked once: a callback may come to observe the deliveries.
        timed = bool(self._watchers)
        is_cancelled = False
        for subscriber in matched:
            if subscriber._needs_slow_path:
                self._hand_over(delivery, subscriber, on_result)
                continue
            if timed:
                delivery.start_clock()
            result: Any = None
            try:
                result = subscriber.context.copy().run(subscriber.callback, event)
                if result is not None:
                    if is_unfinished(result):
                        # A task of its own gives the coroutine the subscriber's context.
                        task = asyncio.create_task(awaited(result), context=self._awaiting_context(subscriber))
                        try:
                            result = await task
                        finally:
                            is_cancelled = time_slice is not None and time_slice.is_cancelled()
                    if result is not None:
                        delivery.record(subscriber, result)
                        if on_result is not None:
                            on_result(event, subscriber, result)
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and time_slice is None and _is_cancelled_itself():
                    raise
                if isinstance(error, asyncio.CancelledError) and is_cancelled:
                    if inspect.iscoroutine(result) and inspect.getcoroutinestate(result) == inspect.CORO_CREATED:
                        # It has not begun: its task was cancelled before the first step. It is called again.
                        result.close()
                        self._put_off(delivery, subscriber, time_slice, is_called=False)
                    else:
                        self._interrupted(delivery, subscriber, error, time_slice)
                    raise
                delivery.record(subscriber, self._failed(event, subscriber, error))
            except BaseException as error:
                self._interrupted(delivery, subscriber, error, time_slice)
                raise
            if timed:
                delivery.stop_clock(subscriber)
            if event._stopped:
                delivery.stopped_by = subscriber
            if is_cancelled:
                # The callback has swallowed it.
                self._put_off(delivery, subscriber, time_slice)
                raise asyncio.CancelledError
            if event._stopped:
                break
            if time_slice is not None and monotonic() >= time_slice.end and subscriber is not matched[-1]:
                try:
                    await time_slice.yield_to_loop()
                except BaseException:
                    self._put_off(delivery, subscriber, time_slice)
                    raise
        if self._watchers:
            self.deliveries.on_next(delivery)
        return delivery

    def undelivered(self, event: Event) -> Delivery:
        """The delivery of an event that no subscriber has got yet, for `dispatch(unfinished=…)`."""
        event._stopped = False
        matched = self._match(event)
        target = event.get("target")
        delivery = Delivery()
        delivery.event = event
        delivery._called = self._targeted(event, matched) if target else matched
        return delivery

    def _interrupted(
        self, delivery: Delivery, subscriber: Subscriber, raised: BaseException, time_slice: TimeSlice | None
    ) -> None:
        """A callback was ended by what ends its context, too; the later ones get the event from the next context."""
        error = as_exception(raised)
        delivery.record(subscriber, Failed(error))
        if delivery.event._stopped:
            delivery.stopped_by = subscriber
        self._put_off(delivery, subscriber, time_slice)
        # Not a coroutine that is thrown away with its loop: it runs in a finalizer.
        if not isinstance(raised, GeneratorExit):
            name = type(raised).__name__
            logger.warning("%s ended %s in event %s.", name, subscriber, delivery.event.topic)
            self.errors.on_next(Outcome(subscriber, error=error))

    def _put_off(
        self, delivery: Delivery, subscriber: Subscriber, time_slice: TimeSlice | None, is_called: bool = True
    ) -> None:
        """Hand back a delivery that has come as far as `subscriber`, unless it is over."""
        if time_slice is None:
            return
        delivery._next = delivery._called.index(subscriber) + is_called
        if delivery.stopped_by is None and delivery._next < len(delivery._called):
            time_slice.hand_back(delivery)
        elif self._watchers:
            self.deliveries.on_next(delivery)

    @property
    def is_awaiting(self) -> bool:
        """Whether this runs in a coroutine callback, or a task of one, for which the present event waits."""
        return _awaited_by.get() is self

    def _awaiting_context(self, subscriber: Subscriber) -> Context:
        context = subscriber.context.copy()
        context.run(_awaited_by.set, self)
        return context

    def _hand_over(self, delivery: Delivery, subscriber: Subscriber, on_result: OnResult | None) -> None:
        """The callback does not run here: it left meanwhile, or its scheduler will run it."""
        delivery.record(subscriber, NOT_CALLED)
        if subscriber.alive and subscriber._hand_over is not None:
            subscriber._hand_over.put(delivery, on_result)

    def _failed(self, event: Event, subscriber: Subscriber, raised: BaseException) -> Failed:
        error = as_exception(raised)
        self.report(event, Outcome(subscriber, error=error), error)
        return Failed(error)

    def on_outcome(
        self,
        delivery: Delivery,
        subscriber: Subscriber,
        result: Any,
        error: Exception | None,
        on_result: OnResult | None,
    ) -> None:
        """Note that a callback which was handed to a scheduler has ended."""
        if error is None and on_result is not None and result is not None:
            try:
                on_result(delivery.event, subscriber, result)
            except Exception as refused:
                result, error = None, refused
        outcome = Outcome(subscriber, result, error)
        if error is not None:
            self.report(delivery.event, outcome, error)
        delivery.complete_pending(outcome)

    def report(self, event: Event, outcome: Outcome, error: Exception) -> None:
        """Tell that a callback has failed."""
        # In the context in which it was subscribed: a notebook shows what is logged below the cell of that context.
        log = partial(logger.error, "Error calling %s for event %s: %s", outcome.subscriber, event.topic, error)
        outcome.subscriber.context.copy().run(log, exc_info=error)
        self.errors.on_next(outcome)

    def _targeted(self, event: Event, matched: Sequence[Subscriber]) -> Sequence[Subscriber]:
        """Those of `matched` whose metadata the event's target matches; none if the target does not parse."""
        try:
            target = parse(event.target, self.dialect)
        except ExpressionError as error:
            logger.error("Event %s reaches nobody, since its target cannot be parsed: %s", event.id, error)
            return ()
        return [subscriber for subscriber in matched if target.matches(subscriber.metadata)]

    @property
    def completed(self) -> bool:
        """Whether it was told that no event comes any more."""
        return self.deliveries.is_stopped

    def complete(self) -> None:
        """No event comes any more: complete `deliveries` and `errors`."""
        self.deliveries.on_completed()
        self.errors.on_completed()


def _is_cancelled_itself() -> bool:
    """Whether the cancellation was meant for the task that dispatches, not for what a callback awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
