"""`ftrack_api.event.hub`: ftrack's hub over rxhub's.

Theory of operation. The hub is an `rxhub.EventHub`: its dispatcher, its inbox and its handling contexts, with all their
reactive faces. Between them and the server stand the methods of ftrack's hub, and each calls the next as there:

    publish ──▶ _publish ──▶ _emit_event_packet ──▶ _send_packet ──▶ _connection
    _connection ──▶ _receive_packet ──▶ _handle_packet ──▶ _event_queue ──▶ wait ──▶ _handle ──▶ callbacks
                                                                             publish ◀── publish_reply

so that a subclass that overrides one of them gets all that passes there. What rxhub itself would send goes the same
way (`Door`). `packets` has the second line's first half, `sending` the first line, `subscribing` who is called;
the rest is here.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from itertools import count
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit

import rxhub.dispatching.subscriber
import rxhub.event
import rxhub.hub
from rxhub import errors
from rxhub.compat.ftrack import exception
from rxhub.compat.ftrack.base import Event
from rxhub.compat.ftrack.dispatch import FtrackDispatcher
from rxhub.compat.ftrack.event_queue import EventQueue
from rxhub.compat.ftrack.expression import Parser
from rxhub.compat.ftrack.packets import ProcessorThread, ServerDetails, SocketIoSession
from rxhub.compat.ftrack.shortened import Brief
from rxhub.compat.ftrack.subscriber import Subscriber
from rxhub.compat.ftrack.subscriber_list import Roll
from rxhub.compat.ftrack.subscribing import Subscribing
from rxhub.compat.ftrack.transport_adapter import Door
from rxhub.compat.ftrack.trust import WEBSOCKET, trust
from rxhub.compat.ftrack.websocket import Line
from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.event_loop import check_asyncio
from rxhub.concurrency.flag import Flag
from rxhub.dispatching.delivery import Delivery
from rxhub.dispatching.dispatcher import Run
from rxhub.dispatching.time_slice import TimeSlice
from rxhub.expression import Dialect
from rxhub.expression.parser import as_tree
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Action
from rxhub.hub.publisher import REPLY
from rxhub.hub.runner import CLOSE_TIMEOUT_S, DISCONNECTED_TOPIC
from rxhub.transport.connection_state import ConnectionState, Phase

__all__ = ["EventHub", "ServerDetails", "SocketIoSession"]

_TICK_S = 0.1
"""Seconds for which `wait` waits for an event before it looks at the clock; as in ftrack's hub."""

_HELD = 30.0
"""Seconds after which a connection that breaks had been a good one."""


