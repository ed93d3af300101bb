"""Requests: events whose replies are awaited."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import cast

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.internal.exceptions import SequenceContainsNoElementsError

from rxhub.concurrency.awaitables import ignore_error
from rxhub.concurrency.event_loop import check_asyncio
from rxhub.errors import HubClosed, NoReply, NotHandled
from rxhub.event import Event
from rxhub.hub.inbox import Action
from rxhub.hub.publisher import Publisher, check_event
from rxhub.hub.runner import Runner
from rxhub.hub.scheduler import HubScheduler
from rxhub.rx.awaitable import Awaitable, with_runner_status
from rxhub.rx.runner_status import call_within, not_running, watching
from rxhub.rx.subject import Subject

__all__ = ["Requests"]

_LATE_S = 0.5


class Requests:
    """Publishes events and waits for the replies; `scheduler` times the end of a request."""

    def __init__(self, publisher: Publisher, scheduler: HubScheduler) -> None:
        self._publisher = publisher
        self._closing = publisher.connection.changes  # completes when the hub is closed
        self._inbox = publisher.inbox
        self._runner = publisher.runner
        self._scheduler = scheduler

    def request(self, event: Event, timeout: float = 10.0) -> Observable[Event]:
        check_event(event)
        _check_timeout(timeout)
        first = True

        def subscribe(
            observer: abc.ObserverBase[Event], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            nonlocal first

            self._runner.check_running("request")
            asked, first = (event if first else _with_new_id(event)), False
            # Replies to synchronous publishing come in any thread; Rx forbids overlapping calls.
            replies: Subject[Event] = Subject(serialize=True, on_observer_error="raise")

            def complete(_: abc.SchedulerBase, __: object = None) -> None:
                replies.on_completed()

            def closed() -> None:
                with suppress(HubClosed):  # the observer takes no errors
                    replies.on_error(HubClosed(f"The hub was closed before the timeout of the request {event.topic}."))

            def refused(sent: Future[None]) -> None:
                if (error := sent.exception()) is not None:
                    self._inbox.call_soon(Action(lambda: replies.on_error(cast("Exception", error))))

            waiting = CompositeDisposable(
                replies.subscribe(observer, scheduler=scheduler),
                self._publisher.listen(asked.id, replies.on_next, own_end=True),
                # Whatever the scheduler of the subscription: the end comes where the replies do.
                self._scheduler.schedule_relative(timeout, complete),
                # A busy hub runs no timers, for example in a callback that awaits this request.
                Disposable() if self._runner.clock.driven_by else call_within(timeout + _LATE_S, replies.on_completed),
                # A closed hub runs neither timers nor replies.
                self._closing.subscribe(on_completed=closed),
            )
            try:
                sent = self._publisher.publish(asked)
            except BaseException:
                waiting.dispose()
                raise
            sent.add_done_callback(refused)
            return waiting

        return with_runner_status(_Replies(subscribe, event.topic, timeout, self._runner), self._runner)

    async def ask(self, event: Event, timeout: float = 10.0) -> Event:
        check_asyncio("hub.ask()")
        check_event(event)
        _check_timeout(timeout)
        self._runner.check_running("ask")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Event] = loop.create_future()
        ignore_error(answer)  # set while the task is cancelled

        def resolve(reply: Event | BaseException) -> None:
            if answer.done():
                return
            if isinstance(reply, BaseException):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

        def tell(reply: Event | BaseException) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(resolve, reply)

        def refused(sent: Future[None]) -> None:
            if (error := sent.exception()) is not None:
                tell(error)

        def closed() -> None:
            tell(HubClosed(f"The hub was closed before {event.topic} was answered."))

        with (
            self._publisher.listen(event.id, tell, own_end=True),
            self._closing.subscribe(on_completed=closed),
            watching(self._runner, loop, lambda: resolve(not_running("ask"))),
        ):
            waiting = asyncio.timeout(timeout)
            try:
                async with waiting:
                    # Does not wait for the acknowledgement: a reply may come before it, or without it.
                    (await self._publisher.offer(event)).add_done_callback(refused)
                    return await answer
            except TimeoutError:
                if not waiting.expired():
                    raise
                raise NoReply(f"Nobody replied to {event.topic} within {timeout:g} s.") from None


class _Replies(Awaitable[Event]):
    """The replies to one event; `run` raises the errors of the hub."""

    def __init__(self, subscribe: abc.Subscription[Event], topic: str, timeout: float, runner: Runner) -> None:
        super().__init__(subscribe)
        self._topic = topic
        self._timeout = timeout
        self._runner = runner

    def run(self, scheduler: abc.SchedulerBase | None = None) -> Event:
        if self._runner.runs_here:
            raise NotHandled(
                f"A reply to {self._topic} would be handled by this thread, which run() blocks. "
                "Use `await hub.ask(…)`, or subscribe to the request."
            )
        try:
            return super().run(scheduler)
        except SequenceContainsNoElementsError:
            raise NoReply(f"Nobody replied to {self._topic} within {self._timeout:g} s.") from None


def _with_new_id(event: Event) -> Event:
    twin = event.envelope()
    twin["id"] = None
    return twin


def _check_timeout(timeout: float) -> None:
    if timeout != timeout:  # NaN, which no timer reaches
        raise ValueError(f"A timeout is a number of seconds, but {timeout!r} was given.")
