"""One client of a server: what a WebSocket and a stream over HTTP have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from enum import Enum
from typing import ClassVar, Generic

from rxhub.server.envelope import OutgoingEvent
from rxhub.server.options import ServerOptions
from rxhub.server.send_queue import SendQueue, T
from rxhub.server.users import User

__all__ = ["CloseReason", "ServerClient"]


class CloseReason(Enum):
    """Why a connection was closed."""

    GONE = "the client disconnected"
    MALFORMED = "the client sent an invalid packet"
    SILENT = "the client did not answer heartbeats"
    SLOW = "the client read too slowly"
    DISCONNECTED = "an administrator disconnected the client"
    REMOVED = "the user was removed or changed"
    SHUTDOWN = "the server shuts down"


class ServerClient(ABC, Generic[T]):
    """One client.

    Attributes:
        protocol: `websocket` or `http`.
        id: number of the connection on this server.
        user: name of the user.
        address: of the client.
        connected: when the client connected.
        close_reason: why the connection was closed; None while it is open.
    """

    __slots__ = ("__weakref__", "_account", "_send_queue", "address", "close_reason", "connected", "id", "user")

    protocol: ClassVar[str]

    def __init__(self, options: ServerOptions, account: User, address: str) -> None:
        limits = options.limits
        self.id = 0
        self.user = account.name
        self.address = address
        self.connected = datetime.now(UTC)
        self.close_reason: CloseReason | None = None
        self._account = account
        self._send_queue: SendQueue[T] = SendQueue(limits.queue, limits.queue_bytes, options.slow_consumer)

    @property
    def waiting(self) -> int:
        """The number of messages in the send queue."""
        return len(self._send_queue)

    @property
    def sent(self) -> int:
        """The number of events that were sent."""
        return self._send_queue.sent

    @property
    def dropped(self) -> int:
        """The number of events that were dropped because the client read too slowly."""
        return self._send_queue.dropped

    @property
    def is_congested(self) -> bool:
        """Whether the client reads more slowly than messages arrive for it."""
        return self._send_queue.is_congested

    @abstractmethod
    def deliver(self, event: OutgoingEvent) -> bool:
        """Queue an event. False if the client cannot receive it any more."""

    @abstractmethod
    def end(self, reason: CloseReason) -> None:
        """Send the queued messages within a timeout, and close the connection."""

    def update_user(self, account: User | None) -> None:
        """Apply the current rules of the user. Close the connection if the user was removed or has another key."""
        if account is None or not account.has_same_key(self._account):
            self.end(CloseReason.REMOVED)
        elif account.subscribe.patterns != self._account.subscribe.patterns:
            # Its subscriptions are restricted by the old rules. The client reconnects and subscribes again.
            self.end(CloseReason.REMOVED)
        else:
            self._account = account

    def _put(self, message: T, is_event: bool = False) -> bool:
        is_open = self._send_queue.put(message, is_event)
        if not is_open and self._send_queue.overflowed and self.close_reason is None:
            # The writer may be blocked in a send until the client reads.
            self.end(CloseReason.SLOW)
        return is_open
