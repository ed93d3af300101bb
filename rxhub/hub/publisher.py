"""Publishing: events on their way out, and the replies that come back for them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, cast
from weakref import WeakKeyDictionary

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.internal.exceptions import SequenceContainsNoElementsError

from rxhub.concurrency.awaitables import check_was_run, ignore_error, is_unfinished
from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.event_loop import check_asyncio
from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.dispatching.subscriber import Subscriber
from rxhub.errors import (
    EventError,
    HubClosed,
    HubConnectionError,
    NoReply,
    NotHandled,
    NotHandledWarning,
    NotUniqueError,
    Overflow,
)
from rxhub.event import Event
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Action, Inbox
from rxhub.hub.replies import Replies, address
from rxhub.hub.runner import Runner
from rxhub.hub.scheduler import HubScheduler
from rxhub.rx.awaitable import Awaitable, with_runner_status
from rxhub.rx.runner_status import RunnerWatch, call_within, not_running
from rxhub.rx.subject import Subject
from rxhub.text.caller_warning import warn_caller
from rxhub.transport.finite_numbers import check_finite
from rxhub.transport.io_thread import in_io_thread

__all__ = ["Publisher", "hub_source"]

REPLY = "ftrack.meta.reply"
# Between two looks whether a full inbox or outbox has room for an `apublish`.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.02
_LATE_S = 0.5

logger = logging.getLogger("rxhub")


class Publisher:
    """Sends a hub's events, and waits for their replies.

    Args:
        hub_id: becomes the source id of the events, by which replies find back.
        api_user: becomes the user name of their source.
        connection: what they go out by.
        inbox: what they must find room in.
        runner: where replies are handled.
        dispatcher: where the subscriber to replies is registered, once there is somebody who waits for one.
        scheduler: times the end of a request.

    Attributes:
        hub_id: as given.
        replies: who waits for them.
    """

    def __init__(
        self,
        hub_id: str,
        api_user: str | None,
        *,
        connection: HubConnection,
        inbox: Inbox,
        runner: Runner,
        dispatcher: Dispatcher,
        scheduler: HubScheduler,
    ) -> None:
        self.replies = Replies(now=inbox.now)
        self.hub_id = hub_id
        self._api_user = api_user
        self._connection = connection
        self._inbox = inbox
        self._runner = runner
        self._dispatcher = dispatcher
        self._scheduler = scheduler
        self._warned = False
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def publish(self, event: Event, on_reply: Callable[[Event], object] | None = None) -> Future[None]:
        """Send an event; raise what refuses it at once.

        Args:
            event: its source is filled in.
            on_reply: called with each reply.

        Returns:
            A future that is done when the transport has accepted the event.
        """
        self._check(event)
        if on_reply is None:
            return self._send(event)
        listening = self._listen(event.id, on_reply)
        try:
            return self._send(event)
        except BaseException:
            listening.dispose()
            raise

    async def apublish(self, event: Event) -> None:
        """Send an event; done when the transport has accepted it."""
        check_asyncio("hub.apublish()")
        await asyncio.wrap_future(await self._offered(event))

    def forward(self, event: Event) -> Future[None]:
        """Send an event of another hub with nothing filled in, as `EventHub.forward` says."""
        self._check(event, own=False)
        return self._send(event)

    def reply(self, source_event: Event, data: Any, source: Mapping[str, Any] | None = None) -> None:
        """Answer an event, as `EventHub.publish_reply` says."""
        if is_unfinished(data):
            raise EventError(
                f"Cannot reply to {source_event.topic} with {type(data).__name__}, whose result is still to come. "
                "Await it, or wait for it, and reply with the result."
            )
        asker = _origin(source_event).get("id")
        if asker is None:
            raise EventError(f"Cannot reply to {source_event.topic}: it has no source id, so nobody can be told.")
        reply = Event(REPLY, data=data, target=address(asker), in_reply_to_event=source_event.id)
        if source is not None:
            reply.source = dict(source)
        self.publish(reply)

    def answer(self, event: Event, subscriber: Subscriber, result: Any) -> None:
        """Answer an event with a callback's result; what goes wrong is logged.

        Raises:
            TypeError: if the callback was not run, since it is a generator function.
        """
        check_was_run(result)
        try:
            try:
                self.reply(event, result, subscriber.metadata)
            except EventError:
                # The server was told no more of such a subscriber either: its metadata cannot be written.
                self.reply(event, result, {"id": subscriber.id})
        except Exception as error:
            logger.error("The reply of %s to %s could not be published: %s", subscriber, event.topic, error)

    def request(self, event: Event, timeout: float = 10.0) -> Observable[Event]:
        """Publish at each subscription and emit the replies, as `EventHub.request` says."""
        _check_event(event)
        _check_timeout(timeout)
        first = True

        def subscribe(
            observer: abc.ObserverBase[Event], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            nonlocal first

            self._runner.check_running("request")
            asked, first = (event if first else _renamed(event)), False
            # Replies to synchronous publishing come in any thread; Rx forbids to call an observer while it is busy.
            replies: Subject[Event] = Subject(serialize=True, on_observer_error="raise")

            def complete(_: abc.SchedulerBase, __: object = None) -> None:
                replies.on_completed()

            def closed() -> None:
                # Whoever takes no errors does not want to hear of this one either.
                with suppress(HubClosed):
                    replies.on_error(
                        HubClosed(f"The hub was closed before the time for replies to {event.topic} was over.")
                    )

            def refused(sent: Future[None]) -> None:
                if (error := sent.exception()) is not None:
                    self._inbox.call_soon(Action(lambda: replies.on_error(cast("Exception", error))))

            waiting = CompositeDisposable(
                replies.subscribe(observer, scheduler=scheduler),
                self._listen(asked.id, replies.on_next, own_end=True),
                # By the hub's own time, whatever the subscription's: the end comes where the replies do.
                self._scheduler.schedule_relative(timeout, complete),
                # A hub that is busy, perhaps with a callback that awaits this very request, comes to no timer.
                call_within(timeout + _LATE_S, replies.on_completed),
                # Neither a timer nor a reply comes from a hub that was closed.
                self._connection.changes.subscribe(on_completed=closed),
            )
            try:
                sent = self.publish(asked)
            except BaseException:
                waiting.dispose()
                raise
            sent.add_done_callback(refused)
            return waiting

        return with_runner_status(_Replies(subscribe, event.topic, timeout, self._runner), self._runner)

    async def ask(self, event: Event, timeout: float = 10.0) -> Event:
        """The first reply, as `EventHub.ask` says."""
        check_asyncio("hub.ask()")
        _check_event(event)
        _check_timeout(timeout)
        self._runner.check_running("ask")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Event] = loop.create_future()
        ignore_error(answer)  # it may come together with a cancellation

        def resolve(reply: Event | BaseException) -> None:
            if answer.done():
                return
            if isinstance(reply, BaseException):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

        def refused(sent: Future[None]) -> None:
            # Long after, perhaps, when the loop is gone.
            with suppress(RuntimeError):
                if (error := sent.exception()) is not None:
                    loop.call_soon_threadsafe(resolve, error)

        def reply(event: Event) -> None:
            # A loop that was closed has nobody left who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(resolve, event)

        def closed() -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(resolve, HubClosed(f"The hub was closed before {event.topic} was answered."))

        with (
            self._listen(event.id, reply, own_end=True),
            self._connection.changes.subscribe(on_completed=closed),
            RunnerWatch(self._runner, loop, lambda: resolve(not_running("ask"))),
        ):
            waiting = asyncio.timeout(timeout)
            try:
                async with waiting:
                    # Not until it is accepted: a server that is away may be so for longer, or answer without accepting.
                    (await self._offered(event)).add_done_callback(refused)
                    return await answer
            except TimeoutError:
                if not waiting.expired():
                    raise
                raise NoReply(f"Nobody replied to {event.topic} within {timeout:g} s.") from None

    def prepare(self, event: Event) -> None:
        """Fill in where the event comes from, as ftrack's hub does."""
        fields = _checked(event)
        source: MutableMapping[str, Any] | None = fields.get("source")
        if not isinstance(source, (dict, MutableMapping)):
            event.source = source = dict(_origin(event))
        for key, value in hub_source(self.hub_id, self._api_user).items():
            source.setdefault(key, value)

    def check_open(self) -> None:
        """Raise HubClosed if the hub was closed."""
        if not self._inbox.open:
            raise HubClosed("The hub was closed; make a new one.")

    def forked(self) -> None:
        """Warn again, in a child process."""
        self._warned = False

    def _check(self, event: Event, own: bool = True) -> None:
        """Make `event`, which is this hub's own or another's, ready to be sent; raise if it cannot be."""
        self.check_open()
        if own:
            self.prepare(event)
        else:
            _checked(event)
        check_finite(event.fields)
        if not self._connection.accepts:
            # Another thread may have closed it since.
            self.check_open()
            raise HubConnectionError(
                f"Cannot publish {event.topic} as {self._connection.why_not}, or publish(synchronous=True)."
            )
        if not self._warned and not self._connection.is_remote and not self._runner.claimed_by:
            self._warned = True
            warn_caller(
                "An event was published on a hub that nobody handles; it waits until somebody does. "
                "Call hub.start(), hub.wait(), hub.drain() or `await hub.run()`.",
                NotHandledWarning,
            )

    def _offer(self, event: Event) -> Future[None] | None:
        """Hand the event to the transport; None if the inbox is full and its policy is to wait for room.

        Raises what refuses the event at once.
        """
        sent = self._connection.transport.send(event)
        if not sent.done() or (error := sent.exception()) is None:
            return sent
        # Another thread may have closed the hub: then that is why.
        self.check_open()
        if self._inbox.policy == "block" and isinstance(error, Overflow):
            return None
        raise error

    async def _offered(self, event: Event) -> Future[None]:
        """Hand the event to the transport, when there is room for it."""
        self._check(event)
        sent = self._offer(event)
        if sent is not None:
            return sent
        # One at a time asks again and again; the others wait for their turn, and no thread for any of them.
        async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
            while sent is None:
                if self._dispatcher.is_awaiting:
                    raise self._overflow()
                if not self._connection.is_remote:
                    self._runner.check_running("apublish")
                self._connection.retry()
                await asyncio.sleep(backoff.delay())
                sent = self._offer(event)
        return sent

    def _send(self, event: Event) -> Future[None]:
        while (sent := self._offer(event)) is None:
            if self._runner.runs_here or in_io_thread():
                raise self._overflow()
            if not self._connection.wait_for_room(self._is_handled):
                self._runner.check_running("publish")
        return sent

    def _overflow(self) -> Overflow:
        return Overflow(
            f"The {'outbox' if self._connection.is_remote else 'inbox'} is full, and neither the handling context nor "
            "the network's own thread can wait for room in it. Publish less from inside callbacks, or make the hub "
            "with a larger one."
        )

    def hear_replies(self) -> None:
        """Be a subscriber to replies, under the hub's own id."""
        if self._dispatcher.get(self.hub_id) is None:
            # Another thread may do the same.
            with suppress(NotUniqueError):
                self._dispatcher.subscribe(f"topic={REPLY}", self.replies.handle, {"id": self.hub_id})

    def _listen(self, event_id: str, listener: Callable[[Event], object], own_end: bool = False) -> Disposable:
        self.hear_replies()
        return self.replies.listen(event_id, listener, own_end)

    def _is_handled(self) -> bool:
        return bool(self._runner.claimed_by)


