"""Who is connected to a signal, and in which order, found by sender.

Theory of operation. There is a *seat* for each sender that somebody asked for, and one, `ANYONE`, for those who want
every sender. A seat holds its connections in a dict, in the order of connecting, so that joining and leaving take the
same time among ten as among a hundred thousand. The *lineup* of a sender is a tuple of the connections of its seat
and of `ANYONE`'s, by priority, then by order. It is made when somebody sends after a change, and never changes.

`Signal.send` asks no method. A sender that has a seat, by its id, finds its lineup in `lineups`; every other one gets
`rest`. What is there is fresh and *plain*: nothing but calling is to be done for anybody. What is missing, or None,
must be asked for: it is stale or needs care.

A change is made under the lock, with one step of the version; after it, what has become stale is taken away. A lineup
is made without the lock, from copies, and kept if the version is still the one at its beginning. So under the lock
nothing is made or freed that the collector could react to: a finalizer that runs there and waits for another lock
would be half of a deadlock.

A connection *is* the weak reference to its receiver. When that dies, or a sender does, the interpreter appends the
reference to `gone`; no lock is taken and no Python runs there, since the collector may strike anywhere. (References
that finalizers make may die without this; `ensure_callback` makes up for it.) Whoever comes next finds `gone` filled
and sweeps. A dead sender's id is used again only after it was appended, and an entry leaves `gone` only after its seat
is vacated, so a new object with an old id never finds the seat of the dead.
"""

from __future__ import annotations

from _thread import RLock
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from operator import attrgetter
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias, TypeGuard, TypeVar, cast
from weakref import ref

from rxhub.concurrency.ordered_calls import Call, OrderedCalls
from rxhub.concurrency.weakrefs import collector, ensure_callback
from rxhub.rx.scope import Owner
from rxhub.signals.receiver import Receiver, Terms

__all__ = ["Connection", "Lineup", "Seat", "Seats", "checked_priority", "key_of"]

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

    # Two connections of one receiver are two, and a receiver need not be hashable.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

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
_V = TypeVar("_V")


class _SenderReference(ref[Any]):
    __slots__ = ("key",)

    key: _SenderKey


class Seat:
    """The connections for one sender, which is held weakly.

    Args:
        key: what tells the sender from others.
        sender: the sender.
        bury: gets the reference to the sender when that has died.
    """

    __slots__ = ("key", "members", "reference")

    def __init__(self, key: _SenderKey, sender: Any, bury: Callable[[ref[Any]], object] | None = None) -> None:
        self.key = key
        self.members: dict[Hashable, Connection] = {}
        self.reference: _SenderReference | tuple[Any] = (sender,)
        if type(key) is int and sender is not None:
            try:
                self.reference = _SenderReference(sender, bury)
            except TypeError:
                pass  # it takes no weak reference, so it is kept, and its id with it
            else:
                self.reference.key = key
                if collector.running and bury is not None:
                    ensure_callback(self.reference, bury)

    @property
    def sender(self) -> Any:
        return self.reference[0] if isinstance(self.reference, tuple) else self.reference()

    @property
    def is_orphaned(self) -> bool:
        """Whether the sender has died."""
        return not isinstance(self.reference, tuple) and self.reference() is None


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
    if _is_method(receiver):
        return id(receiver.__self__), id(receiver.__func__)
    if _of_builtin(receiver):
        return id(receiver.__self__), receiver.__name__
    return id(receiver)


def _is_method(receiver: object) -> TypeGuard[MethodType]:
    # Not isinstance, to which a mock of a method claims to be one.
    return type(receiver) is MethodType


def _of_builtin(receiver: object) -> TypeGuard[BuiltinMethodType]:
    """Whether it is a method of a builtin's instance: made anew at each access, as others are, but of no function."""
    return type(receiver) is BuiltinMethodType and not isinstance(receiver.__self__, ModuleType)


