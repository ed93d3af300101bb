"""The connecting part of ftrack's hub: connect, disconnect and reconnect."""

from __future__ import annotations

import asyncio
import ssl
import threading
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from time import monotonic

from rxhub.compat.ftrack import exception
from rxhub.compat.ftrack.packets import ProcessorThread
from rxhub.compat.ftrack.subscribing import Subscribing
from rxhub.compat.ftrack.tls_socket import TlsSocket
from rxhub.compat.ftrack.trust import WEBSOCKET_VARIABLES, trust
from rxhub.compat.ftrack.websocket import ThreadedWebSocket
from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.event_loop import check_asyncio
from rxhub.concurrency.wakeup import Flag
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Inbox
from rxhub.hub.publisher import REPLY
from rxhub.transport.connection_state import ConnectionState, Phase

__all__ = ["Connecting"]

_STABLE_AFTER_S = 30.0  # a connection that lasted longer resets the reconnect backoff


class Connecting(Subscribing):
    """The methods of ftrack's hub that connect."""

    _inbox: Inbox
    _link: HubConnection

    def __init__(self) -> None:
        super().__init__()
        self._connection = None
        self._connection_initialised = False
        self._connecting = False
        # `async with` connected the hub; then the first connect() changes nothing.
        self._is_implicit = False
        self._intentional_disconnect = False
        self._auto_reconnect_attempts = 30
        self._auto_reconnect_delay = 10
        self._wait_timeout = 4
        self._stop_reconnecting = Flag()
        self._backoff = Backoff()
        self._connected_at = 0.0
        self._processor_thread: ProcessorThread | None = None

    def init_connection(self) -> None:
        """Queue published events until the connection is open, instead of refusing them."""
        self.logger.debug("Connection initialized,")
        self._connection_initialised = True

    @property
    def connected(self) -> bool:
        return self._connection is not None and bool(self._connection.connected)

    def connect(self) -> None:
        """Connect, announce the subscribers and send queued events; or raise EventHubConnectionError."""
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
            # Called by the user. The reconnecting thread must notice a disconnect() instead.
            self._stop_reconnecting.clear()
        self._intentional_disconnect = False
        self._link.on_state(ConnectionState(Phase.CONNECTING))
        try:
            websocket = self._open_websocket()
            if self._stop_reconnecting.is_set():
                websocket.close()
                raise exception.EventHubConnectionError("The hub was disconnected while it connected.")
        except Exception as error:
            message = 'Failed to connect to event server at {server_url} with error: "{error}".'
            details = {"error": str(error), "server_url": self.get_server_url()}
            failure = exception.EventHubConnectionError(message, details=details)
            self.logger.debug("%s", failure, exc_info=True)
            self._link.on_state(ConnectionState(Phase.DISCONNECTED, str(error)))
            raise failure from error
        finally:
            self._connecting = False
        self._connected(websocket)

    @property
    def _accepts_events(self) -> bool:
        return self._connection_initialised

    async def _aconnect(self, implicitly: bool = False) -> None:
        check_asyncio("hub.aconnect()")
        self._publisher.check_open()
        if implicitly and (self.connected or self._connecting):
            return
        connecting: Future[None] = Future()

        def connect() -> None:
            try:
                self.connect()
                connecting.set_result(None)
            except BaseException as error:
                connecting.set_exception(error)

        def disconnect(connected: Future[None]) -> None:
            if connected.exception() is None:
                with suppress(exception.EventHubConnectionError):  # another thread disconnected it
                    self.disconnect(unsubscribe=False)

        threading.Thread(target=connect, name="rxhub-connect", daemon=True).start()
        try:
            await asyncio.shield(asyncio.wrap_future(connecting))
            self._is_implicit = implicitly
        except asyncio.CancelledError:
            self._stop_reconnecting.set()
            connecting.add_done_callback(disconnect)  # calls it, also if it is done
            raise

    def _open_websocket(self) -> ThreadedWebSocket:
        session = self._get_socket_io_session()
        if "websocket" not in session.supportedTransports:
            raise ValueError("Server does not support websocket sessions.")
        server_timeout = float(session.heartbeatTimeout) if session.heartbeatTimeout else None
        endpoint = self._endpoint()
        context = None
        if endpoint.secure:
            context = trust(WEBSOCKET_VARIABLES) or ssl.create_default_context()
            context.sslsocket_class = TlsSocket
        return ThreadedWebSocket(endpoint, session.id, server_timeout, context)

    def _connected(self, websocket: ThreadedWebSocket) -> None:
        if not self._inbox.open:
            websocket.close()
            self._publisher.check_open()
        # An unhandled disconnect event is outdated, and would end the next wait().
        self._inbox.withdraw_own()
        self._announced_ids.clear()
        self._packet_callbacks.clear()
        self._connected_at = monotonic()
        self._connection = websocket
        self._link.on_state(ConnectionState(Phase.CONNECTED))
        # Last: it can find the connection broken at once and report that.
        self._processor_thread = ProcessorThread(self)
        self._processor_thread.start()
        with suppress(exception.NotUniqueError):
            self._add_subscriber(f"topic={REPLY}", self._handle_reply, subscriber={"id": self.id})
        for subscriber in self._subscribers[:]:
            # In order: a subscriber that another thread removes must not be announced afterwards.
            self._dispatcher.report_in_order(self._notify_server_about_subscriber, subscriber)
        self._resend()
        self._flush()

    def disconnect(self, unsubscribe: bool = True, reconnect: bool = False) -> None:
        """Disconnect, or raise EventHubConnectionError. Automatic reconnecting ends in any case.

        Args:
            unsubscribe: remove all subscribers first.
            reconnect: the hub will connect again soon: published events wait, and no disconnect event is sent.
        """
        if not reconnect:
            self._stop_reconnecting.set()
        connection = self._connection
        if connection is None or not connection.connected:
            raise exception.EventHubConnectionError("Not currently connected.")
        self._intentional_disconnect = True
        self._is_implicit = False
        if not reconnect:
            self._connection_initialised = False
        if unsubscribe:
            for subscriber in self._subscribers[:]:
                with suppress(exception.NotFoundError):  # another thread removed it
                    self.unsubscribe(subscriber.metadata["id"])
        processor = self._processor_thread
        if processor is not None:
            processor.cancel(silent=reconnect)
        self._connection = None
        connection.close()
        self._link.on_state(ConnectionState(Phase.DISCONNECTED))
        # A signal handler can disconnect while its thread sends; the thread closes the connection afterwards.
        sending = isinstance(connection, ThreadedWebSocket) and connection.has_unsent
        if processor is not None and processor is not threading.current_thread() and not sending:
            processor.join(self._wait_timeout)

    def reconnect(self, attempts: int = 10, delay: float = 5) -> None:
        """Disconnect, if connected, and connect again; keep the subscribers.

        Args:
            attempts: the least number of attempts.
            delay: the longest pause between two attempts in seconds. Attempts go on for at least `attempts * delay`
                seconds.

        Raises:
            EventHubConnectionError: if all attempts failed, or `disconnect` was called.
        """
        with suppress(exception.EventHubConnectionError):
            self.disconnect(unsubscribe=False, reconnect=True)
        pauses = Backoff(min(0.5, delay), delay)
        until = monotonic() + attempts * delay
        for attempt in count():
            if attempt >= attempts and monotonic() >= until:
                break
            self.logger.debug("Reconnect attempt %s of %s", attempt, attempts)
            try:
                self.connect()
            except exception.EventHubConnectionError:
                if self.connected or self._stop_reconnecting.wait(pauses.delay()):
                    break
            else:
                return
        if not self.connected:
            raise exception.EventHubConnectionError(
                f"Failed to reconnect to event server at {self.get_server_url()} after {attempts} attempts."
            )

    def _disconnected(self) -> None:
        """Handle a lost connection; called by `_handle_packet`."""
        if not self._intentional_disconnect:
            self._link.on_state(ConnectionState(Phase.DISCONNECTED, "the connection broke"))
            if monotonic() - self._connected_at > _STABLE_AFTER_S:
                self._backoff.reset()
            # With a pause: many clients may have lost the server, or it rejects this one repeatedly.
            if self._stop_reconnecting.wait(self._backoff.delay()):
                self._intentional_disconnect = True
        super()._disconnected()

    def _drop_connection(self) -> None:
        """Forget the connection in a forked child; the parent keeps using it."""
        connection, self._connection = self._connection, None
        if isinstance(connection, ThreadedWebSocket):
            connection.detach()
        self._connecting = False
        self._stop_reconnecting = Flag()
