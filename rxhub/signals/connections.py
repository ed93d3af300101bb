"""Who is connected to a signal, and in which order, found by sender.

Theory of operation. There is a *slot* for each sender that somebody asked for, and one, `ANYONE`, for those who want
every sender. A slot holds its connections in a dict, in the order of connecting, so that joining and leaving take the
same time among ten as among a hundred thousand. The *call_order* of a sender is a tuple of the connections of its slot
and of `ANYONE`'s, by priority, then by order. It is made when somebody sends after a change, and never changes.

`Signal.send` asks no method. A sender that has a slot, by its id, finds its call_order in `call_orders`; every other
one gets `rest`. What is there is fresh and *plain*: nothing but calling is to be done for anybody. What is missing, or
None, must be asked for: it is stale or needs care.

A change is made under the lock, with one step of the version; after it, what has become stale is taken away. A
call_order is made without the lock, from copies, and kept if the version is still the one at its beginning. So under
the lock nothing is made or freed that the collector could react to: a finalizer that runs there and waits for another
lock would be half of a deadlock.

A connection *is* the weak reference to its receiver. When that dies, or a sender does, the interpreter appends the
reference to `dead`; no lock is taken and no Python runs there, since the collector may strike anywhere. (References
that finalizers make may die without this; `ensure_callback` makes up for it.) Whoever comes next finds `dead` filled
and sweeps. A dead sender's id is used again only after it was appended, and an entry leaves `dead` only after its slot
is vacated, so a new object with an old id never finds the slot of the dead.
"""

from __future__ import annotations

from _thread import RLock
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from operator import attrgetter
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias, TypeGuard, TypeVar, cast
from weakref import ref

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.concurrency.ordered_calls import Call, OrderedCalls
from rxhub.concurrency.weakrefs import collector, ensure_callback
from rxhub.rx.scope import Scope
from rxhub.signals.receiver import Receiver, ReceiverSpec

__all__ = ["CallOrder", "Connection", "Connections", "SenderSlot", "checked_priority", "key_of"]

_SenderKey: TypeAlias = Hashable

_ANYONE = 0  # no object has this id


class Connection(ref[Any]):
    """One receiver's connection to a signal; calling it gives the receiver, or None once that has died.

    Attributes:
        alive: False once it is disconnected; asked before every call.
        priority: lower comes first.
        order: how many connected to the signal before.
        key: what tells it from the others of its sender.
        spec: what it asks for beyond being called.
        slot: its place among those of its sender.
        kept: the receiver itself, if it must not die while it is connected.
    """

    # Two connections of one receiver are two, and a receiver need not be hashable.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    __slots__ = ("alive", "kept", "key", "order", "priority", "slot", "spec")

    alive: bool
    priority: float
    order: int
    key: Hashable
    spec: ReceiverSpec
    kept: Receiver | None
    slot: SenderSlot

    @property
    def receiver(self) -> Receiver | None:
        """Who is called; None once it has died."""
        return self()

    @property
    def sender(self) -> Any:
        """Whose emissions it gets; None for everybody's, or once the sender has died."""
        return self.slot.sender

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
        return self.spec.where

    @property
    def owner(self) -> Scope | None:
        """The plugin that connected it, or None."""
        return self.spec.owner

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


CallOrder: TypeAlias = tuple[Connection, ...]
_V = TypeVar("_V")


class _SenderReference(ref[Any]):
    __slots__ = ("key",)

    key: _SenderKey


class SenderSlot:
    """The connections for one sender, which is held weakly.

    Args:
        key: what tells the sender from others.
        sender: the sender.
        on_death: gets the reference to the sender when that has died.
    """

    __slots__ = ("key", "members", "reference")

    def __init__(self, key: _SenderKey, sender: Any, on_death: Callable[[ref[Any]], object] | None = None) -> None:
        self.key = key
        self.members: dict[Hashable, Connection] = {}
        self.reference: _SenderReference | tuple[Any] = (sender,)
        if type(key) is int and sender is not None:
            try:
                self.reference = _SenderReference(sender, on_death)
            except TypeError:
                pass  # it takes no weak reference, so it is kept, and its id with it
            else:
                self.reference.key = key
                if collector.running and on_death is not None:
                    ensure_callback(self.reference, on_death)

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


