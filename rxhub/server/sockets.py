"""The open sockets, and which of them may be closed to make room for new ones.

Anyone can open many connections and send nothing. So a socket without a complete request may be closed at any time: if
there is no room for a new connection, the one that has waited longest is closed. Clients that send their request at
once are not affected, because their sockets wait for milliseconds only. Sockets of clients, and sockets whose request
is being answered, stay open. If there are no others, the new connection is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rxhub.server.counters import Counters

__all__ = ["SocketSlot", "Sockets"]


class Sockets:
    """The sockets of a server.

    Args:
        most: maximum number of sockets.
        most_waiting: maximum number of sockets without a complete request.
        counters: count closed connections.
    """

    def __init__(self, most: int, most_waiting: int, counters: Counters) -> None:
        self.counters = counters
        self._most = most
        self._most_waiting = most_waiting
        self._open: set[SocketSlot] = set()
        self._waiting: dict[SocketSlot, Callable[[], object]] = {}  # in order of waiting

    def __len__(self) -> int:
        """The number of open sockets."""
        return len(self._open)

    @property
    def waiting(self) -> int:
        """The number of sockets without a complete request."""
        return len(self._waiting)

    def take(self) -> SocketSlot | None:
        """The slot of an accepted socket; None if there is no room, so that the socket must be closed."""
        if (len(self._open) >= self._most or len(self._waiting) >= self._most_waiting) and not self.make_room():
            self.counters.connections_rejected += 1
            return None
        slot = SocketSlot(self)
        self._open.add(slot)
        return slot

    def make_room(self) -> bool:
        """Close the socket that has waited longest for a complete request. False if none waits."""
        for slot, abort in self._waiting.items():
            self.counters.connections_rejected += 1
            self.release(slot)
            abort()
            return True
        return False

    def mark_waiting(self, slot: SocketSlot, abort: Callable[[], object]) -> None:
        """The socket waits for a complete request. `abort` closes it to make room.

        A socket that already waits keeps its position.
        """
        if slot in self._open:
            self._waiting[slot] = abort

    def mark_active(self, slot: SocketSlot) -> None:
        """The request is complete, or the socket is a client's. It stays open."""
        self._waiting.pop(slot, None)

    def release(self, slot: SocketSlot) -> None:
        """The socket is closed. A second call does nothing."""
        self._waiting.pop(slot, None)
        self._open.discard(slot)


class SocketSlot:
    """One open socket.

    Attributes:
        sockets: all sockets of the server.
        accepted: loop time in seconds when the socket was accepted.
    """

    __slots__ = ("accepted", "sockets")

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets
        self.accepted = asyncio.get_running_loop().time()
