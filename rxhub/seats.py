"""Who is connected to a signal, and in which order, found by sender.

Theory of operation. There is a *seat* for each sender that somebody asked for, and one, `ANYONE`, for those who want
every sender. A seat holds its connections in a dict, in the order of connecting, so that joining and leaving take the
same time among ten as among a hundred thousand. The *lineup* of a sender is a tuple of the connections of its seat
and of `ANYONE`'s, by priority, then by order. It is made when somebody sends after a change, and never changes.

`Signal.send` reads `ready` without a call: a dict of lineups by the sender's id, and the lineup of the senders without
a seat. What it finds there is a tuple of *plain* connections, for which nothing but calling is to be done;
None means that it must ask `lineup()`, since the tuple is stale or needs care.

A connection *is* the weak reference to its receiver. When that dies, or a sender does, the interpreter appends the
reference to `gone`; no lock is taken and no Python runs there, since the collector may strike anywhere. Whoever comes
next finds `gone` filled and sweeps. A dead sender's id is used again only after it was appended, and an entry leaves
`gone` only after its seat is vacated, so a new object with an old id never finds the seat of the dead.
"""

from __future__ import annotations

from _thread import RLock
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from itertools import count
from operator import attrgetter
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias, TypeGuard, cast
from weakref import ref

from rxhub.convention import Receiver, Terms
from rxhub.ownership import Owner

__all__ = ["Connection", "Lineup", "Seats", "checked_priority", "key_of"]

_SenderKey: TypeAlias = Hashable

_ANYONE = 0  # no object has this id


class Connection(ref[Any]):
    """One receiver's connection to a signal; calling it gives the receiver, or None once that has died.

    Attributes:
        alive: False once it is disconnected; asked before every call.
        priority: lower comes first.
        order: how many connected to the signal before.
        key: what tells it from the others of its sender.
        terms: what it asks for beyond being called.
        seat: its place among those of its sender.
        kept: the receiver itself, if it must not die while it is connected.
    """

    __slots__ = ("alive", "kept", "key", "order", "priority", "seat", "terms")

    alive: bool
    priority: float
    order: int
    key: Hashable
    terms: Terms
    kept: Receiver | None
    seat: Seat

    @property
    def receiver(self) -> Receiver | None:
        """Who is called; None once it has died."""
        return self()

    @property
    def sender(self) -> Any:
        """Whose emissions it gets; None for everybody's, or once the sender has died."""
        return self.seat.sender

    @property
    def weak(self) -> bool:
        """Whether the receiver may die while it is connected."""
        return self.kept is None

    @property
    def dispatch_uid(self) -> Hashable:
        """The name under which it was connected, or None."""
        key = cast("tuple[Any, ...]", self.key if isinstance(self.key, tuple) else ())
        return key[1] if key and key[0] is None else None

    @property
    def where(self) -> str | None:
        """The subscription that its emissions match, or None."""
        return self.terms.where

    @property
    def owner(self) -> Owner | None:
        """The plugin that connected it, or None."""
        return self.terms.owner

    def __repr__(self) -> str:
        state = "" if self.alive else "disconnected "
        return f"<{state}connection of {self()!r} at priority {self.priority}>"


class _MethodConnection(Connection):
    """Refers to the object of a bound method: the method itself is made anew at each access, and dies at once."""

    __slots__ = ("function",)

    function: Callable[..., Any]

    def __call__(self) -> Receiver | None:
        owner = super().__call__()
        return None if owner is None else MethodType(self.function, owner)


class _KeptConnection(Connection):
    """Keeps what takes no weak reference; it refers to its class, for want of anything else."""

    __slots__ = ()

    def __call__(self) -> Receiver | None:
        return self.kept


Lineup: TypeAlias = tuple[Connection, ...]


class _SenderReference(ref[Any]):
    __slots__ = ("key",)

    key: _SenderKey


class Seat:
    """The connections for one sender."""

    __slots__ = ("key", "members", "reference")

    def __init__(self, key: _SenderKey, sender: Any, gone: deque[ref[Any]]) -> None:
        self.key = key
        self.members: dict[Hashable, Connection] = {}
        self.reference: _SenderReference | tuple[Any] = (sender,)
        if type(key) is int and sender is not None:
            try:
                self.reference = _SenderReference(sender, gone.append)
            except TypeError:
                pass  # it takes no weak reference, so it is kept, and its id with it
            else:
                self.reference.key = key

    @property
    def sender(self) -> Any:
        return self.reference[0] if isinstance(self.reference, tuple) else self.reference()


