"""Run events through their subscribers: in order of priority, until one stops the event, each apart from the others.

The `Index` returns the subscribers that match, in order, as a snapshot. Whatever is not a live subscriber with a plain
callback is marked by one flag, `_needs_slow_path`. There are two loops: `dispatch_async` awaits what a callback returns
if it is awaitable; `dispatch` has it run by `run`, or records an error. Each callback runs in a copy of the context in
which it was subscribed: one copy for each call, since a context cannot be entered twice.
"""

# The private attributes of event, subscriber and delivery belong to this file: properties would be too slow.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, ContextVar
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from rxhub.concurrency.awaitables import as_coroutine, await_, is_unfinished, needs_await
from rxhub.concurrency.event_loop import is_cancelling
from rxhub.dispatching.delivery import NOT_CALLED, Delivery, Failed, Outcome
from rxhub.dispatching.observe_on import ScheduledSubscriber
from rxhub.dispatching.subscriber import OnResult, Subscriber
from rxhub.dispatching.subscribers import Subscribers
from rxhub.dispatching.time_slice import TimeSlice
from rxhub.errors import ExpressionError, as_exception
from rxhub.event import Event
from rxhub.expression import Dialect, parse
from rxhub.rx.scoped_subject import ScopedSubject
from rxhub.rx.subject import Subject
from rxhub.telemetry import counts, tracing
from rxhub.telemetry.log_fields import event_fields

if TYPE_CHECKING:
    from rxhub.telemetry.spans import HandlerTrace

__all__ = ["Dispatcher", "Run"]

_Coroutine = Coroutine[Any, Any, Any]

logger = logging.getLogger("rxhub")

_awaited_by: ContextVar[Dispatcher | None] = ContextVar("rxhub_awaited_by", default=None)

Run = Callable[[_Coroutine, Context], Any]
"""Runs a coroutine in a context and returns its result."""


def _refuse(coroutine: _Coroutine, _: Context) -> Any:
    coroutine.close()
    raise TypeError(
        "A callback returned an awaitable, which cannot be awaited in a synchronous dispatch. "
        "Publish without synchronous=True: where the hub is handled, it is awaited."
    )


