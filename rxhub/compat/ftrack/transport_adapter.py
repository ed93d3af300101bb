"""The transport of `rxhub.EventHub` that sends through the methods of ftrack's hub."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any
from weakref import ref

from rxhub.compat.ftrack.connecting import Connecting
from rxhub.errors import EventError, HubConnectionError
from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.transport import Sink

__all__ = ["TransportAdapter"]


class TransportAdapter:
    """Passes everything to the methods of ftrack's hub, which subclasses can override; refers to it weakly."""

    def __init__(self, hub: Connecting) -> None:
        self._hub = ref(hub)

    @property
    def unsent(self) -> int:
        hub = self._hub()
        return 0 if hub is None else hub.unsent

    refused = 0

    @property
    def subscriptions_synced(self) -> bool:
        hub = self._hub()
        return hub is not None and hub.connected

    # The methods that do nothing: ftrack's hub connects, reports its state, and announces each subscription as it was
    # written; `init_connection` enables buffering.

    def buffer_before_connect(self) -> None: ...
    def open(self, sink: Sink) -> None: ...
    def add_subscription(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None: ...
    def remove_subscription(self, id: str) -> None: ...
    def forked(self) -> None: ...

    def send(self, event: Event) -> Future[None]:
        sent: Future[None] = Future()

        def acknowledged(response: Mapping[str, Any]) -> None:
            if response.get("success") is True:
                sent.set_result(None)
            else:
                reason = response.get("message") or "no reason given"
                sent.set_exception(HubConnectionError(f"The server refused {event.topic}: {reason}"))

        hub = self._hub()
        if hub is None:
            sent.set_exception(HubConnectionError("The hub was garbage-collected."))
            return sent
        try:
            # _publish only logs encoding errors, and would never resolve the future.
            hub._encode(event)  # pyright: ignore[reportPrivateUsage]
        except Exception as error:
            sent.set_exception(EventError(f"{event.topic} cannot be written as JSON: {error}"))
            return sent
        try:
            hub._publish(event, callback=acknowledged)  # pyright: ignore[reportPrivateUsage]
        except EventError as error:  # too large
            sent.set_exception(error)
        return sent

    def wait_for_room(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float = 5.0, reconnecting: bool = False) -> Future[None]:
        closed: Future[None] = Future()
        hub = self._hub()
        if hub is not None and hub.connected:
            with suppress(HubConnectionError):  # another thread disconnected it
                hub.disconnect(unsubscribe=False, reconnect=True)
        closed.set_result(None)
        return closed
