"""All connections, by sender and signal key, in the shape of PyDispatcher's `connections`.

The signals refer to the connections weakly, so one that leaves the table is gone everywhere. A signal lives as long as
it has a connection, or forever once `signal_of` returned it.

References to dead receivers and senders are appended to a queue without a lock, since the garbage collector can run at
any time. The next operation purges them, and then removes them from the queue, so a new object with a reused id never
meets the connections of a dead one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from contextvars import Context
from functools import partial
from typing import Any, cast
from weakref import WeakValueDictionary, ref

from rxhub.compat.pydispatch.connection import ANONYMOUS, ANY, FIRST, KeyConnection, KeySignal
from rxhub.compat.pydispatch.errors import DispatcherKeyError, DispatcherTypeError
from rxhub.compat.pydispatch.saferef import safeRef
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.concurrency.weakrefs import collector, ensure_callback
from rxhub.rx.scope import current_scope
from rxhub.signals.connection import SenderReference, SenderSlot

__all__ = ["ConnectionTable", "table"]

_ANY_ID = id(ANY)


class ConnectionTable:
    """All connections and the signals that carry them."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._connections: dict[int, dict[Hashable, dict[Any, KeyConnection]]] = {}
        self._senders: dict[int, SenderReference] = {}
        # Weak connections, by the id of their reference.
        self._by_reference: dict[int, KeyConnection] = {}
        self._dead: deque[Any] = deque()
        self._signals: WeakValueDictionary[Hashable, KeySignal] = WeakValueDictionary()
        self._permanent: dict[Hashable, KeySignal] = {}

    def signal(self, key: Hashable) -> KeySignal:
        """The signal of a key, created if missing."""
        found = self._signals.get(key)
        if found is None:
            made = KeySignal(key)
            with self._lock:
                found = self._signals.setdefault(key, made)
                if found is made:
                    # In an empty context: the scope that first uses the key does not own these connections.
                    Context().run(self._connect_to_any, made)
        return found

    def permanent_signal(self, key: Hashable) -> KeySignal:
        """The signal of a key, kept alive from now on."""
        return self._permanent.setdefault(key, self.signal(key))

    def signal_with_receivers(self, key: Hashable) -> KeySignal | None:
        """The signal of a key, or None if it cannot have receivers."""
        if self._dead:
            self.purge_dead()
        found = self._signals.get(key)
        if found is None and self._signals.get(ANY) is not None:
            found = self.signal(key)
        return found

    def _connect_to_any(self, signal: KeySignal) -> None:
        """Connect a new signal to the connections of any signal."""
        for by_key in (*self._connections.values(),):
            for connection in (*by_key.get(ANY, {}).values(),):
                for_all, sender = self._sender(connection)
                if for_all or sender is not None:
                    signal.connect(connection, sender, priority=FIRST + connection.rank)

    def _sender(self, connection: KeyConnection) -> tuple[bool, Any]:
        """Whether a connection matches every sender in rxhub's sense, and its sender; None if that one is dead."""
        if connection.senderkey == _ANY_ID or connection.only is None:
            return True, None
        if connection.only is not ANY:
            return False, connection.only
        reference = self._senders.get(connection.senderkey)
        return False, None if reference is None else reference()

    def _signals_of(self, connection: KeyConnection) -> tuple[KeySignal, ...]:
        return (*self._signals.values(),) if connection.key is ANY else (connection.key_signal,)

    def connect(self, receiver: Any, key: Hashable, sender: Any, weak: bool) -> None:
        """Add a connection, or move it to the last place."""
        self.purge_dead()
        # Before the lock is taken: the garbage collector may react to it.
        reference: Any = safeRef(receiver, self._dead.append) if weak else receiver
        try:
            hash(reference)
        except TypeError as error:
            raise DispatcherTypeError(
                f"{receiver!r} cannot receive {key!r}: {error}. Receivers are told apart by hash and equality: give "
                "its class a __hash__, or connect one of its methods."
            ) from error
        if weak and collector.running:
            ensure_callback(reference, self._dead.append)
        with self._lock:
            present = self._list(id(sender), key)
            if present and next(reversed(present)) == reference:
                return  # a connection that is being called must not be replaced
        sender_reference = self._reference_to(sender)
        only = ANY if sender is ANY or sender_reference is not None else sender
        connection = KeyConnection(self.signal(key), id(sender), only, reference, receiver, self.has_earlier)
        owner = current_scope()
        if owner is not None:
            connection.held = receiver
            leave = partial(self._disconnect, connection)
            connection.on_removed = partial(owner.discard, leave)
            owner.add(leave)
        with self._lock:
            before = self._put(connection)
            if weak:
                self._by_reference[id(reference)] = connection
            if sender_reference is not None:
                self._senders.setdefault(id(sender), sender_reference)
            signals = self._signals_of(connection)
        # Without the lock: observers of `Signal.connected` are user code.
        for key_signal in signals:
            key_signal.connect(connection, None if sender is ANY else sender, priority=FIRST + connection.rank)
        if before is not None:
            self._release(before)
            for key_signal in signals:
                key_signal.disconnect(before, None if sender is ANY else sender)

    def _put(self, connection: KeyConnection) -> KeyConnection | None:
        """Append a connection to its list; return the one that it replaces."""
        while True:
            connections = self._connections.setdefault(connection.senderkey, {}).setdefault(connection.key, {})
            before = connections.pop(connection.reference, None)
            connections[connection.reference] = connection
            # A finalizer may have emptied the list in the middle of it, in this same thread, and removed it.
            if self._list(connection.senderkey, connection.key) is connections:
                return before

    def disconnect(self, receiver: Any, key: Hashable, sender: Any, weak: bool) -> None:
        """Remove a connection; DispatcherKeyError if the signal and the sender have none at all."""
        self.purge_dead()
        reference = safeRef(receiver) if weak else receiver
        with self._lock:
            connections = self._list(id(sender), key)
            if connections is None:
                raise DispatcherKeyError(
                    f"No receivers found for signal {key!r} from sender {sender!r}. "
                    "Disconnect with the same signal and sender as were connected to."
                )
            connection = connections.get(reference)
        if connection is not None:
            self._disconnect(connection)

    def _disconnect(self, connection: KeyConnection) -> None:
        with self._lock:
            for_all, sender = self._sender(connection)
            signals = self._signals_of(connection)
            self._remove(connection)
        if for_all or sender is not None:
            for key_signal in signals:
                key_signal.disconnect(connection, sender)

    def _remove(self, connection: KeyConnection) -> None:
        connections = self._list(connection.senderkey, connection.key)
        if connections is None or connections.get(connection.reference) is not connection:
            return
        del connections[connection.reference]
        self._release(connection)
        by_key = self._connections[connection.senderkey]
        if not connections:
            del by_key[connection.key]
        if not by_key:
            del self._connections[connection.senderkey]
            self._senders.pop(connection.senderkey, None)

    def _release(self, connection: KeyConnection) -> None:
        self._by_reference.pop(id(connection.reference), None)
        if connection.on_removed is not None:
            connection.on_removed()
            connection.on_removed = connection.held = None

    def clear(self) -> None:
        """Remove all connections."""
        for connection in self.all_connections():
            self._disconnect(connection)

    def purge_dead(self) -> None:
        """Remove the connections of dead receivers and senders, until removing kills no more."""
        while self._dead:
            self._purge_dead()

    def _purge_dead(self) -> None:
        # Freed after the lock: finalizers may run then.
        removed: list[object] = []
        with self._lock:
            while self._dead:
                dead = self._dead[0]
                removed.append(dead)
                orphans: list[KeyConnection] = []
                if isinstance(dead, SenderReference):
                    senderkey = cast("int", dead.key)
                    if self._senders.get(senderkey) is dead:
                        del self._senders[senderkey]
                        orphans = self._of_senders(self._connections.get(senderkey, {}))
                elif (connection := self._by_reference.get(id(dead))) is not None:
                    orphans.append(connection)
                removed.extend(orphans)
                for connection in orphans:
                    self._remove(connection)
                # A finalizer may have purged in the meantime.
                if self._dead and self._dead[0] is dead:
                    self._dead.popleft()

    def _reference_to(self, sender: Any) -> SenderReference | None:
        """A weak reference to a sender; None if it does not support one, or lives forever."""
        if sender is ANY or sender is ANONYMOUS:
            return None
        reference = SenderSlot(id(sender), sender, self._dead.append).reference
        return None if isinstance(reference, tuple) else reference

    def _list(self, senderkey: int, key: Hashable) -> dict[Any, KeyConnection] | None:
        return self._connections.get(senderkey, {}).get(key)

    def references(self, senderkey: int, key: Hashable) -> list[Any]:
        """The references to the receivers of one sender and one signal, in call order."""
        self.purge_dead()
        return [*(self._list(senderkey, key) or ())]

    def has_earlier(self, connection: KeyConnection, sender: Any, key: Hashable) -> bool:
        """Whether another connection calls the same receiver earlier when `sender` sends `key`."""
        if self._dead:
            self.purge_dead()
        senderkey = id(sender)
        if connection.rank == 2 and senderkey not in self._connections:
            return False
        for place in ((senderkey, key), (senderkey, ANY), (_ANY_ID, key))[: connection.rank]:
            connections = self._list(*place)
            if connections is not None and (first := connections.get(connection.reference)) is not None:
                return first is not connection
        return False

    def all_connections(self) -> list[KeyConnection]:
        """All connections, by sender."""
        self.purge_dead()
        with self._lock:
            return self._of_senders(*self._connections.values())

    @staticmethod
    def _of_senders(*senders: dict[Hashable, dict[Any, KeyConnection]]) -> list[KeyConnection]:
        # Tuples: finalizers in this thread may change the dictionaries.
        return [each for by_key in senders for found in (*by_key.values(),) for each in (*found.values(),)]

    def connections(self) -> dict[int, dict[Hashable, list[Any]]]:
        """`{id of the sender: {signal: [references]}}`."""
        found: dict[int, dict[Hashable, list[Any]]] = {}
        for connection in self.all_connections():
            found.setdefault(connection.senderkey, {}).setdefault(connection.key, []).append(connection.reference)
        return found

    def senders(self) -> dict[int, ref[Any]]:
        """`{id of the sender: weak reference to it}`, without senders that do not support one."""
        self.purge_dead()
        with self._lock:
            return dict(self._senders)

    def senders_back(self) -> dict[int, list[int]]:
        """`{id of the reference: [ids of the senders]}`."""
        found: dict[int, list[int]] = {}
        for connection in self.all_connections():
            senderkeys = found.setdefault(id(connection.reference), [])
            if connection.senderkey not in senderkeys:
                senderkeys.append(connection.senderkey)
        return found


table = ConnectionTable()