class Dispatcher(Subscribers):
    """Subscribers, and the run of events through them.

    Args:
        joined: called with each new subscriber.
        left: called with each subscriber that was removed.
        dialect: how subscriptions and targets are read.

    Attributes:
        deliveries: emits each delivery when its run is over.
        errors: emits the outcome of each callback that failed.
    """

    def __init__(
        self,
        joined: Callable[[Subscriber], None] | None = None,
        left: Callable[[Subscriber], None] | None = None,
        dialect: Dialect = Dialect.RXHUB,
    ) -> None:
        super().__init__(joined, left, dialect)
        # Two threads may dispatch at the same time, but an Rx observer must not be called while it is busy.
        self.deliveries: Subject[Delivery] = ScopedSubject(serialize=True)
        self.errors: Subject[Outcome] = ScopedSubject(serialize=True)
        # True while `deliveries` has observers; read for every event.
        self._watchers = self.deliveries._subscriptions

    def add(self, member: Subscriber) -> Subscriber:
        """Register a subscriber and return it. Raises NotUniqueError if one with its id is registered."""
        if member.scheduler is not None:
            member.enqueue = ScheduledSubscriber(member, member.scheduler, self._on_outcome).put
        return super().add(member)

    def dispatch(  # noqa: C901 - written out: a call for each callback would cost more than the rest
        self,
        event: Event,
        on_result: OnResult | None = None,
        run: Run | None = None,
        time_slice: TimeSlice | None = None,
        unfinished: Delivery | None = None,
    ) -> Delivery:
        """Run `event` through its subscribers, in this thread.

        Args:
            event: what is delivered; an earlier `stop()` is forgotten.
            on_result: called with (event, subscriber, result) for each result that is not None.
            run: runs a coroutine in a context and returns its result; without it, a coroutine callback is an error.
            time_slice: takes back a delivery when it ends, and one that is interrupted by what is not an `Exception`,
                such as KeyboardInterrupt.
            unfinished: the delivery of the event that was handed back; it goes on at the next subscriber.

        Returns:
            The delivery. It has completed unless a subscriber with a scheduler still runs, or it was handed back.
        """
        # The common path of the library: each line here is executed for every event.
        if unfinished is None:
            event._stopped = False
            matched = self._match(event)
            try:
                target = event._fields["target"]
            except KeyError:
                target = None  # a callback deleted it
            if target:
                matched = self._targeted(event, matched)
            delivery = Delivery()
            delivery.event = event
            delivery._matched = matched
            trace = None
            if tracing.active is not None and matched:
                delivery._trace = trace = tracing.active.handle(event)
        else:
            delivery = unfinished
            matched = delivery._matched[delivery._next :]
            trace = delivery._trace
        # Most subscribers share their variables, and so a copy of them in which the context of the event is attached.
        entered: Context | None = None
        traced: Context | None = None
        # Read once: a callback may start to observe the deliveries.
        timed = bool(self._watchers)
        for subscriber in matched:
            if subscriber._needs_slow_path:
                self._enqueue(delivery, subscriber, on_result)
                continue
            if timed:
                delivery.start_clock()
            try:
                result: Any
                if trace is None:
                    result = subscriber.context.copy().run(subscriber.callback, event)
                else:
                    if traced is None or subscriber.context is not entered:
                        traced = trace.enter(subscriber)
                        entered = None if trace.records else subscriber.context
                    result = traced.copy().run(subscriber.callback, event)
                if result is not None:
                    if (needs_await if run is None else is_unfinished)(result):
                        result = (run or _refuse)(as_coroutine(result), self._awaiting_context(subscriber, trace))
                    if result is not None:
                        delivery.record(subscriber, result)
                        if on_result is not None:
                            _publish_result(on_result, trace, event, subscriber, result)
            except (Exception, asyncio.CancelledError) as error:
                self._record_error(delivery, subscriber, error)
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
                self._hand_back(delivery, subscriber, time_slice)
                return delivery
        if trace is not None and trace.records:
            _end_trace(delivery)
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
        """As `dispatch`, but awaits coroutine callbacks, in order, on the running loop.

        When the time slice ends, the loop's other tasks run before the next callback. If the task of the time slice is
        cancelled, the callback under way is cancelled, and the delivery is handed back.
        """
        delivery = unfinished or self.undelivered(event)
        matched = delivery._matched[delivery._next :]
        trace = delivery._trace
        timed = bool(self._watchers)
        is_cancelled = False
        for subscriber in matched:
            if subscriber._needs_slow_path:
                self._enqueue(delivery, subscriber, on_result)
                continue
            if timed:
                delivery.start_clock()
            result: Any = None
            try:
                context = subscriber.context.copy() if trace is None else trace.enter(subscriber)
                result = context.run(subscriber.callback, event)
                if result is not None:
                    if is_unfinished(result):
                        # A new task gives the coroutine the subscriber's context.
                        task = asyncio.create_task(await_(result), context=self._awaiting_context(subscriber, trace))
                        try:
                            result = await task
                        finally:
                            is_cancelled = time_slice is not None and time_slice.is_cancelled()
                    if result is not None:
                        delivery.record(subscriber, result)
                        if on_result is not None:
                            _publish_result(on_result, trace, event, subscriber, result)
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and time_slice is None and is_cancelling():
                    _end_trace(delivery, error)
                    raise
                if isinstance(error, asyncio.CancelledError) and is_cancelled:
                    if inspect.iscoroutine(result) and inspect.getcoroutinestate(result) == inspect.CORO_CREATED:
                        # Its task was cancelled before its first step: it is called again.
                        result.close()
                        self._hand_back(delivery, subscriber, time_slice, is_called=False)
                    else:
                        self._interrupted(delivery, subscriber, error, time_slice)
                    raise
                self._record_error(delivery, subscriber, error)
            except BaseException as error:
                self._interrupted(delivery, subscriber, error, time_slice)
                raise
            if timed:
                delivery.stop_clock(subscriber)
            if trace is not None and trace.records:
                trace.end_call()
            if event._stopped:
                delivery.stopped_by = subscriber
            if is_cancelled:
                # The callback has suppressed the cancellation.
                self._hand_back(delivery, subscriber, time_slice)
                raise asyncio.CancelledError
            if event._stopped:
                break
            if time_slice is not None and monotonic() >= time_slice.end and subscriber is not matched[-1]:
                try:
                    await time_slice.yield_to_loop()
                except BaseException:
                    self._hand_back(delivery, subscriber, time_slice)
                    raise
        if trace is not None and trace.records:
            _end_trace(delivery)
        if self._watchers:
            self.deliveries.on_next(delivery)
        return delivery

    def undelivered(self, event: Event) -> Delivery:
        """The delivery of an event that no subscriber has received yet, for `dispatch(unfinished=…)`."""
        event._stopped = False
        matched = self._match(event)
        delivery = Delivery()
        delivery.event = event
        delivery._matched = self._targeted(event, matched) if event.get("target") else matched
        if tracing.active is not None and delivery._matched:
            delivery._trace = tracing.active.handle(event)
        return delivery

    def _interrupted(
        self, delivery: Delivery, subscriber: Subscriber, raised: BaseException, time_slice: TimeSlice | None
    ) -> None:
        """A callback was ended by what ends its context too; the next context delivers to the later ones."""
        error = as_exception(raised)
        delivery.record(subscriber, Failed(error))
        if delivery._trace is not None:
            delivery._trace.end_call(raised)
        if delivery.event._stopped:
            delivery.stopped_by = subscriber
        self._hand_back(delivery, subscriber, time_slice)
        if (counting := counts.active) is not None:
            counting.failed.add(delivery.event.topic)
        # Not for a coroutine that is dropped with its loop: this runs in a finalizer.
        if not isinstance(raised, GeneratorExit):
            name = type(raised).__name__
            fields = delivery.log_fields
            logger.warning("%s ended %s in event %s.", name, subscriber, delivery.event.topic, extra=fields)
            self.errors.on_next(Outcome(subscriber, error=error))

    def _hand_back(
        self, delivery: Delivery, subscriber: Subscriber, time_slice: TimeSlice | None, is_called: bool = True
    ) -> None:
        """Hand back a delivery that has got as far as `subscriber`, unless it is over."""
        if time_slice is None:
            _end_trace(delivery)
            return
        delivery._next = delivery._matched.index(subscriber) + is_called
        if delivery.stopped_by is None and delivery._next < len(delivery._matched):
            if delivery._trace is not None:
                delivery._trace.end_call()
            time_slice.hand_back(delivery)
            return
        _end_trace(delivery)
        if self._watchers:
            self.deliveries.on_next(delivery)

    @property
    def is_awaiting(self) -> bool:
        """Whether this runs in a coroutine callback that the dispatcher awaits, or in a task of one."""
        return _awaited_by.get() is self

    def _awaiting_context(self, subscriber: Subscriber, trace: HandlerTrace | None) -> Context:
        context = subscriber.context.copy()
        context.run(_awaited_by.set, self)
        if trace is not None:
            trace.attach(context)
        return context

    def _enqueue(self, delivery: Delivery, subscriber: Subscriber, on_result: OnResult | None) -> None:
        """Have the callback run on its scheduler, unless the subscriber was removed."""
        delivery.record(subscriber, NOT_CALLED)
        if self._watchers:
            delivery.start_clock()
        if subscriber.alive and subscriber.enqueue is not None:
            subscriber.enqueue(delivery, on_result)

    def _on_outcome(self, delivery: Delivery, outcome: Outcome, on_result: OnResult | None) -> None:
        """A callback on a scheduler has ended."""
        if on_result is not None and outcome.result is not None:
            try:
                trace = None if delivery._trace is None else delivery._trace.branch()
                _publish_result(on_result, trace, delivery.event, outcome.subscriber, outcome.result)
            except Exception as refused:
                outcome = Outcome(outcome.subscriber, error=refused)
        if outcome.error is not None:
            self.report(delivery, outcome)
        delivery.complete_pending(outcome)

    def _record_error(self, delivery: Delivery, subscriber: Subscriber, raised: BaseException) -> None:
        error = as_exception(raised)
        if delivery._trace is not None:
            delivery._trace.end_call(raised)
        self.report(delivery, Outcome(subscriber, error=error))
        delivery.record(subscriber, Failed(error))

    def report(self, delivery: Delivery, outcome: Outcome) -> None:
        """Log and count that a callback has failed, and emit it on `errors`."""
        if (counting := counts.active) is not None:
            counting.failed.add(delivery.event.topic)
        # In the context of the subscriber: a notebook shows log records below the cell of their context.
        message = "Error calling %s for event %s: %s"
        log = partial(logger.error, message, outcome.subscriber, delivery.event.topic, outcome.error)
        context = outcome.subscriber.context.copy()
        if delivery._trace is not None:
            delivery._trace.attach(context)
        context.run(log, exc_info=outcome.error, extra=delivery.log_fields)
        self.errors.on_next(outcome)

    def _targeted(self, event: Event, matched: Sequence[Subscriber]) -> Sequence[Subscriber]:
        """Those of `matched` whose metadata the event's target matches; none if the target does not parse."""
        try:
            target = parse(event.target, self.dialect)
        except ExpressionError as error:
            message = "Event %s reaches no subscriber, since its target cannot be parsed: %s"
            logger.error(message, event.id, error, extra=event_fields(event))
            return ()
        return [subscriber for subscriber in matched if target.matches(subscriber.metadata)]

    @property
    def completed(self) -> bool:
        return self.deliveries.is_stopped

    def complete(self) -> None:
        """Complete `deliveries` and `errors`: no further event comes."""
        self.deliveries.on_completed()
        self.errors.on_completed()


def _publish_result(
    on_result: OnResult, trace: HandlerTrace | None, event: Event, subscriber: Subscriber, result: Any
) -> None:
    """Pass a result on; a reply belongs to the trace of its callback."""
    if trace is None:
        on_result(event, subscriber, result)
    else:
        trace.run(on_result, event, subscriber, result)


def _end_trace(delivery: Delivery, error: BaseException | None = None) -> None:
    trace = delivery._trace
    if trace is not None and trace.records:
        trace.end_call(error)
        trace.end(error, "" if delivery.stopped_by is None else delivery.stopped_by.id)
