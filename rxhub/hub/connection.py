"""The connection of a hub: its transport, and the state of it."""

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
from rxhub.telemetry import counts
from rxhub.transport import Transport
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.io_thread import in_io_thread

__all__ = ["HubConnection"]

CONNECTED = "ftrack.meta.connected"

_CLOSE_TIMEOUT_S = 5.0
_FORKED = "forked"
# Time to disconnect, beyond the timeout for unsent events.
_DISCONNECT_S = 2.0

logger = logging.getLogger("rxhub")


class _Change(NamedTuple):
    number: int
    state: ConnectionState


class HubConnection:
    """Opens and closes a transport, and puts what it receives into the inbox (`rxhub.transport.Sink`).

    Attributes:
        changes: emits each new state with its number, in the handling context.
    """

    def __init__(
        self, transport: Transport, inbox: Inbox, source: Mapping[str, Any], *, is_remote: bool = False
    ) -> None:
        self.transport = transport
        self.is_remote = is_remote
        self._latest = _Change(1, ConnectionState(Phase.DISCONNECTED))
        self.changes: Subject[_Change] = ScopedSubject()
        self._inbox = inbox
        self._source = source
        self._wanted = self._implicitly = False
        self._initialised = False
        self._outcome: Future[ConnectionState] | None = None
        self._has_connected = False
        self._lock = ForkSafeLock()
        if not self.is_remote:
            self._open()
        # A hub that is dropped without being closed must not continue to receive.
        finalize(self, self.transport.close).atexit = False

    @property
    def state(self) -> ConnectionState:
        return self._latest.state

    @property
    def accepts(self) -> bool:
        """Whether events can be sent, now or when the hub is connected."""
        return self._initialised or bool(self.state)

    @property
    def why_not(self) -> str:
        """Why events cannot be sent, and what to do, as the end of a sentence."""
        if self.state.reason == _FORKED:
            return (
                "this process was forked from the one that connected the hub, and connections are not inherited. "
                "Call connect() in the child process"
            )
        return "the hub is not connected. Call connect()"

    @property
    def kept_up(self) -> bool:
        """Whether it is connected or reconnecting."""
        return bool(self.state) or (self.is_remote and self._wanted)

    def init(self) -> None:
        """Accept events before the hub is connected."""
        if self.is_remote and not self._initialised:
            self.transport.buffer_before_connect()
            self._initialised = True

    def connect(self) -> None:
        """Connect for the user; returns when connected."""
        outcome = self._begin_to_connect()
        if outcome is not None:
            try:
                state = outcome.result()
            except BaseException:
                # Ctrl-C: the caller no longer wants a connection.
                self.transport.close(0, reconnecting=True)
                raise
            _check_connected(state)
        self._wanted, self._implicitly = True, False

    async def aconnect(self, implicitly: bool = False) -> None:
        """`connect` without blocking the running loop.

        `implicitly` is for `async with`: it does nothing if the hub is connected, and the first `connect` afterwards
        succeeds.
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
        self._wanted, self._implicitly = True, implicitly

    def _begin_to_connect(self) -> Future[ConnectionState] | None:
        """Open the transport; done when that succeeded or failed. None if there is nothing to wait for."""
        if self.state:
            if self._wanted and not self._implicitly:
                raise HubConnectionError("Already connected.")
            return None
        # An unhandled ftrack.meta.disconnected is outdated, and would end the next wait().
        self._inbox.withdraw_own()
        return self._open()

    def disconnect(self, reconnecting: bool = False) -> None:
        """Disconnect for the user, when all events are sent or after five seconds.

        In the I/O thread it does not wait, since it would wait for itself. If `reconnecting`, events are still
        accepted.
        """
        self._wanted = False
        self._initialised = self._initialised and reconnecting
        timeout = 1.0 if reconnecting else _CLOSE_TIMEOUT_S
        ended = self.transport.close(timeout, reconnecting)
        if in_io_thread():
            return
        try:
            ended.result(timeout + _DISCONNECT_S)
        except (HubConnectionError, TimeoutError) as error:
            logger.warning("Not everything could be sent before the hub was disconnected: %s", error)

    def wait_for_room(self, handled: Callable[[], bool]) -> bool:
        """Wait until a refused event may be sent again; False if the hub is not running, so that it never may."""
        if self.is_remote:
            self.transport.wait_for_room(0.5)
            return True
        self._inbox.retry()
        return self._inbox.wait_for_room(handled)

    def retry(self) -> None:
        """Do not count a refused event: its publisher sends it again."""
        if self.is_remote:
            self.transport.wait_for_room(0)
        else:
            self._inbox.retry()

    def states(self) -> Awaitable[ConnectionState]:
        """The state, starting with the current one, without repetitions."""

        def subscribe(
            observer: abc.ObserverBase[ConnectionState], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            last: ConnectionState | None = None
            newest = 0

            def tell(change: _Change) -> None:
                nonlocal last, newest
                number, state = change
                if number <= newest:
                    return  # older than the state at the time of subscribing
                newest = number
                if state != last:
                    last = state
                    observer.on_next(state)

            # The current state is emitted here, others in the handling context; Rx forbids overlapping calls.
            line: Subject[_Change] = Subject(serialize=True, on_observer_error="raise")
            observing = line.subscribe(tell, observer.on_error, observer.on_completed)
            ended = self.changes.is_stopped
            if ended:
                line.on_next(self._latest)
            changes = self.changes.subscribe(line, scheduler=scheduler)
            if not ended:
                # Read after subscribing to the changes, so that none is lost.
                line.on_next(self._latest)
            return CompositeDisposable(observing, changes)

        return Awaitable(subscribe)

    def on_event(self, event: Event) -> bool:
        return self._inbox.put(event)

    def on_events(self, events: Sequence[Event]) -> int:
        return self._inbox.put_all(events)

    def has_room(self) -> bool:
        inbox = self._inbox
        return inbox.policy != "block" or len(inbox) < inbox.capacity or not inbox.open

    def on_state(self, state: ConnectionState) -> None:
        was_connected = bool(self.state)
        # A connection may still be closing when its hub is closed.
        if self.state.phase is not Phase.CLOSED:
            change = self._note(state)
            if self.changes.observers:
                self._inbox.call_soon(Action(lambda: self.changes.on_next(change)))
        if self.is_remote and state and not was_connected:
            if self._has_connected and (counting := counts.active) is not None:
                counting.reconnections += 1
            self._has_connected = True
            # One event suffices, however often the connection was lost before the hub runs.
            self._inbox.withdraw_own()
            self._inbox.put_own(Event(CONNECTED, source=dict(self._source)))
        if state.phase is not Phase.CONNECTING:
            with self._lock:
                outcome, self._outcome = self._outcome, None
            if outcome is not None:
                outcome.set_result(state)

    def end(self) -> None:
        self.changes.on_next(self._note(ConnectionState(Phase.CLOSED)))
        self.changes.on_completed()

    def forked(self) -> None:
        """Be disconnected in a forked child: the connections belong to the parent."""
        self._outcome = None
        was_connected = bool(self.state)
        self.transport.forked()
        self._wanted = self._initialised = False
        if self._inbox.open:
            self._note(ConnectionState(Phase.DISCONNECTED, _FORKED))
            if was_connected and not self.is_remote:
                self._open()

    def _note(self, state: ConnectionState) -> _Change:
        self._latest = change = _Change(self._latest.number + 1, state)
        return change

    def _open(self) -> Future[ConnectionState] | None:
        if not self.is_remote:
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
    """The connection for its transport; holds it weakly, so that a dropped hub can be collected."""

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
