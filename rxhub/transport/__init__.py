"""Where events come from and go to: what a hub asks of a transport, and a transport of a hub."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.state import ConnectionState

__all__ = ["Sink", "Transport"]


class Sink(Protocol):
    """What a transport tells its hub. Thread-safe; never raises, never runs user code."""

    def received(self, event: Event) -> bool:
        """Take an event in; False if the inbox refuses it."""
        ...

    def changed(self, state: ConnectionState) -> None:
        """Note a new state of the connection."""
        ...


class Transport(Protocol):
    """What moves events in and out of a hub. Never blocks, never runs user code."""

    def open(self, sink: Sink) -> None:
        """Connect, and feed `sink` from now on; progress and failure are told by `sink.changed`."""
        ...

    def send(self, event: Event) -> Future[None]:
        """Hand an event on; the future is done when it was accepted, or holds why it was not."""
        ...

    def interest(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None:
        """A subscriber wants what matches `expression`; a transport may send more, never less."""
        ...

    def forget(self, id: str) -> None:
        """The subscriber has gone."""
        ...

    def close(self) -> Future[None]:
        """Disconnect; the future is done when what was accepted has gone out."""
        ...
