"""`EventHub`: the public methods of a hub, with their documentation; their work is done by its components.

    transport ─▶ connection ─▶ inbox ─▶ runner ─▶ dispatcher ─▶ callbacks, pipelines
    transport ◀─ connection ◀───────── publisher ◀──┘ replies

Longer than 400 lines since it is one class with 50 documented methods, few of which have more than three statements.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, MutableMapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from os import urandom
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar, Unpack, overload

from reactivex import Observable, abc

from rxhub.concurrency.event_loop import check_asyncio, warn_if_blocking
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.concurrency.shutdown import GRACE_S
from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.dispatching.dispatcher import Dispatcher, Run
from rxhub.dispatching.observe_on import UnstoppableEvent
from rxhub.dispatching.pipeline import Pipeline, Subscribable
from rxhub.dispatching.subscriber import Callback, Subscriber
from rxhub.dispatching.time_slice import TimeSlice
from rxhub.errors import (
    HubClosed,
    HubConnectionError,
    NotConnectedWarning,
    NotFoundError,
    NotUniqueError,
    SubscriptionWarning,
)
from rxhub.event import Event
from rxhub.expression import Expression, parse
from rxhub.expression.near_miss import misspelling_warning
from rxhub.hub.address import HubAddress
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Action, Inbox
from rxhub.hub.lifetime import Lifetime, hubs
from rxhub.hub.processings import Processings
from rxhub.hub.publisher import Publisher, hub_source
from rxhub.hub.requests import Requests
from rxhub.hub.runner import CLOSE_TIMEOUT_S, DISCONNECTED_TOPIC, Invoke, Runner
from rxhub.hub.scheduler import HubScheduler
from rxhub.rx.awaitable import with_runner_status
from rxhub.rx.clock import Clock
from rxhub.rx.scope import current_scope
from rxhub.rx.scoped_subject import ScopedSubject
from rxhub.telemetry import counts, tracing
from rxhub.telemetry.counts import EventCounts, Level
from rxhub.text.caller_warning import warn_caller
from rxhub.text.displayable import Displayable
from rxhub.text.printable import printable
from rxhub.transport import durable
from rxhub.transport.connection_state import ConnectionState
from rxhub.transport.durable import (
    DeadLetterQueue,
    Durable,
    GroupProcessing,
    GroupsOfProcesses,
    Handler,
    ProcessOptions,
    StreamsOfEvents,
)
from rxhub.transport.finite_numbers import check_finite_metadata
from rxhub.transport.io_thread import in_io_thread
from rxhub.transport.registry import TransportConfig, TransportOptions

if TYPE_CHECKING:
    # Imported on first use at run time: `import rxhub` loads none of them.
    from rxhub.hub.description import Description
    from rxhub.hub.replay import Moment, Replay
    from rxhub.hub.signal_bridge import SignalBridge
    from rxhub.hub.stream import EventStream
    from rxhub.plugins import PluginReport, Plugins
    from rxhub.signals.signal import Signal

__all__ = ["EventHub"]

H = TypeVar("H", bound=Callable[[Event], Any])
OnReply: TypeAlias = Callable[[Event], object] | None

logger = logging.getLogger("rxhub")


class EventHub(Displayable):
    """Routes events to subscribers in order of priority, and lets them stop, reply and compose.

    Errors that many methods raise are listed here only: `HubClosed` by those that need an open hub, `ExpressionError`
    if a subscription does not parse, `NotDurable` by those that need stored events if the hub is not on `nats://`,
    `HubConnectionError` if the hub is not connected or a server cannot be reached, `StreamError` if it refuses a
    request, and `AlreadyHandled` if another context handles the hub. A subscription with a key such as `topc`, similar
    to one of the seven of an event, causes a `SubscriptionWarning`.

    Args:
        server_url: the scheme selects the transport. `memory://` is a hub of its own; all hubs of the process on
            `memory://name` see each other's events. `http://` and `https://` connect to an event server such as
            ftrack's. `nats://` and `tls://` store events in a NATS JetStream stream; `nats://one,two,three` names the
            servers of a cluster. `rxhub.transport.nats.NatsOptions` has other kinds of login, and certificates.
        api_user: becomes `source.user.username` of published events.
        api_key: the user's key, for transports that authenticate.
        headers: additional HTTP headers.
        cookies: additional HTTP cookies.
        inbox: the maximum number of events that wait to be handled.
        overflow: what happens to one more event: "error" (the publisher gets `Overflow`), "drop-oldest",
            "drop-newest", "latest" (keep only the newest) or "block" (the publisher waits, and nothing is read from the
            network until there is room).
        outbox: the maximum number of published events that the server has not accepted. One more raises `Overflow`, or
            waits if `overflow` is "block".
        stream: the JetStream stream that stores the events: letters, digits, `-` and `_`. Default: "events". Only for
            `nats://` and `tls://`.
        clock: the time of timers, for tests. Default: real time.

    Attributes:
        id: becomes `source.id` of published events, to which replies are addressed.
        events: every event, before any subscriber.
        scheduler: a reactivex scheduler whose actions run in the handling context.
    """

    def __init__(
        self,
        server_url: str | TransportOptions = "memory://",
        api_user: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        *,
        inbox: int = 100_000,
        overflow: str = "error",
        outbox: int = 100_000,
        stream: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        for name, value in (("headers", headers), ("cookies", cookies)):
            if value is not None and not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"Expected mapping for {name}, got {value!r}.")
        self.id = urandom(16).hex()
        self._address = HubAddress.parse(
            TransportConfig(
                url=server_url.url if isinstance(server_url, TransportOptions) else server_url,
                source=hub_source(self.id, api_user),
                user=api_user,
                key=api_key,
                headers=headers,
                cookies=cookies,
                outbox=outbox,
                stream=stream,
                options=server_url if isinstance(server_url, TransportOptions) else None,
            )
        )
        self._inbox = Inbox(inbox, overflow, clock)
        self._link = self._create_connection()
        self._dispatcher = self._create_dispatcher()
        self._runner = Runner(self._inbox, self, lambda: self._lifetime.finish())
        self.scheduler = HubScheduler(self._inbox)
        self._publisher = Publisher(self.id, api_user, self._link, self._inbox, self._runner, self._dispatcher)
        self._requests = Requests(self._publisher, self.scheduler)
        self._processings = Processings(self._publisher.check_open)
        self._lifetime = Lifetime(self._inbox, self._runner, self._link, self._processings, self._complete)
        self._lock = ForkSafeLock()
        self._reconnecting = ForkSafeLock()
        self._plugins: Plugins | None = None
        self._bridges: dict[tuple[int, str], SignalBridge] = {}
        self._removed: deque[Pipeline] = deque()
        self.events = with_runner_status(ScopedSubject[Event](serialize=True), self._runner)
        for observable in (self._dispatcher.deliveries, self._dispatcher.errors):
            with_runner_status(observable, self._runner)
        self._measures_inbox = False
        hubs.add(self)
        counts.sources.add(self)

    def _create_connection(self) -> HubConnection:
        address = self._address
        return HubConnection(
            address.type.create(address.config), self._inbox, address.config.source, is_remote=address.type.is_remote
        )

    def _create_dispatcher(self) -> Dispatcher:
        return Dispatcher(self._subscriber_added, self._subscriber_removed)

    def __repr__(self) -> str:
        runs = f"handled by {self._runner.claimed_by}" if self.is_running else "not handled"
        state = self._link.state
        return printable(f"<EventHub {self.get_server_url()} {state}, {len(self._dispatcher)} subscribers, {runs}>")

    def describe(self) -> Description:
        """The subscribers in dispatch order, the receivers of all signals, and the plugins. Printed, it is tables."""
        from rxhub.hub.description import Description, all_signals

        plugins = () if self._plugins is None else self._plugins.report()
        return Description(repr(self), self._dispatcher.subscribers, all_signals(), tuple(plugins))

    # Connecting

    def get_server_url(self) -> str:
        """The URL of the server, without credentials."""
        return self._address.url

    def get_network_location(self) -> str:
        """The host of the URL, with its port if it has one."""
        return self._address.location

    def shares_source_with(self, other: EventHub) -> bool:
        """Whether both hubs receive the same events, according to their URLs."""
        return self is other or bool(self._address.sources & other._address.sources)

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self._address.type.is_secure

    @property
    def connected(self) -> bool:
        """Whether events can be sent and received."""
        return bool(self._link.state)

    @property
    def state(self) -> Observable[ConnectionState]:
        """The state of the connection; starts with the current one."""
        return with_runner_status(self._link.states(), self._runner)

    @property
    def subscriptions_synced(self) -> bool:
        """Whether the server knows all subscribers, so that they receive what is published from now on."""
        return self._link.transport.subscriptions_synced

    def init_connection(self) -> None:
        """Accept published events before the hub is connected. Does nothing on `memory://`."""
        self._link.init()

    def connect(self) -> None:
        """Connect to the server, and reconnect whenever the connection is lost. Returns when connected.

        `memory://` is always connected, and `async with hub` connects; the first call afterwards does nothing, a second
        one raises `HubConnectionError`. In coroutines use `aconnect`: this call blocks the event loop and warns
        (`BlockingCallWarning`), except in notebooks.
        """
        self._publisher.check_open()
        if self._link.is_remote:
            self._publisher.hear_replies()
            if not self.connected and not in_io_thread():
                warn_if_blocking("hub.connect()", "`await hub.aconnect()`, or `async with hub:`, which connects")
        self._link.connect()

    async def aconnect(self) -> None:
        """`connect` without blocking the event loop. Cancelling it stops connecting."""
        await self._aconnect()

    async def _aconnect(self, implicitly: bool = False) -> None:
        check_asyncio("hub.aconnect()")
        self._publisher.check_open()
        if self._link.is_remote:
            self._publisher.hear_replies()
        await self._link.aconnect(implicitly)

    def disconnect(self, unsubscribe: bool = True, reconnect: bool = False) -> None:
        """Disconnect from the server; `wait` returns after it has handled `ftrack.meta.disconnected`.

        Waits up to five seconds until published events are sent. Raises `HubConnectionError` if the hub is neither
        connected nor reconnecting.

        Args:
            unsubscribe: remove all subscribers too.
            reconnect: the hub connects again soon: `ftrack.meta.disconnected` is not published, and published events
                wait for the next connection.
        """
        if not self._link.kept_up:
            raise HubConnectionError("Not currently connected.")
        if unsubscribe:
            for subscriber in self._dispatcher.subscribers:
                with suppress(NotFoundError):  # another thread was first
                    self._dispatcher.unsubscribe(subscriber.id)
        self._link.disconnect(reconnecting=reconnect)
        if not reconnect:
            event = Event(DISCONNECTED_TOPIC)
            self._publisher.prepare(event)
            self._inbox.put_own(event)

    def reconnect(self, attempts: int = 10, delay: float = 5) -> None:
        """Disconnect, keeping the subscribers, and connect again: up to `attempts` times, `delay` seconds apart.

        Raises `HubConnectionError` if every attempt failed.
        """
        # Serialized: concurrent calls would disconnect each other.
        with self._reconnecting:
            self._publisher.check_open()
            if self._link.kept_up:
                self.disconnect(unsubscribe=False, reconnect=True)
            for attempt in range(attempts):
                if attempt:
                    self._lifetime.closing.wait(delay)
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

    # Subscribing

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

        It receives what this hub publishes from now on. It receives what other hubs publish as soon as the server knows
        the subscription (`subscriptions_synced`): a moment later, or after the next (re)connect.

        Args:
            subscription: an expression of the subscription language, for example
                `topic=ftrack.update and data.entities.entity_type=Shot`.
            callback: called with the event; a plain or a coroutine function. A result other than None is published as
                a reply.
            subscriber: metadata that event targets are tested against. An `id` is added if it has none.
            priority: lower runs first; equal priorities run in the order of subscribing.
            scheduler: runs the callback instead of the handling context; the callback then cannot stop events.

        Returns:
            The subscriber's id, for `unsubscribe`.

        Raises:
            NotUniqueError: if a subscriber with this id exists.
            EventError: if the metadata contains NaN or infinity.
        """
        self._publisher.check_open()
        if isinstance(subscriber, Mapping):
            check_finite_metadata(subscriber)
        added = self._dispatcher.subscribe(subscription, callback, subscriber, priority, scheduler)
        _warn_of_similar_keys(added.expression)
        return added.id

    def unsubscribe(self, subscriber_identifier: str) -> None:
        """Remove a subscriber. It is not called any more, not even for an event being dispatched.

        Raises `NotFoundError` if no subscriber has this id.
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
        """Subscribe `callback` during a `with` block; yields the subscriber's id."""
        identifier = self.subscribe(subscription, callback, subscriber, priority, scheduler)
        try:
            yield identifier
        finally:
            with suppress(NotFoundError):
                self.unsubscribe(identifier)

    def on(self, subscription: str, priority: float = 100) -> Subscribable:
        """The events that match `subscription` as an observable, and a decorator for a callback.

        Each Rx subscription is a subscriber in the dispatch order: priorities and `stop()` apply across pipelines and
        callbacks.
        """
        self._publisher.check_open()
        events = Subscribable(self._dispatcher, subscription, priority)
        _warn_of_similar_keys(events.expression)
        return with_runner_status(events, self._runner)

    def stream(self, subscription: str, capacity: int = 1000, priority: float = 100) -> EventStream:
        """The events that match `subscription` as an async iterator, from now on.

        `capacity` events wait for a slow consumer; then the oldest are dropped and counted.
        """
        from rxhub.hub.stream import EventStream

        return EventStream(self.on(subscription, priority), capacity, self._runner)

    @property
    def deliveries(self) -> Observable[Delivery]:
        """The delivery of each event, after its last subscriber."""
        return self._dispatcher.deliveries

    @property
    def errors(self) -> Observable[Outcome]:
        """The outcomes of callbacks that failed."""
        return self._dispatcher.errors

    # Publishing

    @overload
    def publish(
        self, event: Event, synchronous: Literal[False] = False, on_reply: OnReply = None, on_error: str = "raise"
    ) -> Future[None] | None: ...
    @overload
    def publish(
        self, event: Event, synchronous: Literal[True], on_reply: OnReply = None, on_error: str = "raise"
    ) -> list[Any] | None: ...
    def publish(
        self, event: Event, synchronous: bool = False, on_reply: OnReply = None, on_error: str = "raise"
    ) -> Future[None] | list[Any] | None:
        """Publish an event to all hubs on the server, including this one.

        Args:
            event: missing fields of its `source` are set.
            synchronous: run this hub's own subscribers now, and send nothing.
            on_reply: called in the handling context with each reply, for up to ten minutes.
            on_error: "raise", or "ignore" to return None on any error.

        Returns:
            A future that is done when the transport has accepted the event: over the network, when the server has
            acknowledged it. While the server is away, the event waits. Callbacks of the future run in the I/O thread
            and must be short. If synchronous, the results of the callbacks that did not fail, including None.

        Raises:
            EventError: if the event contains NaN or infinity (unless synchronous), or cannot be written as JSON where
                it leaves the process.
            Overflow: if the inbox (or, over the network, the outbox) is full and its policy is "error".
            NotHandled: if the inbox is full, its policy is "block", and the hub is not running.
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

    def _publish_here(self, event: Event) -> list[Any]:
        self._publisher.check_open()
        self._publisher.prepare(event)
        span = None if tracing.active is None else tracing.active.publish(event, self.id)
        if isinstance(event, UnstoppableEvent):
            # It starts afresh, and may be stopped again.
            event = event.envelope()
        counting = counts.active
        started = 0.0 if counting is None else counting.dispatch(event)
        try:
            self.events.on_next(event)
            results = self._dispatcher.dispatch(event).results
            if counting is not None:
                counting.published.add(event.topic)
                if started:
                    counting.dispatching.add(perf_counter() - started)
            return results
        finally:
            if span is not None:
                span.end()

    def forward(self, event: Event) -> Future[None]:
        """Publish an event of another hub unchanged; returns and raises as `publish`."""
        return self._publisher.forward(event)

    def publish_reply(self, source_event: Event, data: Any, source: Mapping[str, Any] | None = None) -> None:
        """Publish `data` as a reply to `source_event`, for the hub that published it.

        `source` says who answers; its missing fields are set. Raises `EventError` if the event has no source id.
        """
        self._publisher.reply(source_event, data, source)

    async def apublish(self, event: Event) -> None:
        """Publish `event`; returns when the transport has accepted it. Raises what `publish` raises."""
        await self._publisher.apublish(event)

    def request(self, event: Event, timeout: float = 10.0) -> Observable[Event]:
        """Publish `event` at each subscription and emit the replies until `timeout` seconds have passed.

        Replies are emitted one after the other in the handling context, whatever the scheduler of the subscription. The
        first subscription publishes the event itself, others a copy with a new id. `request(…).run()` waits for the end
        and returns the last reply, or raises `NoReply`.

        The observable fails with `NotHandled` if the hub is not running (`run()` also in the thread that runs the hub),
        and with `HubClosed` if the hub was closed before the timeout.
        """
        return self._requests.request(event, timeout)

    async def ask(self, event: Event, timeout: float = 10.0) -> Event:
        """Publish `event` and return the first reply.

        Raises `NoReply` if there was none within `timeout` seconds, and `NotHandled` if the hub is not running.
        """
        return await self._requests.ask(event, timeout)

    @property
    def unsent(self) -> int:
        """The number of published events that the server has not accepted yet."""
        return self._link.transport.unsent

    @property
    def refused(self) -> int:
        """The number of published events that the full outbox has refused so far."""
        return self._link.transport.refused

    # Stored events

    @overload
    def process(self, subscription: str, handler: Handler, **options: Unpack[ProcessOptions]) -> GroupProcessing: ...
    @overload
    def process(
        self, subscription: str, handler: None = None, **options: Unpack[ProcessOptions]
    ) -> Callable[[H], H]: ...
    def process(
        self, subscription: str, handler: Handler | None = None, **options: Unpack[ProcessOptions]
    ) -> GroupProcessing | Callable[[H], H]:
        """Handle the events that match `subscription`, each in one process of a group, until it succeeds.

        Starts immediately, on a connection of its own, whether or not the hub is connected or running. An event is
        acknowledged when its handler returns. An event that fails is retried by any process of the group and becomes a
        dead letter after the last attempt (see `dead_letters`), as does an event that repeatedly ends its process. Each
        event is handled at least once.

        A new group starts at `since`, an existing one where it stopped. An event with a target is handled if the target
        matches `{"id": group}`. Results of handlers are ignored.

        Args:
            subscription: the events; the same in all processes of a group.
            handler: called with each event: a coroutine function on the loop that runs when `process` is called, or on
                a private one; another function in threads. Without a handler, `process` is a decorator.
            **options: see `rxhub.transport.durable.ProcessOptions`: group (required), retries=5, backoff=1.0,
                timeout=None, sequential=False, concurrency=1, key=None, once=False, max_waiting=100_000, since=None,
                replace=False.

        Returns:
            The processing, which `stop()`, the end of its `with` block, or `close()` stops. Without a handler, the
            decorator, which returns the function.

        Raises:
            GroupError: if the group exists with another subscription or order.
            ValueError: if an option is out of range, or options exclude each other.
            TypeError: if the handler is not callable, or is a generator function.
        """
        start = self._processings.starter(self._durable("hub.process"), subscription, options)
        _warn_of_similar_keys(parse(subscription))
        if handler is not None:
            return start(handler)

        def decorate(function: H) -> H:
            start(function)
            return function

        return decorate

    @property
    def processings(self) -> tuple[GroupProcessing, ...]:
        """The parts of this process in groups, from `process` until they end."""
        return self._processings.running

    @property
    def dead_letters(self) -> DeadLetterQueue:
        """The events that groups failed to handle: `list`, `get`, `retry` and `drop` them."""
        return durable(self._link.transport, "hub.dead_letters").dead_letters

    def replay(
        self,
        subscription: str,
        since: Moment | None = None,
        until: Moment | None = None,
        speed: float | None = None,
        follow: bool = False,
    ) -> Replay:
        """The stored events that match `subscription`, in order: the history and, with `follow`, new ones too.

        Each Rx subscription replays on its own. Events are emitted in the handling context, which limits how far the
        replay reads ahead; disposing stops it. Subscribers of the hub do not receive them. Every stored event is
        emitted, whatever its target, replies included. A replay survives reconnects and emits each event once.

        Args:
            subscription: the server filters by topic, the hub by the rest.
            since: the start, included: an aware datetime, a timedelta (how long ago) or a sequence. Default: the first.
            until: the end, included, in the same format. Default: the last event when the replay starts.
            speed: 1.0 is the original pace, 10 ten times as fast. Default: as fast as the events are handled.
            follow: continue with new events, without a gap or duplicates.

        Returns:
            An observable that completes at the end of the history, with its `progress`. It fails with `NotHandled` if
            the hub is not running, and with the errors of the connection and the stream.

        Raises:
            ValueError: if a time is naive, a number is out of range, the end is before the start, or `until` is given
                with `follow`.
        """
        from rxhub.hub.replay import Replay, ReplayOptions

        self._publisher.check_open()
        expression = parse(subscription, self._dispatcher.dialect)
        transport = durable(self._link.transport, "hub.replay")
        options = ReplayOptions(since, until, speed, follow)
        replay = Replay(expression, options, transport, self._link, self._inbox, self._runner)
        _warn_of_similar_keys(expression)
        return with_runner_status(replay, self._runner)

    @property
    def streams(self) -> StreamsOfEvents:
        """The streams of the server: `hub.streams()` describes them and their groups, its methods change them.

        They block; in coroutines use `await asyncio.to_thread(hub.streams)`.
        """
        return self._durable("hub.streams").streams

    @property
    def groups(self) -> GroupsOfProcesses:
        """The groups of the hub's stream: `hub.groups()` describes them, its methods pause, reset and remove them.

        They block; in coroutines use `await asyncio.to_thread(hub.groups)`.
        """
        return self._durable("hub.groups").groups

    def kv_put(self, key: str, text: str) -> Future[None]:
        """Store a short text beside the stream, such as the progress of a program.

        The key consists of letters, digits, `-` and `_`. Returns a future that is done when the text is stored, or
        holds the error, within some seconds.
        """
        return self._durable("hub.kv_put").kv_put(key, text)

    def kv_get(self, key: str) -> Future[str | None]:
        """The text stored under a key, or None; returns and raises as `kv_put`."""
        return self._durable("hub.kv_get").kv_get(key)

    def _durable(self, what: str) -> Durable:
        self._publisher.check_open()
        return durable(self._link.transport, what)

    # Signals and plugins

    def bridge(
        self, signal: Signal[...], *, topic: str, secrets: Iterable[str] = (), priority: float = 1000
    ) -> abc.DisposableBase:
        """Publish the emissions of a signal as events, and send the events of other hubs as emissions.

        The event's data are the emission's arguments without secrets, and `sender`, the sender's name. Values that JSON
        cannot express are replaced by their representation, with a warning. An event of another hub becomes an emission
        whose sender is the class, function or module of that name for which receivers are connected, or else the name.
        Nothing is sent back to where it came from.

        Args:
            signal: a signal of this process.
            topic: of the events.
            secrets: names of arguments and nested keys that are not published, beside those in
                `rxhub.redaction.secrets`.
            priority: the position among receivers and subscribers; late, so that stopped emissions are not published.

        Returns:
            Dispose of it, or leave its `with` block, to end the bridge.

        Raises:
            NotUniqueError: if this hub already bridges the signal and the topic.
            ValueError: if the topic is empty, or contains a wildcard or a quote.
            TypeError: if the signal is not an rxhub Signal.
        """
        from rxhub.hub.signal_bridge import SignalBridge
        from rxhub.redaction import Secrets

        self._publisher.check_open()
        key = id(signal), topic
        if key in self._bridges:
            raise NotUniqueError(f"This hub has a bridge between {signal.name} and {topic}. Dispose of it first.")
        bridge = SignalBridge(
            self, signal, topic, secrets=Secrets(secrets), priority=priority, ended=lambda: self._bridges.pop(key, None)
        )
        self._bridges[key] = bridge
        if (scope := current_scope()) is not None:
            bridge.owner = scope
            scope.add(bridge.dispose)
        return bridge

    def bootstrap(self, plugins: Iterable[object] | None = None) -> PluginReport:
        """Start plugins in the order of their requirements, isolated from each other.

        Running plugins are left alone; those that failed, are disabled or were torn down are tried again.

        Args:
            plugins: modules, classes, instances or functions, see `rxhub.plugins.Plugin`. Default: every plugin that an
                installed distribution names in the entry-point group `rxhub.plugins`.

        Returns:
            Which plugins run, in which order, and why the others do not. Failures are logged, not raised.
        """
        from rxhub.plugins import given, installed

        self._publisher.check_open()
        candidates = installed() if plugins is None else given(plugins)
        return self._own_plugins().bootstrap(self, candidates)

    def teardown(self, plugins: Iterable[str] | None = None) -> PluginReport:
        """Tear plugins down, the last started first: call their `teardown`, and undo what they connected.

        `close()` does so for all of them. Plugins that require the named `plugins` (default: all) are torn down before
        them. Returns the state of all plugins of this hub; raises `PluginError` if no plugin of such a name is running.
        """
        return self._own_plugins().teardown(self, plugins)

    def _own_plugins(self) -> Plugins:
        from rxhub.plugins import Plugins

        with self._lock:
            plugins = self._plugins = self._plugins or Plugins()
        return plugins

    # Handling

    def start(self, invoke: Invoke | None = None) -> abc.DisposableBase:
        """Handle events in a background thread, or wherever `invoke` runs them.

        `invoke` runs a function in a host application's main loop, such as `maya.utils.executeDeferred`, and is called
        with one batch at a time. Warns (`NotConnectedWarning`) if neither `connect` nor `init_connection` was called.

        Returns:
            Dispose of it, or leave its `with` block, to end handling after the current event.
        """
        self._warn_if_not_connected("start()")
        return self._runner.start(invoke)

    def wait(self, duration: float | None = None) -> None:
        """Handle events in this thread for `duration` seconds, or until the hub is disconnected or closed.

        Warns (`BlockingCallWarning`) if an event loop runs in this thread, except in notebooks. Raises
        `HubConnectionError` if the hub is not connected and no event waits.
        """
        if not self._link.accepts and not self._inbox.ready:
            raise HubConnectionError(f"No event can arrive, as {self._link.why_not} first.")
        warn_if_blocking("hub.wait()", "`await hub.run()`, or `async with hub:`")
        self._runner.wait(duration)

    def drain(self) -> int:
        """Handle all waiting events, and those that result from them; the number of events."""
        return self._runner.drain()

    async def run(self) -> None:
        """Handle events on the running loop until cancelled or closed.

        Warns (`NotConnectedWarning`) if the hub is not connected. Raises `WrongLoop` without an asyncio loop.
        """
        check_asyncio("hub.run()")
        self._warn_if_not_connected("run()")
        await self._runner.run()

    def serve_forever(self, *, grace: float = GRACE_S) -> None:
        """Handle events and work in groups until SIGTERM, SIGINT or `close()`, then shut down gracefully.

        Events are handled in this thread as by `wait()`, unless another context handles the hub. After a signal,
        processings receive no more events, running handlers have `grace` seconds to finish, unfinished events are
        returned to the group, and the hub is closed. A second signal ends the program at once. Signal handlers that the
        program has installed are called too, and restored afterwards. Outside the main thread only `close()` ends it.

        Raises `GroupError` if a processing ended because its group was changed. The others are stopped first.
        """
        warn_if_blocking("hub.serve_forever()", "`await hub.aserve_forever()`")
        if not self._processings:  # they have their own connections
            self._warn_if_not_connected("serve_forever()")
        self._lifetime.serve(self.close, grace)

    async def aserve_forever(self, *, grace: float = GRACE_S) -> None:
        """`serve_forever` on the running loop, where events are handled as by `run()`."""
        check_asyncio("hub.aserve_forever()")
        if not self._processings:
            self._warn_if_not_connected("aserve_forever()")
        await self._lifetime.aserve(self.close, grace)

    def _warn_if_not_connected(self, what: str) -> None:
        if self._inbox.open and not self.is_running and not self._accepts_events and not self._inbox.ready:
            warn_caller(f"No event can arrive for hub.{what}, as {self._link.why_not} first.", NotConnectedWarning)

    @property
    def _accepts_events(self) -> bool:
        return self._link.accepts

    @property
    def is_running(self) -> bool:
        """Whether a context handles the hub."""
        return bool(self._runner.claimed_by)

    @property
    def is_running_here(self) -> bool:
        """Whether this thread handles the hub, and so must not wait for it."""
        return self._runner.runs_here

    @property
    def dropped(self) -> int:
        """The number of events that the full inbox has dropped or refused so far."""
        return self._inbox.dropped

    # Closing

    def close(self, timeout: float = CLOSE_TIMEOUT_S) -> None:
        """Accept nothing more, finish the current event, send what is unsent, disconnect, complete the observables.

        Waits `timeout` seconds for the current event and for unsent events. A callback that takes longer keeps running;
        the observables complete when it returns.
        """
        self._lifetime.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        """Handle the hub on the running loop, and connect it unless it is connected. Leaving closes the hub.

        If it cannot be connected, it is not handled either, and can be entered again.
        """
        check_asyncio("async with hub")
        await self._lifetime.enter(lambda: self._aconnect(implicitly=True))
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self._lifetime.exit(error)

    def _complete(self) -> None:
        # Plugins first: they may use the hub, and their pipelines complete with the others.
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
        """Start afresh in a forked child: nothing runs, waits or is connected."""
        self._measures_inbox = False
        self._lifetime.forked()
        self._publisher.forked()
        self._link.forked()
        self._processings.forked()

    # Called by the runner (`rxhub.hub.runner.Handler`) and the dispatcher

    def handle(self, item: Event | Delivery, run: Run, turn: TimeSlice) -> None:
        """Pass one event to observers and subscribers; called by the runner."""
        if isinstance(item, Event):
            counting = counts.active
            started = 0.0 if counting is None else counting.dispatch(item)
            self._emit_event(item, turn)
            self._dispatcher.dispatch(item, self._publisher.answer, run, turn)
            if started and counting is not None:
                counting.dispatching.add(perf_counter() - started)
        else:
            self._dispatcher.dispatch(item.event, self._publisher.answer, run, turn, item)

    async def handle_async(self, item: Event | Delivery, turn: TimeSlice) -> None:
        """`handle` on the running loop; called by the runner."""
        if isinstance(item, Event):
            counting = counts.active
            started = 0.0 if counting is None else counting.dispatch(item)
            self._emit_event(item, turn)
            await self._dispatcher.dispatch_async(item, self._publisher.answer, turn)
            if started and counting is not None:
                counting.dispatching.add(perf_counter() - started)
        else:
            await self._dispatcher.dispatch_async(item.event, self._publisher.answer, turn, item)

    def levels(self, counting: EventCounts) -> list[Level]:
        """The lengths of queues for metrics; also measures how long items wait in the inbox."""
        if not self._inbox.open:
            return []
        if self.is_running and not self._measures_inbox:
            started = perf_counter()

            def measure() -> None:
                self._measures_inbox = False
                counting.inbox_wait.add(perf_counter() - started)

            self._measures_inbox = True
            self._inbox.call_soon(Action(measure))
        return [
            Level("hubs", 1),
            Level("hubs_reconnecting", self._link.kept_up and not self.connected),
            Level("inbox_events", len(self._inbox)),
            Level("outbox_events", self.unsent),
        ]

    def _emit_event(self, event: Event, turn: TimeSlice) -> None:
        try:
            self.events.on_next(event)
        except BaseException:
            # Ctrl-C in an observer: the next context passes the event to the subscribers.
            turn.hand_back(self._dispatcher.undelivered(event))
            raise

    def _subscriber_added(self, subscriber: Subscriber) -> None:
        self._link.transport.add_subscription(subscriber.id, subscriber.expression, subscriber.metadata)

    def _subscriber_removed(self, subscriber: Subscriber) -> None:
        self._link.transport.remove_subscription(subscriber.id)
        pipeline = subscriber.callback
        if isinstance(pipeline, Pipeline) and not pipeline.disposed:
            # Removed by id: the pipeline's observer would wait forever.
            self._removed.append(pipeline)
            self._inbox.call_soon(Action(self._complete_removed))

    def _complete_removed(self) -> None:
        while self._removed:
            self._removed.popleft().complete()


def _warn_of_similar_keys(expression: Expression) -> None:
    """Warn if the first step of a key is similar to a key of an event. An event from the wire may have other keys."""
    if similar := misspelling_warning(expression):
        warn_caller(similar, SubscriptionWarning)
