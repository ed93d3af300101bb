"""The connections of one signal, in order, found by sender.

There is a *slot* for each sender that a receiver was connected for, and one, `ANYONE`, for receivers of every sender.
The *call order* of a sender is a tuple of the connections in its slot and in `ANYONE`'s, by priority, then by age. It
is *plain* if each connection is merely called. It is made when the signal is sent after a change, without the lock,
from copies, and stored if the version has not changed: an allocation under the lock could trigger a finalizer that
waits for another lock.

References to what has died are in `dead` (see `connection`), and are purged by the next call. One leaves `dead` only
after its slot was emptied, so a new object with the id of a dead sender never finds that slot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from operator import attrgetter
from types import FunctionType
from typing import Any, TypeAlias, TypeVar, cast
from weakref import ref

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.concurrency.ordered_calls import Call, OrderedCalls
from rxhub.concurrency.weakrefs import collector, ensure_callback
from rxhub.rx.scope import current_scope
from rxhub.signals.connection import (
    ANYONE,
    Connection,
    OnDeath,
    SenderKey,
    SenderReference,
    SenderSlot,
    checked_priority,
    connection_to,
    key_of,
    receiver_key,
)
from rxhub.signals.receiver import Receiver, ReceiverSpec

__all__ = ["CallOrder", "Connections"]

CallOrder: TypeAlias = tuple[Connection, ...]

_V = TypeVar("_V")


class Connections:
    """The connections of one signal.

    Args:
        always_slow: no call order is plain.

    Attributes:
        slots: by the key of a sender.
        call_orders: by the id of a sender that has a slot, the call order, if it is plain and fresh.
        rest: the call order for all other senders, if it is plain and fresh. `Signal.send` reads both, and an attribute
            is read faster than an item.
        dead: references to receivers and senders that have died and are not purged yet.
        died: the number of receivers that have died while they were connected, and were purged.
        lock: held while a receiver is connected or disconnected.
        muted: how many `with` blocks mute the signal.
        notifications: the calls that `watch` asked for, in order; None before it was called.
    """

    def __init__(self, always_slow: bool = False) -> None:
        self.slots: dict[SenderKey, SenderSlot] = {}
        self.call_orders: dict[SenderKey, CallOrder] = {}
        self.rest: CallOrder | None = None
        self.dead: deque[ref[Any]] = deque()
        self.died = 0
        self.muted = 0
        self.notifications: OrderedCalls[Connection] | None = None
        # Replaced by `watch`.
        self._joined: Callable[[Connection], object] = id
        self._left: Callable[[Connection], object] = id
        self._on_death: OnDeath = self.dead.append
        self.lock = ForkSafeLock()
        self._slow = int(always_slow)
        self._order = 0
        self._snapshots: dict[SenderKey, tuple[CallOrder, bool]] = {}
        # How many slots are of senders that are compared by equality, not by id.
        self._values = 0
        self._version = 0

    def connect(
        self, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Hashable, priority: float, spec: ReceiverSpec
    ) -> Connection | None:
        """Connect a receiver in the current scope, if there is one, then notify; None if it is connected already."""
        priority, scope = checked_priority(priority), current_scope()
        if scope is None:
            connection = self.join(receiver, sender, weak, dispatch_uid, priority, spec)
        else:

            def leave() -> None:
                if connection is not None:
                    self.remove(connection)

            # A scope holds its receivers strongly.
            spec = replace(spec, owner=scope, leave=leave)
            connection = self.join(receiver, sender, False, dispatch_uid, priority, spec)
            if connection is not None:
                scope.add(leave)
                if not connection.alive:  # another thread disconnected it before the scope knew it
                    scope.discard(leave)
        if self.notifications is not None:
            self.notifications.run()
        return connection

    def join(
        self, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Hashable, priority: float, spec: ReceiverSpec
    ) -> Connection | None:
        """Connect a receiver, and nothing else; None if it is connected already."""
        if self.dead:
            self.purge_dead()
        if type(receiver) is FunctionType and dispatch_uid is None:  # as nearly every one is
            key: Hashable = id(receiver)
            connection = Connection(receiver, self._on_death)
            connection.kept = None if weak else receiver
        else:
            key = receiver_key(receiver, dispatch_uid)
            connection = connection_to(receiver, weak, self._on_death)
        if collector.running:
            ensure_callback(connection, self._on_death)
        connection.key = key
        connection.alive = True
        connection.priority = priority
        connection.spec = spec
        call = None if self.notifications is None else (self._joined, connection)
        key = ANYONE if sender is None else key_of(sender)
        return connection if self._enter(connection, key, sender, call) else None

    def reconnect(self, connection: Connection) -> bool:
        """Connect again, as the latest; False if it or its key is connected, or its receiver or sender has died."""
        slot, sender = connection.slot, connection.slot.sender  # held, so that it lives on after the check
        if connection.alive or connection() is None or slot.is_orphaned:
            return False
        return self._enter(connection, slot.key, sender)

    def _enter(self, connection: Connection, key: SenderKey, sender: Any, call: Call[Connection] | None = None) -> bool:
        while True:
            slot = connection.slot = self.slots.get(key) or SenderSlot(key, sender, self._on_death)
            members = slot.members
            try:
                with self.lock:
                    if self.slots.get(key, slot) is not slot:
                        continue  # another thread has just made it
                    if not members:
                        self.slots[key] = slot
                        self._values += type(key) is not int
                    # Complete before it is entered: call orders are made without the lock.
                    connection.order = self._order = self._order + 1
                    connection.alive = members.get(connection.key, connection) is connection
                    if not connection.alive:
                        return False
                    members[connection.key] = connection
                    self._version += 1
                    if call is not None and self.notifications is not None:
                        self.notifications.add(call)
                    return True
            finally:
                if self.rest is not None or self.call_orders or self._snapshots:
                    self._delete_stale(key)

    def disconnect(self, receiver: Receiver | None, sender: Any, dispatch_uid: Hashable) -> bool:
        """Disconnect a receiver; whether it was connected."""
        if self.dead:
            self.purge_dead()
        slot = self.slots.get(ANYONE if sender is None else key_of(sender))
        if slot is None or (receiver is None and dispatch_uid is None):
            return False
        if type(receiver) is FunctionType and dispatch_uid is None:
            connection = slot.members.get(id(receiver))
        else:
            connection = slot.members.get(receiver_key(cast("Receiver", receiver), dispatch_uid))
        return connection is not None and self.remove(connection)

    def remove(self, connection: Connection, silently: bool = False) -> bool:
        """Disconnect this connection, and notify unless `silently`; False if it is not connected."""
        slot, members = connection.slot, connection.slot.members
        call = None if silently or self.notifications is None else (self._left, connection)
        try:
            with self.lock:
                if not connection.alive:
                    return False
                connection.alive = False
                del members[connection.key]
                if not members:
                    del self.slots[slot.key]
                    self._values -= type(slot.key) is not int
                self._version += 1
                if call is not None and self.notifications is not None:
                    self.notifications.add(call)
        finally:
            if self.rest is not None or self.call_orders or self._snapshots:
                self._delete_stale(slot.key)
        if not silently:
            if connection.spec.owner is not None:
                _leave_scope(connection)
            if self.notifications is not None:
                self.notifications.run()
        return True

    def purge_dead(self) -> None:
        """Remove the connections of receivers and senders that have died."""
        while self.dead:
            try:
                dead = self.dead[0]
            except IndexError:  # another thread has purged it
                return
            if isinstance(dead, Connection):
                self._purge(dead)
            elif isinstance(dead, SenderReference):
                slot = self.slots.get(dead.key)
                if slot is not None and slot.reference is dead:
                    self._purge(*_copy(slot.members))
            with self.lock:
                # Another thread, or a finalizer in this one, may have purged it already.
                if self.dead and self.dead[0] is dead:
                    self.dead.popleft()

    def _purge(self, *connections: Connection) -> None:
        for connection in connections:
            if self.remove(connection, silently=True):
                self.died += connection() is None
                _leave_scope(connection)

    def watch(self, joined: Callable[[Connection], object], left: Callable[[Connection], object]) -> None:
        """Call `joined` with each new connection, and `left` with each one that was removed, unless it has died."""
        with self.lock:
            if self.notifications is None:
                self._joined, self._left, self.notifications = joined, left, OrderedCalls()

    def mute(self, change: int) -> None:
        """Count one more (1) or less (-1) `with` block that mutes the signal."""
        with self.lock:
            self.muted += change
        self.require_slow_path(change)

    def require_slow_path(self, change: int) -> None:
        """Count one more (1) or less (-1) reason why no call order is plain."""
        with self.lock:
            self._slow += change
            self._version += 1
        self._delete_stale(ANYONE)

    def all(self) -> CallOrder:
        """All connections in order."""
        if self.dead:
            self.purge_dead()
        return _in_order(*[slot.members for slot in _copy(self.slots)])

    def call_order(self, sender: Any) -> CallOrder:
        """The connections that receive what this sender sends, in order. Dead ones may be among them."""
        return self._snapshot(sender)[0]

    def plain(self, sender: Any) -> CallOrder | None:
        """The same if each connection is merely called; else None."""
        call_order, plain = self._snapshot(sender)
        return call_order if plain else None

    def _snapshot(self, sender: Any) -> tuple[CallOrder, bool]:
        """The call order of a sender, and whether it is plain; made if it is stale."""
        if self.dead:
            self.purge_dead()
        version, key = self._version, key_of(sender)
        if key not in self.slots:
            key = ANYONE
        snapshot = self._snapshots.get(key)
        if snapshot is None:
            slots = [self.slots.get(ANYONE), None if key == ANYONE else self.slots.get(key)]
            call_order = _in_order(*[slot.members for slot in slots if slot is not None])
            plain = not self._slow and all(connection.spec.plain for connection in call_order)
            snapshot = call_order, plain
            with self.lock:
                # A thread that changed something has deleted what is stale; storing this must not follow it.
                if version == self._version:
                    self._snapshots[key] = snapshot
                    if plain and key != ANYONE:
                        self.call_orders[key] = call_order
                    elif plain and not self._values:
                        # A string may equal the sender of a slot and be another object: its id says nothing.
                        self.rest = call_order
        return snapshot

    def _delete_stale(self, key: SenderKey) -> None:
        """Delete the call orders that contain connections of this slot; not needed if there are none."""
        if type(key) is not int or key == ANYONE:
            self.rest = None
        if key == ANYONE:
            self.call_orders.clear()
            self._snapshots.clear()
            return
        for stale in (key,) if type(key) is int else (key, ANYONE):
            self.call_orders.pop(stale, None)
            self._snapshots.pop(stale, None)


def _leave_scope(connection: Connection) -> None:
    spec = connection.spec
    if spec.owner is not None and spec.leave is not None:
        spec.owner.discard(spec.leave)


def _copy(table: Mapping[Any, _V]) -> tuple[_V, ...]:
    """The values of a dictionary that others change; without a lock, since making a tuple may run finalizers."""
    while True:
        try:
            return (*table.values(),)
        except RuntimeError:  # its size has changed
            continue


def _in_order(*slots: Mapping[Hashable, Connection]) -> CallOrder:
    call_order = [connection for members in slots for connection in _copy(members)]
    call_order.sort(key=attrgetter("priority", "order"))
    return (*call_order,)
