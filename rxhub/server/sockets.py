"""Which sockets are open, and which of them make room for new ones.

A stranger can open any number of connections and say nothing. So a socket that waits for a complete request may be
closed at any time: when a new connection comes and there is no room, the one that has waited longest makes room. A
client that sends its request at once is not affected, since its socket waits for some milliseconds only. Sockets of
clients, and those whose request is being answered, stay; if there are only such, the new one is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rxhub.server.counters import Counters

__all__ = ["SocketSlot", "Sockets"]


class Sockets:
    """The sockets of a server.

    Args:
        most: sockets at once.
        most_waiting: of these, sockets that wait for a complete request.
        counters: what is counted.
    """

    def __init__(self, most: int, most_waiting: int, counters: Counters) -> None:
        self.counters = counters
        self._most = most
        self._most_waiting = most_waiting
        self._open: set[SocketSlot] = set()
        self._waiting: dict[SocketSlot, Callable[[], object]] = {}  # in order of waiting

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def waiting(self) -> int:
        """How many wait for a complete request."""
        return len(self._waiting)

    def take(self) -> SocketSlot | None:
        """A slot for a socket that was accepted; None if there is no room, and the socket has to be closed."""
        if (len(self._open) >= self._most or len(self._waiting) >= self._most_waiting) and not self.make_room():
            self.counters.connections_rejected += 1
            return None
        slot = SocketSlot(self)
        self._open.add(slot)
        return slot

    def make_room(self) -> bool:
        """Close the socket that has waited longest for a complete request; False if none waits."""
        for slot, abort in self._waiting.items():
            self.counters.connections_rejected += 1
            self.release(slot)
            abort()
            return True
        return False

    def mark_waiting(self, slot: SocketSlot, abort: Callable[[], object]) -> None:
        """The socket of a slot waits for a complete request; `abort` closes it to make room.

        The place in the order is kept if it waited before.
        """
        if slot in self._open:
            self._waiting[slot] = abort

    def mark_active(self, slot: SocketSlot) -> None:
        """The request is complete, or the socket is a client's: it stays open."""
        self._waiting.pop(slot, None)

    def release(self, slot: SocketSlot) -> None:
        """The socket is closed. Calling it again does nothing."""
        self._waiting.pop(slot, None)
        self._open.discard(slot)


class SocketSlot:
    """The place of one socket.

    Attributes:
        sockets: all sockets of the server.
        accepted: when the socket was accepted, in the loop's time.
    """

    __slots__ = ("accepted", "sockets")

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets
        self.accepted = asyncio.get_running_loop().time()