def key_of(sender: Any) -> _SenderKey:
    """What tells a sender from others: texts, bytes and integers by equality, everything else by identity."""
    if sender is None:
        return _ANYONE
    kind = cast("type[Any]", type(sender))
    if kind is str or kind is bytes:
        return sender
    if kind is int:
        return (sender,)
    return id(sender)


def _key(receiver: Receiver, dispatch_uid: Hashable) -> Hashable:
    if dispatch_uid is not None:
        return None, dispatch_uid
    if type(receiver) is FunctionType:
        return id(receiver)
    if isinstance(receiver, MethodType):
        return id(receiver.__self__), id(receiver.__func__)
    if _of_builtin(receiver):
        return id(receiver.__self__), receiver.__name__
    return id(receiver)


def _of_builtin(receiver: object) -> TypeGuard[BuiltinMethodType]:
    """Whether it is a method of a builtin's instance: made anew at each access, as others are, but of no function."""
    return isinstance(receiver, BuiltinMethodType) and not isinstance(receiver.__self__, ModuleType)


class Seats:
    """The connections of one signal.

    Args:
        careful: every sending needs care, so that no lineup is offered as plain.

    Attributes:
        ready: by the id of a sender that has a seat, its lineup if that is plain and fresh, else None; and the lineup
            of every other sender, likewise.
        gone: references of receivers and senders that have died and are not swept away yet.
    """

    __slots__ = ("_bury", "_careful", "_lock", "_orders", "_seats", "_snapshots", "_version", "gone", "ready")

    def __init__(self, careful: bool = False) -> None:
        self.ready: tuple[dict[Any, Lineup | None], Lineup | None] = {}, None if careful else ()
        self.gone: deque[ref[Any]] = deque()
        self._bury = self.gone.append
        self._careful = int(careful)
        self._lock = RLock()
        self._orders = count()
        self._seats: dict[_SenderKey, Seat] = {}
        self._snapshots: dict[_SenderKey, tuple[Lineup, bool]] = {}
        self._version = 0

    def join(
        self, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Hashable, priority: float, terms: Terms
    ) -> Connection | None:
        """Connect a receiver; None if it is connected already."""
        if self.gone:
            self.sweep()
        # Whatever the collector may react to is made first: a finalizer that connects or disconnects in the middle of
        # the rest would confuse it.
        key, sender_key = _key(receiver, dispatch_uid), key_of(sender)
        connection = self._connection(receiver, weak)
        connection.key = key
        connection.alive = True
        connection.priority = priority
        connection.terms = terms
        seat = self._seats.get(sender_key) or Seat(sender_key, sender, self.gone)
        with self._lock:
            seat = self._seats.setdefault(sender_key, seat)
            if key in seat.members:
                return None
            connection.seat = seat
            connection.order = next(self._orders)
            seat.members[key] = connection
            self._changed(sender_key)
        return connection

    def leave(self, receiver: Receiver | None, sender: Any, dispatch_uid: Hashable) -> Connection | None:
        """Disconnect and give back the connection; None if there is none."""
        if self.gone:
            self.sweep()
        if receiver is None and dispatch_uid is None:
            return None
        key, sender_key = _key(cast("Receiver", receiver), dispatch_uid), key_of(sender)
        with self._lock:
            seat = self._seats.get(sender_key)
            if seat is None or (connection := seat.members.pop(key, None)) is None:
                return None
            self._dropped(connection, seat)
            return connection

    def remove(self, connection: Connection) -> bool:
        """Disconnect this very connection; False if it has left before."""
        with self._lock:
            return self._drop(connection)

    def rejoin(self, connection: Connection) -> bool:
        """Connect again who has left, behind the others of its priority.

        Returns:
            False if it is connected, its place is taken, or its receiver or sender has died.
        """
        receiver, sender = connection(), connection.seat.sender
        if receiver is None or (sender is None and connection.seat.key != _ANYONE):
            return False
        with self._lock:
            seat = self._seats.setdefault(connection.seat.key, connection.seat)
            if connection.key in seat.members:
                return False
            connection.alive = True
            connection.seat = seat
            connection.order = next(self._orders)
            seat.members[connection.key] = connection
            self._changed(seat.key)
        return True

    def clear(self) -> None:
        """Disconnect everybody."""
        for connection in self.all():
            self.remove(connection)

    def take_care(self, more: int) -> None:
        """Count one more (1) or less (-1) who wants no lineup offered as plain."""
        with self._lock:
            self._careful += more
            self._changed(_ANYONE)

    def all(self) -> Lineup:
        """Everybody who is connected, in order."""
        if self.gone:
            self.sweep()
        with self._lock:
            return _in_order(*[seat.members for seat in (*self._seats.values(),)])

    def lineup(self, sender: Any) -> Lineup:
        """Who gets what this sender sends, in order; also who has died and is not swept away yet."""
        return self._snapshot(sender)[0]

    def plain(self, sender: Any) -> Lineup | None:
        """The same, if nothing but calling is to be done for anybody; else None."""
        lineup, plain = self._snapshot(sender)
        return lineup if plain else None

    def _snapshot(self, sender: Any) -> tuple[Lineup, bool]:
        """The lineup of a sender, and whether it is plain; made if it is stale."""
        if self.gone:
            self.sweep()
        key = key_of(sender)
        with self._lock:
            if key not in self._seats:
                key = _ANYONE
            snapshot = self._snapshots.get(key)
            while snapshot is None:
                # A finalizer may connect or disconnect in the middle of it, in this same thread.
                version = self._version
                made = _in_order(*[self._seats[k].members for k in {_ANYONE, key} if k in self._seats])
                plain = not self._careful and all(connection.terms.plain for connection in made)
                fresh = made, plain
                lineups, rest = self.ready
                if key == _ANYONE:
                    # A sender whose lineup is stale must not be taken for one without a seat. And a text may equal the
                    # one that was asked for, and be another object: only this method can tell.
                    lineups = {**dict.fromkeys(k for k in self._seats if k), **lineups}
                    rest = made if plain and all(type(k) is int for k in self._seats) else None
                if version == self._version:
                    snapshot = self._snapshots[key] = fresh
                    self.ready = lineups, rest
                    if plain and key != _ANYONE:
                        lineups[key] = made
        return snapshot

    def _changed(self, key: _SenderKey) -> None:
        self._version += 1
        lineups, rest = self.ready
        if key == _ANYONE:
            if rest is not None or self._snapshots or lineups:
                self._snapshots, self.ready = {}, ({}, None)
            return
        self._snapshots.pop(key, None)
        if key in self._seats:
            lineups[key] = None
        else:
            lineups.pop(key, None)
        if type(key) is not int and (rest is not None or key not in self._seats):
            self._snapshots.pop(_ANYONE, None)
            self.ready = lineups, None

    def _drop(self, connection: Connection) -> bool:
        seat = connection.seat
        if seat.members.get(connection.key) is not connection:
            return False
        del seat.members[connection.key]
        self._dropped(connection, seat)
        return True

    def _dropped(self, connection: Connection, seat: Seat) -> None:
        connection.alive = False
        if not seat.members and self._seats.get(seat.key) is seat:
            del self._seats[seat.key]
        self._changed(seat.key)

    def sweep(self) -> None:
        """Let go what has died."""
        # Freed when the lock is: what they keep may have a finalizer.
        swept: list[object] = []
        with self._lock:
            while self.gone:
                dead = self.gone[0]
                swept.append(dead)
                if isinstance(dead, Connection):
                    self._drop(dead)
                elif isinstance(dead, _SenderReference):
                    seat = self._seats.get(dead.key)
                    if seat is not None and seat.reference is dead:
                        for connection in (*seat.members.values(),):
                            swept.append(connection)
                            self._drop(connection)
                # A finalizer may have swept in the meantime.
                if self.gone and self.gone[0] is dead:
                    self.gone.popleft()

    def _connection(self, receiver: Receiver, weak: bool) -> Connection:
        connection: Connection
        if type(receiver) is FunctionType:
            connection = Connection(receiver, self._bury)
        elif _of_builtin(receiver):
            connection = _KeptConnection(type(receiver))
            weak = False
        else:
            try:
                if isinstance(receiver, MethodType):
                    connection = _MethodConnection(receiver.__self__, self._bury)
                    connection.function = receiver.__func__
                else:
                    connection = Connection(receiver, self._bury)
            except TypeError:  # it takes no weak reference
                connection = _KeptConnection(type(receiver))
                weak = False
        connection.kept = None if weak else receiver
        return connection

    def renew_lock(self) -> None:
        """Replace the lock; for a child process, where a thread that held it is gone."""
        self._lock = RLock()


def checked_priority(priority: float) -> float:
    """The priority itself.

    Raises:
        TypeError: if it is no number that can be compared.
    """
    if not isinstance(priority, (int, float)) or priority != priority:
        raise TypeError(f"A priority is a number, lower first, but {priority!r} was given.")
    return priority


def _in_order(*seats: Mapping[Hashable, Connection]) -> Lineup:
    lineup = [connection for members in seats for connection in (*members.values(),)]
    lineup.sort(key=_place)
    return (*lineup,)


_place = attrgetter("priority", "order")
