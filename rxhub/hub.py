"""The hub: a transport, the dispatch operator, and their observers.

`hub.events` ──▶ `Dispatcher` ──▶ `hub.deliveries`, between an inbox that anybody may fill and the one
handling context that empties it. The methods of ftrack's `EventHub` come first, then the reactive
face, then the handling contexts and the end of life.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, MutableMapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import Context
from os import urandom
from threading import Event as Flag
from threading import RLock
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from reactivex import Observable, abc

from rxhub.connection import Connection
from rxhub.delivery import Delivery, Outcome
from rxhub.dispatcher import Callback, Dispatcher, Subscriber
from rxhub.errors import HubClosed, HubConnectionError, NotFoundError, NotUniqueError
from rxhub.event import Event
from rxhub.handling import FAREWELL, PATIENCE, Handling, Invoke
from rxhub.handover import HandedOver
from rxhub.inbox import Action, Inbox
from rxhub.lifetime import watch
from rxhub.owned import OwnedSubject
from rxhub.ownership import present
from rxhub.pipeline import Pipeline, Subscribable
from rxhub.publisher import Publisher, identity
from rxhub.scheduler import HandlingScheduler
from rxhub.state import ConnectionState
from rxhub.subject import Subject
from rxhub.transport.loop import in_its_thread

if TYPE_CHECKING:
    from rxhub.description import Description
    from rxhub.plugins import PluginReport, Plugins
    from rxhub.signal import Signal
    from rxhub.signal_bridge import SignalBridge
    from rxhub.stream import EventStream

__all__ = ["EventHub"]

logger = logging.getLogger("rxhub")


class EventHub:
    """Routes events to subscribers in order of priority, and lets them stop, reply and compose.

    Args:
        server_url: the scheme chooses the transport. `memory://` is a hub of this process alone, on
            `memory://name` all hubs of the process under that name see each other's events; `http://` and
            `https://` lead to an event server as ftrack has it.
        api_user: who publishes; becomes `source.user.username` of published events.
        api_key: the user's key, for transports that authenticate.
        headers: further headers, for transports that have them.
        cookies: further cookies, likewise.
        inbox: how many events may wait for being handled.
        overflow: what happens to one more: "error" (the publisher gets `Overflow`), "drop-oldest",
            "drop-newest", "latest" (keep the newest alone) or "block" (the publisher waits, and what comes over
            the network is not read until there is room).
        outbox: how many published events may wait for being accepted by a server. One more gets `Overflow`, or
            waits if `overflow` is "block".

    Attributes:
        id: of this hub; becomes `source.id` of published events, so that replies find back.
        events: every event, before any handler.
        scheduler: a reactivex scheduler on the handling context.

    Raises:
        ValueError: if the URL has no scheme that rxhub knows, or an option is out of range.
        TypeError: if headers or cookies are no mappings.
    """

    # All that knows of time, for a hub on another: rxhub.testing's.
    _Inbox = Inbox
    _Handling = Handling
    _Scheduler = HandlingScheduler

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
        outbox: int = 100_000,
    ) -> None:
        for name, value in (("headers", headers), ("cookies", cookies)):
            if value is not None and not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"Expected mapping for {name}, got {value!r}.")
        self.id = urandom(16).hex()
        self._inbox = self._Inbox(inbox, overflow)
        self._link = self._new_link(server_url, api_user, api_key, headers, cookies, outbox)
        self._dispatcher = self._new_dispatcher()
        self._handling = self._Handling(self._inbox, self, self._finish)
        self._removed: deque[Pipeline] = deque()
        self._lock = RLock()
        self._reconnecting = RLock()
        self._finished = False
        self._closing = Flag()
        self._plugins: Plugins | None = None
        self._bridges: dict[tuple[int, str], SignalBridge] = {}
        self._runner: asyncio.Task[None] | None = None
        self.events: Subject[Event] = OwnedSubject(serialize=True)
        self.scheduler = self._Scheduler(self._inbox)
        self._publisher = Publisher(
            self.id, api_user, self._link, self._inbox, self._handling, self._dispatcher, self.scheduler
        )
        watch(self)

    # What a hub with another face makes otherwise (rxhub.compat)

    def _new_link(
        self,
        server_url: str,
        api_user: str | None,
        api_key: str | None,
        headers: Mapping[str, str] | None,
        cookies: Mapping[str, str] | None,
        outbox: int,
    ) -> Connection:
        who = identity(self.id, api_user)
        return Connection(server_url, self._inbox, who, api_user, api_key, headers, cookies, outbox)

    def _new_dispatcher(self) -> Dispatcher:
        return Dispatcher(self._joined, self._left)

    def __repr__(self) -> str:
        handled = f"handled by {self._handling.claimed_by}" if self.handled else "not handled"
        state = self._link.state
        return f"<EventHub {self.get_server_url()} {state}, {len(self._dispatcher)} subscribers, {handled}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from rxhub.views.subscribers import hub_page

        return hub_page(self, self._dispatcher.subscribers).bundle()

    # ftrack's hub

    def get_server_url(self) -> str:
        """The URL of the server."""
        return f"{self._link.scheme}://{self._link.location}"

    def get_network_location(self) -> str:
        """The host of the URL, with its port if it has one."""
        return self._link.location

    def meets(self, other: EventHub) -> bool:
        """Whether the events of one hub come to the other one by themselves, since both have the same URL."""
        return self._link.place == other._link.place

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self._link.scheme == "https"

    @property
    def connected(self) -> bool:
        """Whether events can be sent and arrive."""
        return bool(self._link.state)

    def init_connection(self) -> None:
        """Let events be published before the connection stands; nothing is to do for `memory://`."""
        self._link.init()

    def connect(self) -> None:
        """Connect to the server, and be connected again whenever the connection is lost.

        Returns when connected. `memory://` is connected from the start; there the first call changes nothing.

        Raises:
            HubConnectionError: if the hub is connected by an earlier call, or the server cannot be reached or does
                not let us in; says why, and what to do.
            HubClosed: if it was closed.
        """
        self._publisher.check_open()
        if self._link.remote:
            self._publisher.hear_replies()
        self._link.connect()

    def disconnect(self, unsubscribe: bool = True, reconnect: bool = False) -> None:
        """Disconnect from the server; `wait` ends when it has handled `ftrack.meta.disconnected`.

        What was published goes out before, if that takes less than five seconds.

        Args:
            unsubscribe: remove all subscribers too.
            reconnect: the hub is to be connected again soon; nobody is told that it was disconnected, and what
                is published meanwhile goes out then.

        Raises:
            HubConnectionError: if the hub is neither connected nor being connected again.
        """
        if not self._link.kept_up:
            raise HubConnectionError("Not currently connected.")
        if unsubscribe:
            for subscriber in self._dispatcher.subscribers:
                # Another thread may unsubscribe it first.
                with suppress(NotFoundError):
                    self._dispatcher.unsubscribe(subscriber.id)
        self._link.disconnect(keep=reconnect)
        if not reconnect:
            farewell = Event(FAREWELL)
            self._publisher.prepare(farewell)
            self._inbox.put_own(farewell)

    def reconnect(self, attempts: int = 10, delay: float = 5) -> None:
        """Disconnect, keeping the subscribers, and connect again.

        Args:
            attempts: how often connecting is tried.
            delay: seconds between two attempts.

        Raises:
            HubConnectionError: if every attempt failed.
        """
        # One after the other: else each would disconnect what another one waits for.
        with self._reconnecting:
            self._publisher.check_open()
            if self._link.kept_up:
                self.disconnect(unsubscribe=False, reconnect=True)
            for attempt in range(attempts):
                if attempt:
                    self._closing.wait(delay)
                try:
                    self.connect()
                    return
                except HubClosed:
                    raise
                except HubConnectionError as error:
                    if self.connected:
                        return  # another thread has called connect()
                    logger.debug("Attempt %d of %d to reconnect failed: %s", attempt + 1, attempts, error)
        raise HubConnectionError(
            f"Failed to reconnect to event server at {self.get_server_url()} after {attempts} attempts."
        )

    def wait(self, duration: float | None = None) -> None:
        """Handle events in this thread as they come.

        Args:
            duration: seconds; None is until the hub is disconnected or closed, or Ctrl-C.

        Raises:
            AlreadyHandled: if another context handles the hub.
            HubConnectionError: if the hub is not connected and nothing is left to handle.
        """
        if not self._link.accepts and not self._inbox.ready:
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
        self._publisher.check_open()
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
            A future that is done when the transport has accepted the event: over the network, when the server
            has acknowledged it. While the server is away the event waits, and is sent when it is back. What is
            added to the future as a callback runs in the network's thread, and must be short. If synchronous, the
            list of the results of the callbacks that did not fail, None included.

        Raises:
            HubConnectionError: if the hub is not connected.
            HubClosed: if it was closed.
            EventError: if the event cannot be written as JSON, where it leaves the process.
            Overflow: if the inbox (or, over the network, the outbox) is full and its policy is "error".
            NotHandled: if the inbox is full, its policy is "block", and nobody handles the hub.
        """
        if on_error not in ("raise", "ignore"):
            raise ValueError(f'on_error is "raise" or "ignore", but {on_error!r} was given.')
        try:
            if synchronous:
                return self._publish_here(event)
            return self._publisher.publish(event, on_reply)
        except Exception as error:
            if on_error == "raise":
                raise
            logger.debug("An error while publishing was ignored: %s", error)
            return None

    def forward(self, event: Event) -> Future[None]:
        """Publish an event of another hub as it came: nothing is filled in, not even a source that is missing.

        Returns:
            A future as that of `publish`, whose errors this raises too.
        """
        return self._publisher.forward(event)

    def publish_reply(self, source_event: Event, data: Any, source: Mapping[str, Any] | None = None) -> None:
        """Publish a reply to `source_event`, for the hub that published it alone.

        Args:
            source_event: what is answered.
            data: the answer.
            source: who answers; filled in where it is missing.

        Raises:
            EventError: if the event does not tell who published it.
        """
        self._publisher.reply(source_event, data, source)

    # The reactive face

    def on(self, subscription: str, priority: float = 100) -> Subscribable:
        """The events that match `subscription`, and a decorator for a callback.

        Each Rx subscription is a subscriber in the dispatch order: priorities and `stop()` hold between
        pipelines and callbacks.

        Raises:
            ExpressionError: if the subscription does not parse.
            HubClosed: if the hub was closed.
        """
        self._publisher.check_open()
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
        return self._link.states()

    @property
    def announced(self) -> bool:
        """Whether the server knows of all subscribers, so that what is published for them from now on comes."""
        return self._link.transport.announced

    @property
    def dropped(self) -> int:
        """How many events the full inbox has dropped or refused so far."""
        return self._inbox.dropped

    @property
    def unsent(self) -> int:
        """How many published events the server has not accepted yet."""
        return self._link.transport.unsent

    @property
    def refused(self) -> int:
        """How many published events the full outbox has refused so far."""
        return self._link.transport.refused

    @property
    def handled(self) -> bool:
        """Whether a context handles the hub."""
        return bool(self._handling.claimed_by)

    @property
    def handled_here(self) -> bool:
        """Whether it is this thread that handles the hub, and so would wait for itself."""
        return self._handling.here

    def request(self, event: Event, timeout: float = 10.0) -> Observable[Event]:
        """Publish `event` at each subscription and emit the replies until `timeout` seconds have passed.

        The first subscription publishes the event itself, each further one a copy with a new id. Emits
        `NotHandled` as its error if nobody handles the hub. `request(…).run()` waits for the end and gives back the
        last reply; it raises `NoReply` if there was none, and `NotHandled` in the thread that handles the hub.
        """
        return self._publisher.request(event, timeout)

    async def ask(self, event: Event, timeout: float = 10.0) -> Event:
        """Publish `event` and give back the first reply.

        Raises:
            NoReply: if none came within `timeout` seconds.
            NotHandled: if nobody handles the hub, so that no reply could be seen.
        """
        return await self._publisher.ask(event, timeout)

    async def apublish(self, event: Event) -> None:
        """Publish `event`; done when the transport has accepted it. Raises what `publish` raises."""
        await self._publisher.apublish(event)

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
        """Who is connected: the subscribers in dispatch order, the receivers of all signals, the plugins.

        Printed, it is a table of each.
        """
        from rxhub.description import Description, living

        plugins = () if self._plugins is None else self._plugins.report()
        return Description(repr(self), self._dispatcher.subscribers, living(), tuple(plugins))

    # Signals and plugins

    def bridge(
        self, signal: Signal[...], *, topic: str, secrets: Iterable[str] = (), priority: float = 1000
    ) -> abc.DisposableBase:
        """Publish the emissions of a signal as events, and make the events of other hubs its emissions.

        The data of an event are the kwargs, without secrets, and `sender`, the sender's name. What JSON cannot carry
        is replaced by its representation, and a warning says so. An event that another hub published on the topic
        becomes an emission: sent by the class, function or module of that name for which receivers are connected, or
        else by the name itself. Neither goes back where it came from.

        Args:
            signal: one of this process.
            topic: of the events.
            secrets: names of kwargs, and of what is in them, that are not published, beside those in
                `rxhub.redaction.secrets`.
            priority: its place among the receivers and among the subscribers: late, so that what is stopped or vetoed
                before is not passed on.

        Returns:
            What ends it when disposed; also usable in `with`.

        Raises:
            NotUniqueError: if this hub has a bridge between the two.
            ValueError: if the topic is empty, or has a wildcard or a quote in it.
            TypeError: if the signal is no rxhub Signal.
            HubClosed: if the hub was closed.
        """
        from rxhub.redaction import Secrets
        from rxhub.signal_bridge import SignalBridge

        self._publisher.check_open()
        if (id(signal), topic) in self._bridges:
            raise NotUniqueError(f"This hub has a bridge between {signal.name} and {topic}. Dispose of it first.")
        bridge = SignalBridge(self, signal, topic, Secrets(secrets), priority, self._parted)
        self._bridges[id(signal), topic] = bridge
        owner = present()
        if owner is not None:
            bridge.owner = owner
            owner.keep(bridge.dispose)
        return bridge

    def bootstrap(self, plugins: Iterable[object] | None = None) -> PluginReport:
        """Start plugins, in order of what they require, each apart from the others.

        Those that run already are left alone; those that failed, are disabled or were torn down are tried again.

        Args:
            plugins: modules, classes, instances or functions, as `rxhub.plugins.Plugin` says. None is every
                plugin that an installed distribution names in the entry-point group `rxhub.plugins`.

        Returns:
            What became of them: which run, in which order, and why the others do not. Failures are logged too; none
            is raised.

        Raises:
            TypeError: if the plugins are not in a list.
            HubClosed: if the hub was closed.
        """
        from rxhub.plugins import Plugins, given, installed

        self._publisher.check_open()
        candidates = installed() if plugins is None else given(plugins)
        with self._lock:
            own = self._plugins = self._plugins or Plugins()
        return own.bootstrap(self, candidates)

    def teardown(self, plugins: Iterable[str] | None = None) -> PluginReport:
        """Tear plugins down, the latest started first: call their `teardown`, and undo what they connected.

        `close()` does it for all of them.

        Args:
            plugins: names; those that require them are torn down before them. None is all.

        Returns:
            What became of all plugins of this hub.

        Raises:
            PluginError: if no plugin of such a name is running.
        """
        from rxhub.plugins import Plugins

        with self._lock:
            own = self._plugins = self._plugins or Plugins()
        return own.teardown(self, plugins)

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
        sent = self._begin_to_close(timeout)
        if sent is None:
            return
        if in_its_thread():
            # All hubs of the process would wait with us, and we for ourselves.
            self._finish()
            return
        if not self._handling.here and not self._handling.join(timeout):
            logger.warning(
                "A callback of the hub still runs %g s after close(); the hub ends when the callback does.", timeout
            )
        # Hanging up takes a moment more.
        with suppress(TimeoutError, HubConnectionError):
            sent.result(max(0.0, end - monotonic()) + 2.0)
        self._end_closing(sent)

    def _begin_to_close(self, timeout: float) -> Future[None] | None:
        """Take nothing new; what is done when all has been sent, or None if the hub was closed before."""
        with self._lock:
            if not self._inbox.open:
                return None
            lost = self._inbox.close()
        self._closing.set()
        if lost:
            logger.warning("%d events were waiting unhandled when the hub was closed.", lost)
        return self._link.transport.close(timeout)

    def _end_closing(self, sent: Future[None]) -> None:
        error = sent.exception() if sent.done() else "no time was left."
        if error is not None:
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
        sent = self._begin_to_close(PATIENCE)
        if sent is not None:
            # As close(), but the loop goes on meanwhile.
            await asyncio.wait([asyncio.wrap_future(sent)], timeout=PATIENCE + 2.0)
            self._end_closing(sent)
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
        self._dispatcher.dispatch(event, self._publisher.answer, run)

    async def handle_async(self, event: Event) -> None:
        """As `handle`, on the running loop; called by the handling context."""
        self.events.on_next(event)
        await self._dispatcher.dispatch_async(event, self._publisher.answer)

    def _publish_here(self, event: Event) -> list[Any]:
        self._publisher.check_open()
        self._publisher.prepare(event)
        if isinstance(event, HandedOver):
            # Here it begins afresh, and may be stopped again.
            event = event.envelope()
        self.events.on_next(event)
        return self._dispatcher.dispatch(event).results

    def _joined(self, subscriber: Subscriber) -> None:
        self._link.transport.interest(subscriber.id, subscriber.expression, subscriber.metadata)

    def _left(self, subscriber: Subscriber) -> None:
        self._link.transport.forget(subscriber.id)
        pipeline = subscriber.callback
        if isinstance(pipeline, Pipeline) and not pipeline.disposed:
            # Removed by its id: its observer would wait for ever.
            self._removed.append(pipeline)
            self._inbox.call_soon(Action(self._complete_removed))

    def _parted(self, bridge: SignalBridge) -> None:
        self._bridges.pop((id(bridge.signal), bridge.topic), None)

    def _complete_removed(self) -> None:
        while self._removed:
            self._removed.popleft().complete()

    def _finish(self) -> None:
        """Complete what there is to observe, once the hub is closed and nobody handles it any more."""
        with self._lock:
            if self._inbox.open or self._finished or self.handled:
                return
            self._finished = True
        # First: a plugin may look at the hub while it ends, and its pipelines are completed with the others.
        if self._plugins is not None:
            self._plugins.end(self)
        for bridge in list(self._bridges.values()):
            bridge.dispose()
        self.events.on_completed()
        self._dispatcher.complete()
        for subscriber in self._dispatcher.subscribers:
            if isinstance(subscriber.callback, Pipeline):
                subscriber.callback.complete()
        self._complete_removed()
        self._link.end()

    def forked(self) -> None:
        """Start anew in a child process: no lock is held, nobody handles, nothing waits, and nothing is connected."""
        self._lock, self._reconnecting = RLock(), RLock()
        self._closing = Flag()
        self._inbox.renew_lock()
        self._handling.reset()
        self._dispatcher.renew_locks()
        self.events.renew_lock()
        self._publisher.forked()
        if self._plugins is not None:
            self._plugins.renew_lock()
        for subscriber in self._dispatcher.subscribers:
            if isinstance(subscriber.callback, Pipeline):
                subscriber.callback.renew_lock()
        self._link.forked()