_HOST = socket.gethostname()


class _Replies(Awaitable[Event]):
    """The replies to one event; who waits for them in vain is told so in words of the hub's."""

    def __init__(self, subscribe: abc.Subscription[Event], topic: str, timeout: float, runner: Runner) -> None:
        super().__init__(subscribe)
        self._topic = topic
        self._timeout = timeout
        self._runner = runner

    def run(self, scheduler: abc.SchedulerBase | None = None) -> Event:
        """The last reply, once the time is over.

        Raises:
            NoReply: if there was none.
            HubClosed: if the hub was closed before.
            NotHandled: in the thread that handles the hub, where no reply could be handled meanwhile.
        """
        if self._runner.runs_here:
            raise NotHandled(
                f"A reply to {self._topic} would be handled by this thread, which run() keeps waiting: "
                "use `await hub.ask(…)`, or subscribe to the request."
            )
        try:
            return super().run(scheduler)
        except SequenceContainsNoElementsError:
            raise NoReply(f"Nobody replied to {self._topic} within {self._timeout:g} s.") from None


def hub_source(hub_id: str, api_user: str | None) -> dict[str, Any]:
    """Who a hub is, as the source of its events tells it."""
    return {"id": hub_id, "user": {"username": api_user}, "host": _HOST}


def _origin(event: Event) -> Mapping[str, Any]:
    """Where an event comes from, as far as it tells."""
    source = event.get("source")
    return cast("Mapping[str, Any]", source) if isinstance(source, Mapping) else {}


def _check_timeout(timeout: float) -> None:
    if timeout != timeout:  # NaN, which no timer reaches
        raise ValueError(f"A timeout is a number of seconds, but {timeout!r} was given.")


def _check_event(event: Event) -> None:
    if not isinstance(event, Event):  # pyright: ignore[reportUnnecessaryIsInstance]
        found = type(cast("object", event)).__name__
        raise TypeError(f"An rxhub Event is published, but {found} was given: publish(Event(topic, data={{…}})).")


def _checked(event: Event) -> dict[str, Any]:
    """The fields of an event that can be published as far as they tell."""
    _check_event(event)
    fields = event.fields
    if not isinstance(fields.get("topic"), str):
        raise EventError(f"An event needs a text as its topic, but {fields.get('topic')!r} was found.")
    if not fields["topic"].strip():
        raise EventError(f"An event needs a topic, but {fields['topic']!r} was found. Name it, as in studio.hello.")
    return fields


def _renamed(event: Event) -> Event:
    """A copy of the event with an id of its own."""
    twin = event.envelope()
    twin["id"] = None
    return twin
