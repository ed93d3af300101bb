"""`memory://name`: hubs of one process that see each other's events.

A network lives as long as a hub holds it: the registry of names is weak. `memory://` without a name
is a network of one hub alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from rxhub.errors import HubConnectionError, Overflow
from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.state import ConnectionState, Phase
from rxhub.transport import Sink

__all__ = ["MemoryTransport", "renew_lock"]


class _Network:
    """The hubs under one name, as a snapshot that readers may keep."""

    def __init__(self) -> None:
        self.sinks: tuple[Sink, ...] = ()


_networks: WeakValueDictionary[str, _Network] = WeakValueDictionary()
_lock = Lock()


def _done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


# Every accepted event shares this future: it holds no state but "done".
_ACCEPTED = _done()


class MemoryTransport:
    """Delivers into the inboxes of all hubs under its name, its own included.

    Args:
        name: of the network; empty for one of its own.
    """

    def __init__(self, name: str = "") -> None:
        with _lock:
            network = _networks.get(name) if name else None
            if network is None:
                network = _Network()
                if name:
                    _networks[name] = network
        self._network = network
        self._sink: Sink | None = None

    def open(self, sink: Sink) -> None:
        self._sink = sink
        with _lock:
            self._network.sinks = (*self._network.sinks, sink)
        sink.changed(ConnectionState(Phase.CONNECTED))

    def send(self, event: Event) -> Future[None]:
        own = self._sink
        if own is None:
            return _refused(HubConnectionError("The hub is not connected; call connect()."))
        accepted = True
        for sink in self._network.sinks:
            # Each hub has an envelope of its own, since stopping is local to a hub.
            if not sink.received(event.envelope()) and sink is own:
                accepted = False
        if accepted:
            return _ACCEPTED
        return _refused(
            Overflow(
                f"The hub's inbox is full and refused {event.topic}. Handle events faster, or make the hub with "
                'a larger inbox=… or another overflow="drop-oldest", "drop-newest", "latest" or "block".'
            )
        )

    def interest(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None:
        """Nothing to do: every hub gets every event and tests it itself."""

    def forget(self, id: str) -> None:
        """Nothing to do, as for `interest`."""

    def close(self) -> Future[None]:
        own, self._sink = self._sink, None
        if own is not None:
            with _lock:
                self._network.sinks = tuple(sink for sink in self._network.sinks if sink is not own)
            own.changed(ConnectionState(Phase.DISCONNECTED))
        return _ACCEPTED


def _refused(error: Exception) -> Future[None]:
    future: Future[None] = Future()
    future.set_exception(error)
    return future


def renew_lock() -> None:
    """Replace the lock; for a child process, where a thread that held it is gone."""
    global _lock
    _lock = Lock()
