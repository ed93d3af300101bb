"""The connection of a hub: its address, its transport, and the state that the two are in."""

from __future__ import annotations

from weakref import finalize, ref

from reactivex import Observable, abc

from rxhub.errors import HubConnectionError
from rxhub.event import Event
from rxhub.inbox import Action, Inbox
from rxhub.state import ConnectionState, Phase
from rxhub.subject import Subject
from rxhub.transport import Transport
from rxhub.transport.memory import MemoryTransport

__all__ = ["Connection"]


class Connection:
    """Opens and closes a transport, and fills the inbox with what comes from it.

    Args:
        server_url: the scheme chooses the transport.
        inbox: where events go, and the news of the state, which observers get where the hub is handled.
        transport: what to move events by, instead of what the scheme would choose.

    Attributes:
        scheme: of the URL, in lower case.
        location: the host of the URL, with its port if it has one.
        transport: what moves the events.
        state: the present state.
        changes: emits each further state, in the handling context.

    Raises:
        TypeError: if the URL is no text.
        ValueError: if it has no scheme that rxhub knows.
    """

    def __init__(self, server_url: str, inbox: Inbox, transport: Transport | None = None) -> None:
        if not isinstance(server_url, str):
            raise TypeError(f"A server url is text, but {type(server_url).__name__} was given.")
        self.scheme, self.location, path = _address(server_url)
        self.transport = _transport(self.scheme, f"{self.location}{path}") if transport is None else transport
        self.state = ConnectionState(Phase.DISCONNECTED)
        self.changes: Subject[ConnectionState] = Subject()
        self._inbox = inbox
        self._by_user = False
        self._open()
        # A hub that is dropped without being closed must not go on receiving.
        finalize(self, self.transport.close).atexit = False

    def connect(self) -> None:
        """Connect, by the user's wish.

        Raises:
            HubConnectionError: if an earlier call has connected.
        """
        if self.state:
            if self._by_user:
                raise HubConnectionError("Already connected.")
        else:
            # A farewell that nobody has handled is no longer true, and would end the next wait().
            self._inbox.withdraw_own()
            self._open()
        self._by_user = True

    def disconnect(self) -> None:
        """Disconnect, by the user's wish."""
        self._by_user = False
        self.transport.close()

    def states(self) -> Observable[ConnectionState]:
        """The state, beginning with the present one, each once."""

        def subscribe(
            observer: abc.ObserverBase[ConnectionState], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            last: ConnectionState | None = None

            def tell(state: ConnectionState) -> None:
                nonlocal last
                if state != last:
                    last = state
                    observer.on_next(state)

            ended = self.changes.is_stopped
            if ended:
                tell(self.state)
            changes = self.changes.subscribe(tell, observer.on_error, observer.on_completed, scheduler=scheduler)
            if not ended:
                # Read when the changes are subscribed to, so that none is lost between the two.
                tell(self.state)
            return changes

        return Observable(subscribe)

    def received(self, event: Event) -> bool:
        """Put an event from the transport into the inbox; False if that refuses it."""
        return self._inbox.put(event)

    def changed(self, state: ConnectionState) -> None:
        """Note a new state."""
        self.state = state
        if self.changes.observers:
            self._inbox.call_soon(Action(lambda: self.changes.on_next(state)))

    def end(self) -> None:
        """Tell that the hub is closed."""
        self.state = ConnectionState(Phase.CLOSED)
        self.changes.on_next(self.state)
        self.changes.on_completed()

    def forked(self) -> None:
        """Be disconnected in a child process, where the lines of the parent are not ours."""
        self.changes.renew_lock()
        self.transport.close()
        self._by_user = False
        if self._inbox.open:
            self.state = ConnectionState(Phase.DISCONNECTED, "forked")

    def _open(self) -> None:
        self.transport.open(_Gate(self))


class _Gate:
    """The connection as its transport sees it; holds it weakly, so that a dropped hub can go."""

    def __init__(self, connection: Connection) -> None:
        self._connection = ref(connection)

    def received(self, event: Event) -> bool:
        connection = self._connection()
        return connection is not None and connection.received(event)

    def changed(self, state: ConnectionState) -> None:
        connection = self._connection()
        if connection is not None:
            connection.changed(state)


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
