"""`memory://name`: the hubs of one process under a name receive each other's events.

A network exists as long as one of its hubs: the registry is weak. Each hub on `memory://` has a network of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final
from weakref import WeakValueDictionary

from rxhub.concurrency.fork import ForkSafeLock, run_after_fork
from rxhub.errors import HubConnectionError, Overflow
from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.protocols import Sink
from rxhub.transport.registry import TransportConfig, TransportType, host_and_path

__all__ = ["MEMORY", "MemoryTransport"]


class _Network:
    """The hubs under one name, in a dict without a lock: the finalizer of a collected hub removes it, at any moment."""

    def __init__(self) -> None:
        self.sinks: dict[Sink, None] = {}


_networks: WeakValueDictionary[str, _Network] = WeakValueDictionary()
_lock = ForkSafeLock()


class _Accepted(Future[None]):
    """A done future that all accepted events share, and that is read without a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.set_result(None)

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> None:
        return None

    def exception(self, timeout: float | None = None) -> None:
        return None


_accepted = _Accepted()


class MemoryTransport:
    """Puts events into the inboxes of all hubs under its name, its own included; without a name, only there."""

    unsent = 0
    refused = 0

    def __init__(self, name: str = "") -> None:
        with _lock:
            network = _networks.get(name) if name else None
            if network is None:
                network = _Network()
                if name:
                    _networks[name] = network
        self._network = network
        self._sink: Sink | None = None

    @property
    def subscriptions_synced(self) -> bool:
        return self._sink is not None

    def buffer_before_connect(self) -> None:
        """Nothing to do: it is always connected."""

    def open(self, sink: Sink) -> None:
        self._sink = sink
        self._network.sinks[sink] = None
        sink.on_state(ConnectionState(Phase.CONNECTED))

    def send(self, event: Event) -> Future[None]:
        own = self._sink
        if own is None:
            return _refused(HubConnectionError("The hub is not connected; call connect()."))
        # Its own first: an event that is refused here reached no hub, and may be published again.
        if not own.on_event(event.envelope()):
            return _refused(
                Overflow(
                    f"The hub's inbox is full and refused {event.topic}. Handle events faster, or create the hub with "
                    'a larger inbox=… or another overflow="drop-oldest", "drop-newest", "latest" or "block".'
                )
            )
        # Each hub gets its own envelope: stopping an event is local to a hub.
        for sink in (*self._network.sinks,):
            if sink is not own:
                sink.on_event(event.envelope())
        return _accepted

    def add_subscription(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None:
        """Nothing to do: every hub receives and filters all events."""

    def remove_subscription(self, id: str) -> None:
        """Nothing to do, as for `add_subscription`."""

    def wait_for_room(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float = 5.0, reconnecting: bool = False) -> Future[None]:
        own, self._sink = self._sink, None
        if own is not None:
            self._network.sinks.pop(own, None)
            own.on_state(ConnectionState(Phase.DISCONNECTED))
        return _accepted

    def forked(self) -> None:
        self.close()


def _refused(error: Exception) -> Future[None]:
    future: Future[None] = Future()
    future.set_exception(error)
    return future


def _after_fork() -> None:
    global _accepted
    _accepted = _Accepted()  # a future holds a lock, too


run_after_fork(_after_fork)


def _name(url: str) -> str:
    return "".join(host_and_path(url)).strip("/")


def _sources(config: TransportConfig) -> frozenset[tuple[str, str]]:
    name = _name(config.url)
    return frozenset([("memory", name)] if name else [])


MEMORY: Final = TransportType(
    create=lambda config: MemoryTransport(_name(config.url)),
    location=lambda url: host_and_path(url)[0],
    sources=_sources,
    is_remote=False,
)