class EventHub(Subscribing, rxhub.hub.EventHub):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    """ftrack's hub: events from and to a server, routed to subscribers by priority.

    Args:
        server_url: of the event server.
        api_user: who connects, and publishes.
        api_key: the user's key.
        headers: further headers.
        cookies: likewise.

    Attributes:
        logger: named as ftrack's, so that what a program has configured for it still holds.
        server: scheme, host and port.

    Raises:
        ValueError: if the URL has no scheme or no host.
        TypeError: if headers or cookies are no mappings.
    """

    def __init__(
        self,
        server_url: str,
        api_user: str | None,
        api_key: str | None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> None:
        self.logger = logging.getLogger(f"ftrack_api.event.hub.{type(self).__name__}")
        url = urlsplit(server_url)
        if not url.scheme:
            raise ValueError("Could not determine scheme from server url.")
        if not url.hostname:
            raise ValueError("Could not determine hostname from server url.")
        self.server = ServerDetails(url.scheme, url.hostname, url.port)
        self._server_url = server_url
        self._api_user = api_user
        self._api_key = api_key
        self._cookies = _mapping(cookies or {})
        self._headers = _mapping(headers or {})
        self._connection = None
        self._connection_initialised = False
        self._connecting = False
        # Connected by `async with`, after which the first connect() changes nothing.
        self._is_implicit = False
        self._intentional_disconnect = False
        self._auto_reconnect_attempts = 30
        self._auto_reconnect_delay = 10
        self._wait_timeout = 4
        self._expression_parser = Parser()
        self._left_alone = Flag()
        self._backoff = Backoff()
        self._connected_at = 0.0
        self._processor_thread: ProcessorThread | None = None
        self._run: Run | None = None
        self._turn: TimeSlice | None = None
        Subscribing.__init__(self)
        rxhub.hub.EventHub.__init__(self, server_url, api_user, api_key, overflow="drop-oldest")
        self._event_queue = EventQueue(self._inbox)
        self._roll = Roll(self._dispatcher)

    def _create_connection(self) -> HubConnection:
        return HubConnection(Door(self), self._inbox, {})

    def _create_dispatcher(self) -> FtrackDispatcher:
        return FtrackDispatcher(self._subscriber_added, self._subscriber_removed, self.logger)

    @property
    def id(self) -> str:
        """Of this hub; becomes the source id of what it publishes."""
        return self._id

    @id.setter
    def id(self, value: str) -> None:
        self._id = value
        if "_publisher" in self.__dict__:
            self._publisher.hub_id = value

    @property
    def _subscribers(self) -> Roll:
        return self._roll

    @_subscribers.setter
    def _subscribers(self, members: Iterable[Any]) -> None:
        self._roll.replace(members)

    def get_server_url(self) -> str:
        return f"{self.server.scheme}://{self.get_network_location()}"

    def get_network_location(self) -> str:
        return f"{self.server.hostname}:{self.server.port}" if self.server.port else self.server.hostname

    @property
    def secure(self) -> bool:
        return self.server.scheme == "https"

    # Connecting

    def init_connection(self) -> None:
        """From now on, what is published waits for the connection instead of being refused."""
        self.logger.debug("Connection initialized,")
        self._connection_initialised = True

    @property
    def connected(self) -> bool:
        return self._connection is not None and bool(self._connection.connected)

    def connect(self) -> None:
        """Connect, announce the subscribers, send what waits.

        Raises:
            EventHubConnectionError: if the hub is connected, or cannot be.
        """
        self._publisher.check_open()
        if not self._connection_initialised:
            self.init_connection()
        if self.connected:
            if self._is_implicit:
                self._is_implicit = False
                return
            raise exception.EventHubConnectionError("Already connected.")
        with self._lock:
            if self._connecting:
                raise exception.EventHubConnectionError("Already connecting.")
            self._connecting = True
        if threading.current_thread() is not self._processor_thread:
            # A user's wish; the thread that comes back by itself heeds a disconnect() meanwhile.
            self._left_alone.clear()
        self._intentional_disconnect = False
        self._link.on_state(ConnectionState(Phase.CONNECTING))
        try:
            line = self._dial()
            if self._left_alone.is_set():
                line.close()
                raise exception.EventHubConnectionError("The hub was disconnected meanwhile.")
        except Exception as error:
            message = 'Failed to connect to event server at {server_url} with error: "{error}".'
            details = {"error": str(error), "server_url": self.get_server_url()}
            refused = exception.EventHubConnectionError(message, details=details)
            self.logger.debug("%s", refused, exc_info=True)
            self._link.on_state(ConnectionState(Phase.DISCONNECTED, str(error)))
            raise refused from error
        finally:
            self._connecting = False
        self._connected(line)

    @property
    def _accepts_events(self) -> bool:
        return self._connection_initialised

    async def _aconnect(self, implicitly: bool = False) -> None:
        check_asyncio("hub.aconnect()")
        self._publisher.check_open()
        if implicitly and (self.connected or self._connecting):
            return
        given_up = threading.Event()
        connecting: Future[None] = Future()

        def connect() -> None:
            try:
                self.connect()
            except BaseException as error:
                connecting.set_exception(error)
                return
            if given_up.is_set():
                self._hang_up()
            connecting.set_result(None)

        threading.Thread(target=connect, name="rxhub-connect", daemon=True).start()
        try:
            await asyncio.shield(asyncio.wrap_future(connecting))
            self._is_implicit = implicitly
        except asyncio.CancelledError:
            given_up.set()
            self._left_alone.set()
            if connecting.done():
                self._hang_up()
            raise

    def _hang_up(self) -> None:
        try:
            self.disconnect(unsubscribe=False)
        except exception.EventHubConnectionError:
            pass  # it is not connected, or another thread was first

    def _dial(self) -> Line:
        session = self._get_socket_io_session()
        if "websocket" not in session.supportedTransports:
            raise ValueError("Server does not support websocket sessions.")
        patience = float(session.heartbeatTimeout) if session.heartbeatTimeout else None
        endpoint = self._endpoint()
        return Line(endpoint, session.id, patience, trust(WEBSOCKET) if endpoint.secure else None)

    def _connected(self, line: Line) -> None:
        if not self._inbox.open:
            line.close()
            self._publisher.check_open()
        # A farewell that nobody has handled is no longer true, and would end the next wait().
        self._inbox.withdraw_own()
        self._announced.clear()
        self._packet_callbacks.clear()
        self._connected_at = monotonic()
        self._connection = line
        self._link.on_state(ConnectionState(Phase.CONNECTED))
        # Last: it may find the connection broken at once, and tell of that.
        self._processor_thread = ProcessorThread(self)
        self._processor_thread.start()
        try:
            self._add_subscriber(f"topic={REPLY}", self._handle_reply, subscriber={"id": self.id})
        except exception.NotUniqueError:
            pass
        for subscriber in self._subscribers[:]:
            # In its turn: one that another thread removes meanwhile must not be announced after that.
            self._dispatcher.report_in_order(self._notify_server_about_subscriber, subscriber)
        self._resend()
        self._flush()

    def disconnect(self, unsubscribe: bool = True, reconnect: bool = False) -> None:
        """Disconnect.

        Args:
            unsubscribe: remove all subscribers before.
            reconnect: the hub is to be connected again soon: what is published waits, and nobody is told.

        Raises:
            EventHubConnectionError: if the hub is not connected; if it was reconnecting by itself, that ends.
        """
        if not reconnect:
            self._left_alone.set()
        connection = self._connection
        if connection is None or not connection.connected:
            raise exception.EventHubConnectionError("Not currently connected.")
        self._intentional_disconnect = True
        self._is_implicit = False
        if not reconnect:
            self._connection_initialised = False
        if unsubscribe:
            for subscriber in self._subscribers[:]:
                try:
                    self.unsubscribe(subscriber.metadata["id"])
                except exception.NotFoundError:
                    pass  # another thread was first
        processor = self._processor_thread
        if processor is not None:
            processor.cancel(silent=reconnect)
        self._connection = None
        connection.close()
        self._link.on_state(ConnectionState(Phase.DISCONNECTED))
        # A signal handler disconnects in the middle of sending: this thread closes the connection afterwards.
        sending = isinstance(connection, Line) and connection.has_unsent
        if processor is not None and processor is not threading.current_thread() and not sending:
            processor.join(self._wait_timeout)

    def reconnect(self, attempts: int = 10, delay: float = 5) -> None:
        """Disconnect, if connected, and connect again; the subscribers stay.

        Args:
            attempts: how often connecting is tried at least.
            delay: seconds between two attempts at most; the first ones follow each other sooner. It is tried for at
                least `attempts * delay` seconds.

        Raises:
            EventHubConnectionError: if every attempt failed, or `disconnect` ended them.
        """
        try:
            self.disconnect(unsubscribe=False, reconnect=True)
        except exception.EventHubConnectionError:
            pass
        pauses = Backoff(min(0.5, delay), delay)
        until = monotonic() + attempts * delay
        for attempt in count():
            if attempt >= attempts and monotonic() >= until:
                break
            self.logger.debug("Reconnect attempt %s of %s", attempt, attempts)
            try:
                self.connect()
            except exception.EventHubConnectionError:
                if self.connected or self._left_alone.wait(pauses.delay()):
                    break
            else:
                return
        if not self.connected:
            raise exception.EventHubConnectionError(
                f"Failed to reconnect to event server at {self.get_server_url()} after {attempts} attempts."
            )

    def _disconnected(self) -> None:
        """The connection is gone; called by `_handle_packet`."""
        if not self._intentional_disconnect:
            self._link.on_state(ConnectionState(Phase.DISCONNECTED, "the connection broke"))
            if monotonic() - self._connected_at > _HELD:
                self._backoff.reset()
            # Not at once: a thousand others have lost the server too, or it drops us whenever we come.
            if self._left_alone.wait(self._backoff.delay()):
                self._intentional_disconnect = True
        super()._disconnected()

    def close(self, timeout: float = CLOSE_TIMEOUT_S) -> None:
        self._left_alone.set()
        super().close(timeout)

    def forked(self) -> None:
        connection, self._connection = self._connection, None
        if isinstance(connection, Line):
            connection.let_go()
        self._connecting = False
        self._left_alone = Flag()
        self._forget_unsent()
        super().forked()

    # Handling

    def wait(self, duration: float | None = None) -> None:
        """Handle events as they come, for `duration` seconds, or until the hub is disconnected.

        As with ftrack's hub, it waits at least 0.1 s for an event, however short the duration is, and handles one that
        waits even if the duration is 0.

        Raises:
            EventHubConnectionError: if neither `connect` nor `init_connection` was called.
        """
        if not self._connection_initialised and not self._inbox.ready:
            raise exception.EventHubConnectionError(
                "Event hub does not have a connection to the event server and will therefore only be able to receive "
                "syncronous events. Call connect() first, or create the session with auto_connect_event_hub=True."
            )
        if not self.is_running:
            self._runner.wait(duration, _TICK_S)
            return
        # Another thread handles the hub already, or a callback waits: ftrack's programs may.
        end = None if duration is None else monotonic() + duration
        while self._inbox.open:
            try:
                event = self._event_queue.get(timeout=_TICK_S)
            except queue.Empty:
                pass
            else:
                farewell = self._inbox.own and event["topic"] == DISCONNECTED_TOPIC
                self._handle(event)
                if farewell:
                    return
            if end is not None and monotonic() > end:
                return

    def handle(self, item: rxhub.event.Event | Delivery, run: Run, turn: TimeSlice) -> None:
        if not isinstance(item, rxhub.event.Event):
            self._dispatcher.dispatch(item.event, self._answer, run, turn, item)
            return
        before, self._run, self._turn = (self._run, self._turn), run, turn
        try:
            self._handle(item)
        finally:
            self._run, self._turn = before

    async def handle_async(self, item: rxhub.event.Event | Delivery, turn: TimeSlice) -> None:
        if not isinstance(item, rxhub.event.Event):
            await self._dispatcher.dispatch_async(item.event, self._answer, turn, item)
            return
        if type(self)._handle is not EventHub._handle:
            self._handle(item)
            return
        self._emit_event(item, turn)
        await self._dispatcher.dispatch_async(item, self._answer, turn)

    def _handle(self, event: Any, synchronous: bool = False) -> list[Any] | None:
        """Run an event through the subscribers; if `synchronous`, without replies.

        Returns:
            The results of the callbacks that did not fail; None if the target cannot be read.
        """
        ours = Event.of(event)
        target = ours.get("target")
        if target:
            try:
                as_tree(target, Dialect.FTRACK)
            except errors.ExpressionError:
                why = "Cannot handle event as failed to parse event target information: %s"
                self.logger.exception(why, Brief(event))
                return None
        # The turn is that of the event itself: what is handled in its callbacks runs to its end.
        turn, self._turn = self._turn, None
        self.events.on_next(ours)
        delivery = self._dispatcher.dispatch(ours, None if synchronous else self._answer, self._run, turn)
        if delivery.stopped_by is not None:
            self.logger.debug(
                "Subscriber %s stopped event %s. Will not process subsequent subscriber callbacks for this event.",
                Brief(delivery.stopped_by),
                Brief(event),
            )
            if ours is not event:
                event.stop()
        return delivery.results

    def _answer(
        self, event: rxhub.event.Event, subscriber: rxhub.dispatching.subscriber.Subscriber, result: Any
    ) -> None:
        try:
            self.publish_reply(event, data=result, source=subscriber.metadata)
        except Exception:
            self.logger.exception(
                "Error publishing response %s from subscriber %s for event %s.",
                Brief(result),
                Brief(subscriber),
                Brief(event),
            )

    def _handle_reply(self, event: rxhub.event.Event) -> Any:
        return self._publisher.replies.handle(event)

    # What the dispatcher tells

    def _subscriber_added(self, subscriber: rxhub.dispatching.subscriber.Subscriber) -> None:
        self._roll.enter(subscriber, first=subscriber.id == self.id)
        if not isinstance(subscriber, Subscriber):
            # A pipeline of hub.on(): nobody else tells the server of it.
            self._notify_server_about_subscriber(subscriber)

    def _subscriber_removed(self, subscriber: rxhub.dispatching.subscriber.Subscriber) -> None:
        self._roll.strike(subscriber)
        super()._subscriber_removed(subscriber)
        if isinstance(subscriber, Subscriber):
            self._notify_server_of_leave(subscriber)
        else:
            # A pipeline may be disposed of by a finalizer, in the middle of sending: not here, then.
            self._inbox.call_soon(Action(partial(self._notify_server_of_leave, subscriber)))


def _mapping(mapping: Any) -> dict[str, str]:
    if not isinstance(mapping, Mapping):
        raise TypeError(f"Expected mapping, got {mapping!r}.")
    return dict(cast("Mapping[str, str]", mapping))
