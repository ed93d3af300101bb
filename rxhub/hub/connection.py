"""The connection of a hub: its address, its transport, and the state that the two are in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple
from weakref import finalize, ref

from reactivex import abc
from reactivex.disposable import CompositeDisposable

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import HubConnectionError
from rxhub.event import Event
from rxhub.hub.inbox import Action, Inbox
from rxhub.rx.awaitable import Awaitable
from rxhub.rx.scoped_subject import ScopedSubject
from rxhub.rx.subject import Subject
from rxhub.text.extras import missing_dependency
from rxhub.transport import Transport
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.io_thread import in_io_thread
from rxhub.transport.memory import MemoryTransport

__all__ = ["HubConnection"]

CONNECTED = "ftrack.meta.connected"

_NATS = ("nats", "tls")
_STREAM = "events"
_PATIENCE = 5.0
_FORKED = "forked"
# Seconds that hanging up may take beyond that.
_HANGING_UP = 2.0

logger = logging.getLogger("rxhub")


class _Change(NamedTuple):
    """A state, and how many there were before it."""

    number: int
    state: ConnectionState


class HubConnection:
    """Opens and closes a transport, and fills the inbox with what comes from it.

    Args:
        server_url: the scheme chooses the transport.
        inbox: where events go, and the news of the state, which observers get where the hub is handled.
        identity: who we are, as the source of an event tells it.
        api_user: whom the server is to let in; this and the following are for transports over the network.
        api_key: the user's key.
        headers: further headers.
        cookies: further cookies.
        outbox: how many events may wait for being accepted by the server.
        stream: that events are stored in, for `nats://`.
        transport: what to move events by, instead of what the scheme would choose.

    Attributes:
        remote: whether there is a server, and so connecting takes time and may fail.
        scheme: of the URL, in lower case.
        location: the host of the URL, with its port if it has one.
        places: where its events are; connections that share one see each other's.
        transport: what moves the events.
        changes: emits each further state and its number, in the handling context.

    Raises:
        TypeError: if the URL is no text.
        ValueError: if it has no scheme that rxhub knows, or something cannot be sent to the server.
    """

    def __init__(
        self,
        server_url: str,
        inbox: Inbox,
        identity: Mapping[str, Any],
        api_user: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        outbox: int = 100_000,
        stream: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        if not isinstance(server_url, str):
            raise TypeError(f"A server url is text, but {type(server_url).__name__} was given.")
        self.scheme, self.location, path = _address(server_url)
        self.places = _places(self.scheme, self.location, path, stream)
        self.remote = transport is None and self.scheme in ("http", "https", *_NATS)
        if stream is not None and self.scheme not in _NATS:
            raise ValueError(
                f"Only nats:// stores events in a stream, but stream={stream!r} was given for {server_url}."
            )
        if transport is not None:
            self.transport = transport
        elif self.scheme in _NATS:
            self.transport = _nats(server_url, api_user, api_key, stream, identity, outbox)
        elif self.remote:
            self.transport = _socketio(
                identity, outbox, self.scheme, self.location, path, api_user, api_key, headers, cookies
            )
        else:
            self.transport = _local(self.scheme, f"{self.location}{path}")
        self._latest = _Change(1, ConnectionState(Phase.DISCONNECTED))
        self.changes: Subject[_Change] = ScopedSubject()
        self._inbox = inbox
        self._identity = identity
        self._by_user = self._implicitly = False
        self._initialised = False
        self._outcome: Future[ConnectionState] | None = None
        self._lock = ForkSafeLock()
        if not self.remote:
            self._open()
        # A hub that is dropped without being closed must not go on receiving.
        finalize(self, self.transport.close).atexit = False

    @property
    def state(self) -> ConnectionState:
        """The present state."""
        return self._latest.state

    @property
    def accepts(self) -> bool:
        """Whether events can be sent: now, or once the server has been reached."""
        return self._initialised or bool(self.state)

    @property
    def why_not(self) -> str:
        """Why events cannot be sent, and what to do, as the rest of a sentence."""
        if self.state.reason == _FORKED:
            return (
                "this process was forked from the one that connected the hub, and connections are not inherited. "
                "Call connect() in the child process"
            )
        return "the hub is not connected. Call connect()"

    @property
    def kept_up(self) -> bool:
        """Whether it is connected, or was and is being connected again."""
        return bool(self.state) or (self.remote and self._by_user)

    def init(self) -> None:
        """Let events be sent before the connection stands."""
        if self.remote and not self._initialised:
            self.transport.buffer_before_connect()
            self._initialised = True

    def connect(self) -> None:
        """Connect, by the user's wish; done when connected.

        Raises:
            HubConnectionError: if an earlier call has connected, or the server cannot be reached or refuses us.
        """
        outcome = self._begin_to_connect()
        if outcome is not None:
            try:
                state = outcome.result()
            except BaseException:
                # Ctrl-C: who does not wait for a connection does not want one.
                self.transport.close(0, reconnecting=True)
                raise
            _check_connected(state)
        self._by_user, self._implicitly = True, False

    async def aconnect(self, implicitly: bool = False) -> None:
        """As `connect`, without blocking the running loop.

        Args:
            implicitly: called by `async with`. Nothing happens if the hub is connected, and the first explicit
                `connect` changes nothing.
        """
        if implicitly and self.kept_up:
            return
        outcome = self._begin_to_connect()
        if outcome is not None:
            try:
                # Shielded: another thread may wait for the same outcome.
                state = await asyncio.shield(asyncio.wrap_future(outcome))
            except BaseException:
                self.transport.close(0, reconnecting=True)
                raise
            _check_connected(state)
        self._by_user, self._implicitly = True, implicitly

    def _begin_to_connect(self) -> Future[ConnectionState] | None:
        """Open the transport; done when that has succeeded or failed. None if nothing is to be waited for."""
        if self.state:
            if self._by_user and not self._implicitly:
                raise HubConnectionError("Already connected.")
            return None
        # A farewell that nobody has handled is no longer true, and would end the next wait().
        self._inbox.withdraw_own()
        return self._open()

    def disconnect(self, reconnecting: bool = False) -> None:
        """Disconnect, by the user's wish, once what was handed on has gone out, or after five seconds.

        In the network's own thread it only begins that, since it would wait for itself.

        Args:
            reconnecting: connecting follows soon: events are still taken in, and go out then.
        """
        self._by_user = False
        self._initialised = self._initialised and reconnecting
        timeout = 1.0 if reconnecting else _PATIENCE
        ended = self.transport.close(timeout, reconnecting)
        if in_io_thread():
            return
        try:
            ended.result(timeout + _HANGING_UP)
        except (HubConnectionError, TimeoutError) as error:
            logger.warning("Not everything could be sent before the hub was disconnected: %s", error)

    def wait_for_room(self, handled: Callable[[], bool]) -> bool:
        """Sleep until a refused event may be sent again; False if nobody handles the hub, so that would never be."""
        if self.remote:
            self.transport.wait_for_room(0.5)
            return True
        self._inbox.retry()
        return self._inbox.wait_for_room(handled)

    def retry(self) -> None:
        """A refused event is not lost: its publisher sends it again."""
        if self.remote:
            self.transport.wait_for_room(0)
        else:
            self._inbox.retry()

    def states(self) -> Awaitable[ConnectionState]:
        """The state, beginning with the present one, each once."""

        def subscribe(
            observer: abc.ObserverBase[ConnectionState], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            last: ConnectionState | None = None
            newest = 0

            def tell(change: _Change) -> None:
                nonlocal last, newest
                number, state = change
                if number <= newest:
                    return  # it waited to be told when the observer came, and had been followed by others
                newest = number
                if state != last:
                    last = state
                    observer.on_next(state)

            # The present state is told here, a further one where the hub is handled, and Rx forbids to overlap them.
            line: Subject[_Change] = Subject(serialize=True, on_observer_error="raise")
            observing = line.subscribe(tell, observer.on_error, observer.on_completed)
            ended = self.changes.is_stopped
            if ended:
                line.on_next(self._latest)
            changes = self.changes.subscribe(line, scheduler=scheduler)
            if not ended:
                # Read when the changes are subscribed to, so that none is lost between the two.
                line.on_next(self._latest)
            return CompositeDisposable(observing, changes)

        return Awaitable(subscribe)

    def on_event(self, event: Event) -> bool:
        """Put an event from the transport into the inbox; False if that refuses it."""
        return self._inbox.put(event)

    def on_events(self, events: Sequence[Event]) -> int:
        """Put events that have come together into the inbox; how many it has dealt with."""
        return self._inbox.put_all(events)

    def has_room(self) -> bool:
        """Whether the inbox would take one more event, or does not want to be waited for."""
        inbox = self._inbox
        return inbox.policy != "block" or len(inbox) < inbox.capacity or not inbox.open

    def on_state(self, state: ConnectionState) -> None:
        """Note a new state."""
        was_connected = bool(self.state)
        # A line may still be hanging up when its hub is closed for good.
        if self.state.phase is not Phase.CLOSED:
            change = self._note(state)
            if self.changes.observers:
                self._inbox.call_soon(Action(lambda: self.changes.on_next(change)))
        if self.remote and state and not was_connected:
            # One greeting is enough, however often the line broke before anybody has looked.
            self._inbox.withdraw_own()
            self._inbox.put_own(Event(CONNECTED, source=dict(self._identity)))
        if state.phase is not Phase.CONNECTING:
            with self._lock:
                outcome, self._outcome = self._outcome, None
            if outcome is not None:
                outcome.set_result(state)

    def end(self) -> None:
        """Tell that the hub is closed."""
        self.changes.on_next(self._note(ConnectionState(Phase.CLOSED)))
        self.changes.on_completed()

    def forked(self) -> None:
        """Be disconnected in a child process, where the lines of the parent are not ours."""
        self._outcome = None
        was_connected = bool(self.state)
        self.transport.forked()
        self._by_user = self._initialised = False
        if self._inbox.open:
            self._note(ConnectionState(Phase.DISCONNECTED, _FORKED))
            if was_connected and not self.remote:
                self._open()

    def _note(self, state: ConnectionState) -> _Change:
        self._latest = change = _Change(self._latest.number + 1, state)
        return change

    def _open(self) -> Future[ConnectionState] | None:
        if not self.remote:
            self.transport.open(_WeakSink(self))
            return None
        self._initialised = True
        with self._lock:
            if self._outcome is None:
                self._outcome = Future()
            outcome = self._outcome
        self.transport.open(_WeakSink(self))
        return outcome


def _check_connected(state: ConnectionState) -> None:
    if not state:
        raise HubConnectionError(state.reason or "The hub was disconnected before it was connected.")


class _WeakSink:
    """The connection as its transport sees it; holds it weakly, so that a dropped hub can go."""

    def __init__(self, connection: HubConnection) -> None:
        self._connection = ref(connection)

    def on_event(self, event: Event) -> bool:
        connection = self._connection()
        return connection is not None and connection.on_event(event)

    def on_events(self, events: Sequence[Event]) -> int:
        connection = self._connection()
        return len(events) if connection is None else connection.on_events(events)

    def has_room(self) -> bool:
        connection = self._connection()
        return connection is None or connection.has_room()

    def on_state(self, state: ConnectionState) -> None:
        connection = self._connection()
        if connection is not None:
            connection.on_state(state)


def _address(server_url: str) -> tuple[str, str, str]:
    """The scheme of a URL, in lower case, its host with the port, and its path."""
    from urllib.parse import urlsplit  # takes longer to import than the hub

    if "://" not in server_url:
        raise ValueError(
            f"Could not determine scheme from server url {server_url!r}. A server is named with http:// or https:// "
            "before it, a stream of NATS with nats://, a hub within this process is memory:// or memory://name."
        )
    try:
        url = urlsplit(server_url)
    except ValueError as error:
        # What stands before an @ may be a password.
        raise ValueError(f"{server_url.rpartition('@')[2]!r} names no server: {error}.") from None
    if url.scheme in _NATS:
        from rxhub.transport.nats.address import hosts

        return url.scheme, hosts(server_url), ""
    return url.scheme, url.netloc.rpartition("@")[2], url.path


def _places(scheme: str, location: str, path: str, stream: str | None) -> frozenset[tuple[str, str]]:
    """Where the events of a URL are; a memory:// without a name is nowhere else."""
    name = f"{location}{path}".strip("/")
    if scheme == "memory":
        return frozenset([(scheme, name)] if name else [])
    if scheme not in _NATS:
        return frozenset([(scheme, name.lower())])
    hosts = [host if ":" in host else f"{host}:4222" for host in location.lower().split(",")]
    return frozenset([(_STREAM if stream is None else stream, host) for host in hosts])


def _local(scheme: str, location: str) -> Transport:
    if scheme != "memory":
        raise ValueError(
            f"No transport is known for {scheme}://; rxhub has http://, https://, nats://, tls:// (NATS) and memory://."
        )
    return MemoryTransport(location.strip("/"))


def _socketio(identity: Mapping[str, Any], outbox: int, *address: Any) -> Transport:
    # Takes longer to import than all the rest.
    from rxhub.transport.socketio.client import SocketIOTransport
    from rxhub.transport.socketio.endpoint import Endpoint

    return SocketIOTransport(Endpoint(*address), identity, outbox)


def _nats(
    server_url: str,
    api_user: str | None,
    api_key: str | None,
    stream: str | None,
    identity: Mapping[str, Any],
    outbox: int,
) -> Transport:
    try:
        from rxhub.transport.nats.address import Address
        from rxhub.transport.nats.client import NatsTransport
    except ModuleNotFoundError as error:
        raise missing_dependency(error, "nats://", "nats") from None
    address = Address.parse(server_url, api_user, api_key)
    name = f"rxhub {identity['host']} {identity['id'][:8]}"
    return NatsTransport(address, _STREAM if stream is None else stream, name, outbox)