class Seats:
    """The connections of one signal.

    Args:
        careful: every sending needs care, so that no lineup is plain.

    Attributes:
        seats: by what tells a sender from others.
        lineups: by the id of a sender that has a seat, its lineup if that is plain and fresh.
        rest: the lineup of every other sender, likewise; None if it is not.
        gone: references of receivers and senders that have died and are not swept away yet.
        died: how many receivers have died while they were connected, as far as they were swept away.
        told: the calls that `watch` has asked for, in order; None if it was not called.
    """

    __slots__ = (
        "_bury",
        "_careful",
        "_joined",
        "_left",
        "_lock",
        "_order",
        "_snapshots",
        "_values",
        "_version",
        "died",
        "gone",
        "lineups",
        "rest",
        "seats",
        "told",
    )

    def __init__(self, careful: bool = False) -> None:
        self.seats: dict[_SenderKey, Seat] = {}
        self.lineups: dict[_SenderKey, Lineup] = {}
        self.rest: Lineup | None = None
        self.gone: deque[ref[Any]] = deque()
        self.died = 0
        self.told: OrderedCalls[Connection] | None = None
        self._joined: Callable[[Connection], object] = _ignore
        self._left: Callable[[Connection], object] = _ignore
        self._bury: Callable[[ref[Any]], None] = self.gone.append
        self._lock = RLock()
        self._careful = int(careful)
        self._order = 0
        self._snapshots: dict[_SenderKey, tuple[Lineup, bool]] = {}
        # How many seats are of senders that are told apart by equality, not by their id.
        self._values = 0
        self._version = 0

    def join(
        self, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Hashable, priority: float, terms: Terms
    ) -> Connection | None:
        """Connect a receiver; None if it is connected already."""
        if self.gone:
            self.sweep()
        if type(receiver) is FunctionType and dispatch_uid is None:  # as nearly every one is
            key: Hashable = id(receiver)
            connection = Connection(receiver, self._bury)
            connection.kept = None if weak else receiver
        else:
            key = _key(receiver, dispatch_uid)
            hash(key)
            connection = self._connection(receiver, weak)
        if collector.running:
            ensure_callback(connection, self._bury)
        connection.key = key
        connection.alive = True
        connection.priority = priority
        connection.terms = terms
        call = None if self.told is None else (self._joined, connection)
        key = _ANYONE if sender is None else key_of(sender)
        return connection if self._seat(connection, key, sender, call) else None

    def rejoin(self, connection: Connection) -> bool:
        """Connect again who has left, behind the others of its priority.

        Returns:
            False if it is connected, its place is taken, or its receiver or sender has died.
        """
        key, sender = connection.seat.key, connection.seat.sender
        if connection.alive or connection() is None or connection.seat.is_orphaned:
            return False
        connection.alive = True
        if self._seat(connection, key, sender):
            return True
        connection.alive = False
        return False

    def _seat(self, connection: Connection, key: _SenderKey, sender: Any, call: Call[Connection] | None = None) -> bool:
        while True:
            seat = connection.seat = self.seats.get(key) or Seat(key, sender, self._bury)
            members = seat.members
            try:
                with self._lock:
                    if self.seats.get(key, seat) is not seat:
                        continue  # another thread has just made it
                    if not members:
                        self.seats[key] = seat
                        self._values += type(key) is not int
                    # Whole before it is put in: lineups are made without the lock.
                    connection.order = self._order = self._order + 1
                    if members.setdefault(connection.key, connection) is not connection:
                        return False
                    self._version += 1
                    if call is not None and self.told is not None:
                        self.told.add(call)
                    return True
            finally:
                if self.rest is not None or self.lineups or self._snapshots:
                    self._stale(key)

    def leave(self, receiver: Receiver | None, sender: Any, dispatch_uid: Hashable) -> Connection | None:
        """Disconnect and give back the connection; None if there is none."""
        if self.gone:
            self.sweep()
        if receiver is None and dispatch_uid is None:
            return None
        seat = self.seats.get(_ANYONE if sender is None else key_of(sender))
        if seat is None:
            return None
        if type(receiver) is FunctionType and dispatch_uid is None:
            connection = seat.members.get(id(receiver))
        else:
            connection = seat.members.get(_key(cast("Receiver", receiver), dispatch_uid))
        if connection is None or not self.remove(connection):
            return None
        return connection

    def remove(self, connection: Connection, silently: bool = False) -> bool:
        """Disconnect this very connection, and tell it unless `silently`; False if it has left before."""
        seat = connection.seat
        members = seat.members
        call = None if silently or self.told is None else (self._left, connection)
        try:
            with self._lock:
                if not connection.alive:
                    return False
                connection.alive = False
                del members[connection.key]
                if not members:
                    del self.seats[seat.key]
                    self._values -= type(seat.key) is not int
                self._version += 1
                if call is not None and self.told is not None:
                    self.told.add(call)
                return True
        finally:
            if self.rest is not None or self.lineups or self._snapshots:
                self._stale(seat.key)

    def watch(self, joined: Callable[[Connection], object], left: Callable[[Connection], object]) -> None:
        """From now on, queue calls with each connection in `told`; nothing happens the second time.

        Args:
            joined: called with each connection that was made.
            left: called with each that was undone, unless its receiver or sender has died.
        """
        told: OrderedCalls[Connection] = OrderedCalls()
        with self._lock:
            if self.told is None:
                self._joined, self._left = joined, left
                self.told = told

    def take_care(self, more: int) -> None:
        """Count one more (1) or less (-1) who wants no lineup taken for plain."""
        with self._lock:
            self._careful += more
            self._version += 1
        self._stale(_ANYONE)

    def all(self) -> Lineup:
        """Everybody who is connected, in order."""
        if self.gone:
            self.sweep()
        return _in_order(*[seat.members for seat in _copy(self.seats)])

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
        version = self._version
        key = key_of(sender)
        if key not in self.seats:
            key = _ANYONE
        snapshot = self._snapshots.get(key)
        if snapshot is None:
            seats = [self.seats.get(_ANYONE), None if key == _ANYONE else self.seats.get(key)]
            lineup = _in_order(*[seat.members for seat in seats if seat is not None])
            plain = not self._careful and all(connection.terms.plain for connection in lineup)
            snapshot = lineup, plain
            with self._lock:
                # Whoever has changed something meanwhile will take away what is stale; this is not to come after it.
                if version == self._version:
                    self._snapshots[key] = snapshot
                    if plain and key != _ANYONE:
                        self.lineups[key] = lineup
                    elif plain and not self._values:
                        # A text may equal the one that was asked for, and be another object: its id says nothing.
                        self.rest = lineup
        return snapshot

    def _stale(self, key: _SenderKey) -> None:
        """Take away the lineups in which this seat has a part; needless if there are none."""
        if key == _ANYONE:
            self.rest = None
            self.lineups.clear()
            self._snapshots.clear()
            return
        self.lineups.pop(key, None)
        self._snapshots.pop(key, None)
        if type(key) is not int:
            self.rest = None
            self._snapshots.pop(_ANYONE, None)

    def sweep(self) -> None:
        """Let go what has died."""
        while self.gone:
            try:
                dead = self.gone[0]
            except IndexError:  # another thread has swept it
                return
            if isinstance(dead, Connection):
                self._bury_connections(dead)
            elif isinstance(dead, _SenderReference):
                seat = self.seats.get(dead.key)
                if seat is not None and seat.reference is dead:
                    self._bury_connections(*_copy(seat.members))
            with self._lock:
                # Another thread, or a finalizer in this one, may have swept it in the meantime.
                if self.gone and self.gone[0] is dead:
                    self.gone.popleft()

    def _bury_connections(self, *connections: Connection) -> None:
        for connection in connections:
            terms = connection.terms
            if self.remove(connection, silently=True):
                self.died += connection() is None
                if terms.owner is not None and terms.leave is not None:
                    terms.owner.forget(terms.leave)

    def _connection(self, receiver: Receiver, weak: bool) -> Connection:
        connection: Connection
        if _of_builtin(receiver):
            connection = _KeptConnection(type(receiver))
            weak = False
        else:
            try:
                if _is_method(receiver):
                    connection = _MethodConnection(receiver.__self__, self._bury)
                    connection.function = receiver.__func__
                else:
                    connection = Connection(receiver, self._bury)
            except TypeError:  # it takes no weak reference
                connection = _KeptConnection(type(receiver))
                weak = False
        connection.kept = None if weak else receiver
        return connection

    @property
    def lock(self) -> RLock:
        """Held while somebody connects or disconnects; who holds it keeps others from doing so."""
        return self._lock

    def renew_lock(self) -> None:
        """Replace the lock; for a child process, where a thread that held it is gone."""
        self._lock = RLock()
        if self.told is not None:
            self.told.forked()


def _ignore(connection: Connection) -> None:
    """Nobody wants to know."""


def checked_priority(priority: float) -> float:
    """The priority itself.

    Raises:
        TypeError: if it is no number that can be compared.
    """
    if not isinstance(priority, (int, float)) or priority != priority:
        raise TypeError(f"A priority is a number, lower first, but {priority!r} was given.")
    return priority


def _copy(table: Mapping[Any, _V]) -> tuple[_V, ...]:
    """The values of a dict that others change; without a lock, since making a tuple may run finalizers."""
    while True:
        try:
            return (*table.values(),)
        except RuntimeError:  # it has changed its size
            continue


def _in_order(*seats: Mapping[Hashable, Connection]) -> Lineup:
    lineup = [connection for members in seats for connection in _copy(members)]
    lineup.sort(key=_place)
    return (*lineup,)


_place = attrgetter("priority", "order")