class Connections:
    """The connections of one signal.

    Args:
        careful: every sending needs care, so that no call_order is plain.

    Attributes:
        slots: by what tells a sender from others.
        call_orders: by the id of a sender that has a slot, its call_order if that is plain and fresh.
        rest: the call_order of every other sender, likewise; None if it is not.
        gone: references of receivers and senders that have died and are not swept away yet.
        died: how many receivers have died while they were connected, as far as they were swept away.
        told: the calls that `watch` has asked for, in order; None if it was not called.
    """

    __slots__ = (
        "_careful",
        "_joined",
        "_left",
        "_lock",
        "_on_death",
        "_order",
        "_snapshots",
        "_values",
        "_version",
        "call_orders",
        "dead",
        "died",
        "rest",
        "slots",
        "told",
    )

    def __init__(self, careful: bool = False) -> None:
        self.slots: dict[_SenderKey, SenderSlot] = {}
        self.call_orders: dict[_SenderKey, CallOrder] = {}
        self.rest: CallOrder | None = None
        self.dead: deque[ref[Any]] = deque()
        self.died = 0
        self.told: OrderedCalls[Connection] | None = None
        self._joined: Callable[[Connection], object] = _ignore
        self._left: Callable[[Connection], object] = _ignore
        self._on_death: Callable[[ref[Any]], None] = self.dead.append
        self._lock = ForkSafeLock()
        self._careful = int(careful)
        self._order = 0
        self._snapshots: dict[_SenderKey, tuple[CallOrder, bool]] = {}
        # How many slots are of senders that are told apart by equality, not by their id.
        self._values = 0
        self._version = 0

    def join(
        self, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Hashable, priority: float, spec: ReceiverSpec
    ) -> Connection | None:
        """Connect a receiver; None if it is connected already."""
        if self.dead:
            self.purge_dead()
        if type(receiver) is FunctionType and dispatch_uid is None:  # as nearly every one is
            key: Hashable = id(receiver)
            connection = Connection(receiver, self._on_death)
            connection.kept = None if weak else receiver
        else:
            key = _key(receiver, dispatch_uid)
            hash(key)
            connection = self._connection(receiver, weak)
        if collector.running:
            ensure_callback(connection, self._on_death)
        connection.key = key
        connection.alive = True
        connection.priority = priority
        connection.spec = spec
        call = None if self.told is None else (self._joined, connection)
        key = _ANYONE if sender is None else key_of(sender)
        return connection if self._slot(connection, key, sender, call) else None

    def reconnect(self, connection: Connection) -> bool:
        """Connect again who has left, behind the others of its priority.

        Returns:
            False if it is connected, its place is taken, or its receiver or sender has died.
        """
        key, sender = connection.slot.key, connection.slot.sender
        if connection.alive or connection() is None or connection.slot.is_orphaned:
            return False
        connection.alive = True
        if self._slot(connection, key, sender):
            return True
        connection.alive = False
        return False

    def _slot(self, connection: Connection, key: _SenderKey, sender: Any, call: Call[Connection] | None = None) -> bool:
        while True:
            slot = connection.slot = self.slots.get(key) or SenderSlot(key, sender, self._on_death)
            members = slot.members
            try:
                with self._lock:
                    if self.slots.get(key, slot) is not slot:
                        continue  # another thread has just made it
                    if not members:
                        self.slots[key] = slot
                        self._values += type(key) is not int
                    # Whole before it is put in: call_orders are made without the lock.
                    connection.order = self._order = self._order + 1
                    if members.setdefault(connection.key, connection) is not connection:
                        return False
                    self._version += 1
                    if call is not None and self.told is not None:
                        self.told.add(call)
                    return True
            finally:
                if self.rest is not None or self.call_orders or self._snapshots:
                    self._stale(key)

    def leave(self, receiver: Receiver | None, sender: Any, dispatch_uid: Hashable) -> Connection | None:
        """Disconnect and give back the connection; None if there is none."""
        if self.dead:
            self.purge_dead()
        if receiver is None and dispatch_uid is None:
            return None
        slot = self.slots.get(_ANYONE if sender is None else key_of(sender))
        if slot is None:
            return None
        if type(receiver) is FunctionType and dispatch_uid is None:
            connection = slot.members.get(id(receiver))
        else:
            connection = slot.members.get(_key(cast("Receiver", receiver), dispatch_uid))
        if connection is None or not self.remove(connection):
            return None
        return connection

    def remove(self, connection: Connection, silently: bool = False) -> bool:
        """Disconnect this very connection, and tell it unless `silently`; False if it has left before."""
        slot = connection.slot
        members = slot.members
        call = None if silently or self.told is None else (self._left, connection)
        try:
            with self._lock:
                if not connection.alive:
                    return False
                connection.alive = False
                del members[connection.key]
                if not members:
                    del self.slots[slot.key]
                    self._values -= type(slot.key) is not int
                self._version += 1
                if call is not None and self.told is not None:
                    self.told.add(call)
                return True
        finally:
            if self.rest is not None or self.call_orders or self._snapshots:
                self._stale(slot.key)

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

    def require_slow_path(self, more: int) -> None:
        """Count one more (1) or less (-1) who wants no call_order taken for plain."""
        with self._lock:
            self._careful += more
            self._version += 1
        self._stale(_ANYONE)

    def all(self) -> CallOrder:
        """Everybody who is connected, in order."""
        if self.dead:
            self.purge_dead()
        return _in_order(*[slot.members for slot in _copy(self.slots)])

    def call_order(self, sender: Any) -> CallOrder:
        """Who gets what this sender sends, in order; also who has died and is not swept away yet."""
        return self._snapshot(sender)[0]

    def plain(self, sender: Any) -> CallOrder | None:
        """The same, if nothing but calling is to be done for anybody; else None."""
        call_order, plain = self._snapshot(sender)
        return call_order if plain else None

    def _snapshot(self, sender: Any) -> tuple[CallOrder, bool]:
        """The call_order of a sender, and whether it is plain; made if it is stale."""
        if self.dead:
            self.purge_dead()
        version = self._version
        key = key_of(sender)
        if key not in self.slots:
            key = _ANYONE
        snapshot = self._snapshots.get(key)
        if snapshot is None:
            slots = [self.slots.get(_ANYONE), None if key == _ANYONE else self.slots.get(key)]
            call_order = _in_order(*[slot.members for slot in slots if slot is not None])
            plain = not self._careful and all(connection.spec.plain for connection in call_order)
            snapshot = call_order, plain
            with self._lock:
                # Whoever has changed something meanwhile will take away what is stale; this is not to come after it.
                if version == self._version:
                    self._snapshots[key] = snapshot
                    if plain and key != _ANYONE:
                        self.call_orders[key] = call_order
                    elif plain and not self._values:
                        # A text may equal the one that was asked for, and be another object: its id says nothing.
                        self.rest = call_order
        return snapshot

    def _stale(self, key: _SenderKey) -> None:
        """Take away the call_orders in which this slot has a part; needless if there are none."""
        if key == _ANYONE:
            self.rest = None
            self.call_orders.clear()
            self._snapshots.clear()
            return
        self.call_orders.pop(key, None)
        self._snapshots.pop(key, None)
        if type(key) is not int:
            self.rest = None
            self._snapshots.pop(_ANYONE, None)

    def purge_dead(self) -> None:
        """Let go what has died."""
        while self.dead:
            try:
                dead = self.dead[0]
            except IndexError:  # another thread has swept it
                return
            if isinstance(dead, Connection):
                self._purge(dead)
            elif isinstance(dead, _SenderReference):
                slot = self.slots.get(dead.key)
                if slot is not None and slot.reference is dead:
                    self._purge(*_copy(slot.members))
            with self._lock:
                # Another thread, or a finalizer in this one, may have swept it in the meantime.
                if self.dead and self.dead[0] is dead:
                    self.dead.popleft()

    def _purge(self, *connections: Connection) -> None:
        for connection in connections:
            spec = connection.spec
            if self.remove(connection, silently=True):
                self.died += connection() is None
                if spec.owner is not None and spec.leave is not None:
                    spec.owner.discard(spec.leave)

    def _connection(self, receiver: Receiver, weak: bool) -> Connection:
        connection: Connection
        if _of_builtin(receiver):
            connection = _KeptConnection(type(receiver))
            weak = False
        else:
            try:
                if _is_method(receiver):
                    connection = _MethodConnection(receiver.__self__, self._on_death)
                    connection.function = receiver.__func__
                else:
                    connection = Connection(receiver, self._on_death)
            except TypeError:  # it takes no weak reference
                connection = _KeptConnection(type(receiver))
                weak = False
        connection.kept = None if weak else receiver
        return connection

    @property
    def lock(self) -> RLock:
        """Held while somebody connects or disconnects; who holds it keeps others from doing so."""
        return self._lock


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


def _in_order(*slots: Mapping[Hashable, Connection]) -> CallOrder:
    call_order = [connection for members in slots for connection in _copy(members)]
    call_order.sort(key=_place)
    return (*call_order,)


_place = attrgetter("priority", "order")
