"""The hub: a transport, the dispatch operator, and their observers.

`hub.events` ──▶ `Dispatcher` ──▶ `hub.deliveries`, between an inbox that anybody may fill and the one
handling context that empties it. The methods of ftrack's `EventHub` come first, then the reactive
face, then the handling contexts and the end of life.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import socket
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping, MutableMapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import Context
from threading import RLock
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload
from weakref import WeakSet, finalize, ref

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxhub import delivery
from rxhub.delivery import Delivery, Outcome
from rxhub.dispatcher import Callback, Dispatcher, Subscriber
from rxhub.errors import (
    EventError,
    HubClosed,
    HubConnectionError,
    NoReply,
    NotFoundError,
    NotHandled,
    NotHandledWarning,
    NotUniqueError,
    Overflow,
)
from rxhub.event import Event
from rxhub.handling import FAREWELL, PATIENCE, Handling, Invoke, start_no_more
from rxhub.handover import HandedOver
from rxhub.inbox import Action, Inbox
from rxhub.pipeline import Pipeline, Subscribable
from rxhub.replies import Replies, address
from rxhub.scheduler import HandlingScheduler
from rxhub.state import ConnectionState, Phase
from rxhub.subject import Subject
from rxhub.transport import Transport, memory
from rxhub.transport.memory import MemoryTransport

if TYPE_CHECKING:
    from rxhub.description import Description
    from rxhub.stream import EventStream

__all__ = ["EventHub"]

REPLY = "ftrack.meta.reply"

logger = logging.getLogger("rxhub")
_hubs: WeakSet[EventHub] = WeakSet()


class EventHub:
    """Routes events to subscribers in order of priority, and lets them stop, reply and compose.

    Args:
        server_url: the scheme chooses the transport. `memory://` is a hub of this process alone, on
            `memory://name` all hubs of the process under that name see each other's events.
        api_user: who publishes; becomes `source.user.username` of published events.
        api_key: the user's key, for transports that authenticate.
        headers: further headers, for transports that have them.
        cookies: further cookies, likewise.
        inbox: how many events may wait for being handled.
        overflow: what happens to one more: "error" (the publisher gets `Overflow`), "drop-oldest",
            "drop-newest", "latest" (keep the newest alone) or "block" (the publisher waits).

    Attributes:
        id: of this hub; becomes `source.id` of published events, so that replies find back.
        events: every event, before any handler.
        scheduler: a reactivex scheduler on the handling context.

    Raises:
        ValueError: if the URL has no scheme that rxhub knows, or an option is out of range.
        TypeError: if headers or cookies are no mappings.
    """

    def __init__(
        self,
        server_url: str = "memory://",
        api_user: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        *,
        inbox: int = 100_000,
        overflow: str = "error",
    ) -> None:
        for name, value in (("headers", headers), ("cookies", cookies)):
            if value is not None and not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"Expected mapping for {name}, got {value!r}.")
        if not isinstance(server_url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"A server url is text, but {type(server_url).__name__} was given.")
        self._scheme, self._location, path = _address(server_url)
        self._transport = _transport(self._scheme, f"{self._location}{path}")
        self.id = os.urandom(16).hex()
        self._api_user = api_user
        self._inbox = Inbox(inbox, overflow)
        self._dispatcher = Dispatcher(self._joined, self._left)
        self._handling = Handling(self._inbox, self, self._finish)
        self._replies = Replies()
        self._removed: deque[Pipeline] = deque()
        self._state = ConnectionState(Phase.DISCONNECTED)
        self._states: Subject[ConnectionState] = Subject()
        self._lock = RLock()
        self._warned = False
        self._finished = False
        self._connected_by_user = False
        self._runner: asyncio.Task[None] | None = None
        self.events: Subject[Event] = Subject(serialize=True)
        self.scheduler = HandlingScheduler(self._inbox)
        self._transport.open(_Gate(self))
        # A hub that is dropped without being closed must not go on receiving.
        finalize(self, self._transport.close).atexit = False
        _hubs.add(self)

    def __repr__(self) -> str:
        handled = f"handled by {self._handling.claimed_by}" if self.handled else "not handled"
        return f"<EventHub {self.get_server_url()} {self._state}, {len(self._dispatcher)} subscribers, {handled}>"

    # ftrack's hub

    def get_server_url(self) -> str:
        """The URL of the server."""
        return f"{self._scheme}://{self._location}"

    def get_network_location(self) -> str:
        """The host of the URL, with its port if it has one."""
        return self._location

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self._scheme == "https"

    @property
    def connected(self) -> bool:
        """Whether events can be sent and arrive."""
        return bool(self._state)

    def init_connection(self) -> None:
        """Let events be published before the connection stands; nothing is to do for `memory://`."""

    def connect(self) -> None:
        """Connect to the server. `memory://` is connected from the start; there the first call changes nothing.

        Raises:
            HubConnectionError: if the hub is connected by an earlier call.
            HubClosed: if it was closed.
        """
        self._check_open()
        if self.connected:
            if self._connected_by_user:
                raise HubConnectionError("Already connected.")
        else:
            # A farewell that nobody has handled is no longer true, and would end the next wait().
            self._inbox.withdraw_own()
            self._transport.open(_Gate(self))
        self._connected_by_user = True

    def disconnect(self, unsubscribe: bool = True, reconnect: bool = False) -> None:
        """Disconnect from the server; `wait` ends when it has handled `ftrack.meta.disconnected`.

        Args:
            unsubscribe: remove all subscribers too.
            reconnect: the hub is to be connected again soon; nobody is told that it was disconnected.

        Raises:
            HubConnectionError: if the hub is not connected.
        """
        if not self.connected:
            raise HubConnectionError("Not currently connected.")
        self._connected_by_user = False
        if unsubscribe:
            for subscriber in self._dispatcher.subscribers:
                # Another thread may unsubscribe it first.
                with suppress(NotFoundError):
                    self._dispatcher.unsubscribe(subscriber.id)
        self._transport.close()
        if not reconnect:
            farewell = Event(FAREWELL)
            self._prepare(farewell)
            self._inbox.put_own(farewell)

    def reconnect(self, attempts: int = 10, delay: float = 5) -> None:
        """Disconnect, keeping the subscribers, and connect again.

        Args:
            attempts: how often connecting is tried.
            delay: seconds between two attempts.

        Raises:
            HubConnectionError: if every attempt failed.
        """
        self._check_open()
        if self.connected:
            self.disconnect(unsubscribe=False, reconnect=True)
        self.connect()

    def wait(self, duration: float | None = None) -> None:
        """Handle events in this thread as they come.

        Args:
            duration: seconds; None is until the hub is disconnected or closed, or Ctrl-C.

        Raises:
            AlreadyHandled: if another context handles the hub.
            HubConnectionError: if the hub is not connected and nothing is left to handle.
        """
        if not self.connected and not self._inbox.ready:
            raise HubConnectionError("The hub is not connected, so no event can arrive. Call connect() first.")
        self._handling.wait(duration)

    def get_subscriber_by_identifier(self, identifier: str) -> Subscriber | None:
        """The subscriber with this id, or None."""
        return self._dispatcher.get(identifier)

    def subscribe(
        self,
        subscription: str,
        callback: Callback,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> str:
        """Register `callback` for the events that match `subscription`.

        Args:
            subscription: see the subscription language, for example
                `topic=ftrack.update and data.entities.entity_type=Shot`.
            callback: called with the event, a plain or a coroutine function. What it returns, if not
                None, is published as a reply.
            subscriber: metadata that event targets are tested against. An `id` is added if it has none.
            priority: lower runs first; equal ones run in order of subscribing.
            scheduler: where the callback runs instead of the handling context; it then cannot stop events.

        Returns:
            The subscriber's id, for `unsubscribe`.

        Raises:
            ExpressionError: if the subscription does not parse.
            NotUniqueError: if a subscriber with this id exists.
            HubClosed: if the hub was closed.
        """
        self._check_open()
        return self._dispatcher.subscribe(subscription, callback, subscriber, priority, scheduler).id

    def unsubscribe(self, subscriber_identifier: str) -> None:
        """Remove a subscriber; it is not called any more, not even for an event under way.

        Raises:
            NotFoundError: if there is none with this id.
        """
        self._dispatcher.unsubscribe(subscriber_identifier)

    @contextmanager
    def subscription(
        self,
        subscription: str,
        callback: Callback,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> Generator[str]:
        """Subscribe `callback` for the time of a `with` block; gives the subscriber's id."""
        identifier = self.subscribe(subscription, callback, subscriber, priority, scheduler)
        try:
            yield identifier
        finally:
            with suppress(NotFoundError):
                self._dispatcher.unsubscribe(identifier)

    @overload
    def publish(
        self,
        event: Event,
        synchronous: Literal[False] = False,
        on_reply: Callable[[Event], object] | None = None,
        on_error: str = "raise",
    ) -> Future[None] | None: ...
    @overload
    def publish(
        self,
        event: Event,
        synchronous: Literal[True],
        on_reply: Callable[[Event], object] | None = None,
        on_error: str = "raise",
    ) -> list[Any] | None: ...
    def publish(
        self,
        event: Event,
        synchronous: bool = False,
        on_reply: Callable[[Event], object] | None = None,
        on_error: str = "raise",
    ) -> Future[None] | list[Any] | None:
        """Publish an event to all hubs on the server, this one included.

        Args:
            event: `source` is filled in where it is missing.
            synchronous: run this hub's own subscribers here and now, and send nothing.
            on_reply: called in the handling context with each reply, for ten minutes at most.
            on_error: "raise", or "ignore" to have None returned for whatever goes wrong.

        Returns:
            A future that is done when the transport has accepted the event. If synchronous, the list of
            the results of the callbacks that did not fail, None included.

        Raises:
            HubConnectionError: if the hub is not connected.
            HubClosed: if it was closed.
            Overflow: if the inbox is full and its policy is "error".
            NotHandled: if the inbox is full, its policy is "block", and nobody handles the hub.
        """
        if on_error not in ("raise", "ignore"):
            raise ValueError(f'on_error is "raise" or "ignore", but {on_error!r} was given.')
        try:
            if synchronous:
                return self._publish_here(event)
            return self._publish(event, on_reply)
        except Exception as error:
            if on_error == "raise":
                raise
            logger.debug("An error while publishing was ignored: %s", error)
            return None

    def publish_reply(self, source_event: Event, data: Any, source: Mapping[str, Any] | None = None) -> None:
        """Publish a reply to `source_event`, for the hub that published it alone.

        Args:
            source_event: what is answered.
            data: the answer.
            source: who answers; filled in where it is missing.

        Raises:
            EventError: if the event does not tell who published it.
        """
        asker = _origin(source_event).get("id")
        if asker is None:
            raise EventError(f"Cannot reply to {source_event.topic}: it has no source id, so nobody can be told.")
        reply = Event(REPLY, data=data, target=address(asker), in_reply_to_event=source_event.id)
        if source is not None:
            reply.source = dict(source)
        self.publish(reply)

    # The reactive face

    def on(self, subscription: str, priority: float = 100) -> Subscribable:
        """The events that match `subscription`, and a decorator for a callback.

        Each Rx subscription is a subscriber in the dispatch order: priorities and `stop()` hold between
        pipelines and callbacks.

        Raises:
            ExpressionError: if the subscription does not parse.
            HubClosed: if the hub was closed.
        """
        self._check_open()
        return Subscribable(self._dispatcher, subscription, priority)

    @property
    def deliveries(self) -> Observable[Delivery]:
        """Each event's delivery, when its run is over."""
        return self._dispatcher.deliveries

    @property
    def errors(self) -> Observable[Outcome]:
        """The outcomes of callbacks that failed."""
        return self._dispatcher.errors

    @property
    def state(self) -> Observable[ConnectionState]:
        """The state of the connection, beginning with the present one."""

        def subscribe(
            observer: abc.ObserverBase[ConnectionState], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            last: ConnectionState | None = None

            def tell(state: ConnectionState) -> None:
                nonlocal last
                if state != last:
                    last = state
                    observer.on_next(state)

            ended = self._states.is_stopped
            if ended:
                tell(self._state)
            changes = self._states.subscribe(tell, observer.on_error, observer.on_completed, scheduler=scheduler)
            if not ended:
                # Read when the changes are subscribed to, so that none is lost between the two.
                tell(self._state)
            return changes

        return Observable(subscribe)

    @property
    def dropped(self) -> int:
        """How many events the full inbox has dropped or refused so far."""
        return self._inbox.dropped

    @property
    def handled(self) -> bool:
        """Whether a context handles the hub."""
        return bool(self._handling.claimed_by)

    def request(self, event: Event, timeout: float = 10.0) -> Observable[Event]:
        """Publish `event` at each subscription and emit the replies until `timeout` seconds have passed.

        The first subscription publishes the event itself, each further one a copy with a new id. Emits
        `NotHandled` as its error if nobody handles the hub.
        """
        _check_event(event)
        first = True

        def subscribe(
            observer: abc.ObserverBase[Event], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            nonlocal first

            def complete(_: abc.SchedulerBase, __: object = None) -> None:
                observer.on_completed()

            self._check_handled("request")
            asked, first = (event if first else _renamed(event)), False

            def refused(sent: Future[None]) -> None:
                if (error := sent.exception()) is not None:
                    self._inbox.call_soon(Action(lambda: observer.on_error(cast("Exception", error))))

            waiting = CompositeDisposable(
                self._listen(asked.id, observer.on_next),
                (scheduler or self.scheduler).schedule_relative(timeout, complete),
                # Neither a timer nor a reply comes from a hub that was closed.
                self._states.subscribe(on_completed=observer.on_completed),
            )
            try:
                sent = self._publish(asked)
            except BaseException:
                waiting.dispose()
                raise
            sent.add_done_callback(refused)
            return waiting

        return Observable(subscribe)

    async def ask(self, event: Event, timeout: float = 10.0) -> Event:
        """Publish `event` and give back the first reply.

        Raises:
            NoReply: if none came within `timeout` seconds.
            NotHandled: if nobody handles the hub, so that no reply could be seen.
        """
        _check_event(event)
        self._check_handled("ask")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Event] = loop.create_future()

        def resolve(reply: Event) -> None:
            if not answer.done():
                answer.set_result(reply)

        with self._listen(event.id, lambda reply: loop.call_soon_threadsafe(resolve, reply)):
            await self.apublish(event)
            try:
                return await asyncio.wait_for(answer, timeout)
            except TimeoutError:
                raise NoReply(f"Nobody replied to {event.topic} within {timeout:g} s.") from None

    async def apublish(self, event: Event) -> None:
        """Publish `event`; done when the transport has accepted it. Raises what `publish` raises."""
        self._check(event)
        while (sent := self._offer(event)) is None:
            if self._dispatcher.awaits_us:
                raise self._overflow()
            self._inbox.retry()
            if not await asyncio.to_thread(self._inbox.wait_for_room, lambda: self.handled):
                self._check_handled("apublish")
        await asyncio.wrap_future(sent)

    def stream(self, subscription: str, capacity: int = 1000, priority: float = 100) -> EventStream:
        """The events that match `subscription` as an async iterator, from now on.

        Args:
            subscription: see `subscribe`.
            capacity: how many events wait for a slow consumer; the oldest ones go, and are counted.
            priority: the place in the dispatch order.
        """
        from rxhub.stream import EventStream

        return EventStream(self.on(subscription, priority), capacity, lambda: self.handled)

    def describe(self) -> Description:
        """The subscribers in dispatch order; printed, a table."""
        from rxhub.description import Description

        return Description(repr(self), self._dispatcher.subscribers)

    # Handling contexts and the end of life

    def start(self, invoke: Invoke | None = None) -> abc.DisposableBase:
        """Handle events in a background thread, or wherever `invoke` brings them.

        Args:
            invoke: hands a function to a host application's main loop, such as
                `maya.utils.executeDeferred`; called with one batch at a time.

        Returns:
            What ends the handling when disposed, after the event under way; also usable in `with`.

        Raises:
            AlreadyHandled: if another context handles the hub.
        """
        return self._handling.start(invoke)

    def drain(self) -> int:
        """Handle what waits, and what that brings about; how many events it was.

        Raises:
            AlreadyHandled: if another context handles the hub.
        """
        return self._handling.drain()

    async def run(self) -> None:
        """Handle events on the running loop until cancelled or closed.

        Raises:
            AlreadyHandled: if another context handles the hub.
        """
        await self._handling.run()

    def close(self, timeout: float = PATIENCE) -> None:
        """End the hub: take nothing new, end the event under way, flush, disconnect, complete the observables.

        Args:
            timeout: seconds to wait for the event under way and for what is still to be sent. A callback
                that runs longer keeps running; the observables then complete when it has ended.
        """
        end = monotonic() + timeout
        with self._lock:
            if not self._inbox.open:
                return
            lost = self._inbox.close()
        if lost:
            logger.warning("%d events were waiting unhandled when the hub was closed.", lost)
        sent = self._transport.close()
        if not self._handling.here and not self._handling.join(timeout):
            logger.warning(
                "A callback of the hub still runs %g s after close(); the hub ends when the callback does.", timeout
            )
        try:
            sent.result(max(0.0, end - monotonic()))
        except Exception as error:
            logger.warning("Not everything could be sent before the hub was closed: %s", error)
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        runner = asyncio.create_task(self.run())
        await asyncio.sleep(0)
        if runner.done():
            runner.result()
        self._runner = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        self.close()
        if runner is None:
            return
        await asyncio.wait([runner], timeout=PATIENCE)
        if not runner.done():
            logger.warning("A callback of the hub still ran %g s after close(), and is cancelled.", PATIENCE)
            runner.cancel()
            await asyncio.wait([runner], timeout=PATIENCE)
        if error is None and runner.done() and not runner.cancelled():
            runner.result()

    # What handling does with one event (rxhub.handling.Handler)

    def handle(self, event: Event, run: Callable[[Coroutine[Any, Any, Any], Context], Any]) -> None:
        """Run one event through observers and subscribers; called by the handling context."""
        self.events.on_next(event)
        self._dispatcher.dispatch(event, self._answer, run)

    async def handle_async(self, event: Event) -> None:
        """As `handle`, on the running loop; called by the handling context."""
        self.events.on_next(event)
        await self._dispatcher.dispatch_async(event, self._answer)

    def _publish_here(self, event: Event) -> list[Any]:
        self._check_open()
        self._prepare(event)
        if isinstance(event, HandedOver):
            # Here it begins afresh, and may be stopped again.
            event = event.envelope()
        self.events.on_next(event)
        return self._dispatcher.dispatch(event).results

    def _publish(self, event: Event, on_reply: Callable[[Event], object] | None = None) -> Future[None]:
        self._check(event)
        if on_reply is None:
            return self._send(event)
        listening = self._listen(event.id, on_reply)
        try:
            return self._send(event)
        except BaseException:
            listening.dispose()
            raise

    def _check(self, event: Event) -> None:
        """Make `event` ready to be sent; raise if it cannot be."""
        self._check_open()
        self._prepare(event)
        if not self.connected:
            # Another thread may have closed it since.
            self._check_open()
            raise HubConnectionError(
                f"Cannot publish {event.topic} as the hub is not connected. "
                "Call connect(), or publish(synchronous=True)."
            )
        if not self.handled and not self._warned:
            self._warned = True
            warnings.warn(
                "An event was published on a hub that nobody handles; it waits until somebody does. "
                "Call hub.start(), hub.wait(), hub.drain() or `await hub.run()`.",
                NotHandledWarning,
                stacklevel=4,
            )

    def _offer(self, event: Event) -> Future[None] | None:
        """Hand the event to the transport; None if the inbox is full and its policy is to wait for room.

        Raises what refuses the event at once.
        """
        sent = self._transport.send(event)
        if not sent.done() or (error := sent.exception()) is None:
            return sent
        # Another thread may have closed the hub: then that is why.
        self._check_open()
        if self._inbox.policy == "block" and isinstance(error, Overflow):
            return None
        raise error

    def _send(self, event: Event) -> Future[None]:
        while (sent := self._offer(event)) is None:
            if self._handling.here:
                raise self._overflow()
            self._inbox.retry()
            if not self._inbox.wait_for_room(lambda: self.handled):
                self._check_handled("publish")
        return sent

    def _overflow(self) -> Overflow:
        return Overflow(
            "The inbox is full, and the handling context itself cannot wait for room in it. "
            "Publish less from inside callbacks, or make the hub with a larger inbox=…."
        )

    def _prepare(self, event: Event) -> None:
        """Fill in where the event comes from, as ftrack's hub does."""
        _check_event(event)
        fields = event.fields
        if not isinstance(fields.get("topic"), str):
            raise EventError(f"An event needs a text as its topic, but {fields.get('topic')!r} was found.")
        source: MutableMapping[str, Any] | None = fields.get("source")
        if not isinstance(source, (dict, MutableMapping)):
            event.source = source = dict(_origin(event))
        source.setdefault("id", self.id)
        source.setdefault("user", {"username": self._api_user})
        source.setdefault("host", _HOST)

    def _answer(self, event: Event, subscriber: Subscriber, result: Any) -> None:
        try:
            self.publish_reply(event, result, subscriber.metadata)
        except Exception as error:
            logger.error("The reply of %s to %s could not be published: %s", subscriber, event.topic, error)

    def _listen(self, event_id: str, listener: Callable[[Event], object]) -> Disposable:
        if self._dispatcher.get(self.id) is None:
            # Another thread may do the same.
            with suppress(NotUniqueError):
                self._dispatcher.subscribe(f"topic={REPLY}", self._replies.handle, {"id": self.id})
        return self._replies.listen(event_id, listener)

    def _joined(self, subscriber: Subscriber) -> None:
        self._transport.interest(subscriber.id, subscriber.expression, subscriber.metadata)

    def _left(self, subscriber: Subscriber) -> None:
        self._transport.forget(subscriber.id)
        pipeline = subscriber.callback
        if isinstance(pipeline, Pipeline) and not pipeline.disposed:
            # Removed by its id: its observer would wait for ever.
            self._removed.append(pipeline)
            self._inbox.call_soon(Action(self._complete_removed))

    def _complete_removed(self) -> None:
        while self._removed:
            self._removed.popleft().complete()

    def _check_open(self) -> None:
        if not self._inbox.open:
            raise HubClosed("The hub was closed; make a new one.")

    def _check_handled(self, what: str) -> None:
        if not self.handled:
            raise NotHandled(
                f"{what} would wait for ever, since nobody handles the hub: call hub.start(), use "
                "`async with hub`, or run hub.wait() or `await hub.run()` elsewhere."
            )

    def _received(self, event: Event) -> bool:
        return self._inbox.put(event)

    def _changed(self, state: ConnectionState) -> None:
        self._state = state
        if self._states.observers:
            self._inbox.call_soon(Action(lambda: self._states.on_next(state)))

    def _finish(self) -> None:
        """Complete what there is to observe, once the hub is closed and nobody handles it any more."""
        with self._lock:
            if self._inbox.open or self._finished or self.handled:
                return
            self._finished = True
        self._state = ConnectionState(Phase.CLOSED)
        self.events.on_completed()
        self._dispatcher.complete()
        for subscriber in self._dispatcher.subscribers:
            if isinstance(subscriber.callback, Pipeline):
                subscriber.callback.complete()
        self._complete_removed()
        self._states.on_next(self._state)
        self._states.on_completed()

    def _forked(self) -> None:
        """Start anew in a child process: no lock is held, nobody handles, nothing waits, and nothing is connected."""
        self._lock = RLock()
        self._inbox.renew_lock()
        self._handling.reset()
        self._dispatcher.renew_locks()
        self.events.renew_lock()
        self._states.renew_lock()
        self._replies.renew_lock()
        for subscriber in self._dispatcher.subscribers:
            if isinstance(subscriber.callback, Pipeline):
                subscriber.callback.renew_lock()
        self._transport.close()
        self._connected_by_user = False
        self._warned = False
        if self._inbox.open:
            self._state = ConnectionState(Phase.DISCONNECTED, "forked")


class _Gate:
    """The hub as its transport sees it; holds it weakly, so that a dropped hub can go."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = ref(hub)

    def received(self, event: Event) -> bool:
        hub = self._hub()
        return hub is not None and hub._received(event)  # pyright: ignore[reportPrivateUsage]

    def changed(self, state: ConnectionState) -> None:
        hub = self._hub()
        if hub is not None:
            hub._changed(state)  # pyright: ignore[reportPrivateUsage]


_HOST = socket.gethostname()


def _address(server_url: str) -> tuple[str, str, str]:
    """The scheme of a URL, in lower case, its host with the port, and its path."""
    from urllib.parse import urlsplit  # takes longer to import than the hub

    if "://" not in server_url:
        raise ValueError(f"Could not determine scheme from server url {server_url!r}; for example memory://studio.")
    url = urlsplit(server_url)
    return url.scheme, url.netloc.rpartition("@")[2], url.path


def _transport(scheme: str, location: str) -> Transport:
    if scheme != "memory":
        raise ValueError(f"No transport is known for {scheme}://; this version of rxhub has memory://.")
    return MemoryTransport(location.strip("/"))


def _origin(event: Event) -> Mapping[str, Any]:
    """Where an event comes from, as far as it tells."""
    source = event.get("source")
    return cast("Mapping[str, Any]", source) if isinstance(source, Mapping) else {}


def _check_event(event: Event) -> None:
    if not isinstance(event, Event):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"An rxhub Event is published, but {type(event).__name__} was given.")


def _renamed(event: Event) -> Event:
    """A copy of the event with an id of its own."""
    twin = event.envelope()
    twin["id"] = None
    return twin


def _close_all() -> None:
    start_no_more()
    for hub in list(_hubs):
        try:
            hub.close(timeout=1)
        except Exception as error:
            logger.error("%r could not be closed: %s", hub, error, exc_info=error)


def _fork_all() -> None:
    memory.renew_lock()
    delivery.renew_lock()
    for hub in list(_hubs):
        hub._forked()  # pyright: ignore[reportPrivateUsage]


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_all)
