"""Who is connected to which signal from which sender: the table of all routes.

Theory of operation. The table keeps the routes, in the shape of PyDispatcher's `connections`; the signals know them
weakly, so that a route that leaves the table is gone everywhere. A signal lives as long as it has a route, or was asked
for by the user.

References to receivers and senders that have died are appended to a queue; no lock is taken there, since the collector
may strike anywhere. Whoever comes next sweeps. A dead sender's id is used again only after it was appended, and an
entry leaves the queue only after its routes have left, so a new object never meets the routes of the dead.

The signals are connected to outside of the lock, since what listens to `Signal.connected` is the user's code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from contextvars import Context
from functools import partial
from typing import Any
from weakref import WeakValueDictionary, ref

from rxhub.compat.pydispatch.connection import ANONYMOUS, ANY, FIRST, KeySignal, Route
from rxhub.compat.pydispatch.errors import DispatcherKeyError, DispatcherTypeError
from rxhub.compat.pydispatch.saferef import safeRef
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.concurrency.weakrefs import collector, ensure_callback
from rxhub.rx.scope import current_scope

__all__ = ["Table", "table"]

_ANYBODY = id(ANY)


class _SenderReference(ref[Any]):
    __slots__ = ("key",)

    key: int


class Table:
    """All routes, and the signals that carry them."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._routes: dict[int, dict[Hashable, dict[Any, Route]]] = {}
        self._senders: dict[int, _SenderReference] = {}
        # Routes whose receiver may die, by the id of its reference.
        self._mortal: dict[int, Route] = {}
        self._gone: deque[Any] = deque()
        self._signals: WeakValueDictionary[Hashable, KeySignal] = WeakValueDictionary()
        self._kept: dict[Hashable, KeySignal] = {}

    # Signals

    def signal(self, key: Hashable) -> KeySignal:
        """The signal of a key; made, with the routes to any signal, if there is none."""
        found = self._signals.get(key)
        if found is None:
            made = KeySignal(key)
            with self._lock:
                found = self._signals.setdefault(key, made)
                if found is made:
                    # In a context of its own: these routes are not of the plugin that happens to use the key first.
                    Context().run(self._carry_on, made)
        return found

    def keep(self, key: Hashable) -> KeySignal:
        """The signal of a key, which lives from now on."""
        return self._kept.setdefault(key, self.signal(key))

    def heard(self, key: Hashable) -> KeySignal | None:
        """The signal of a key to which somebody may listen; None if nobody does."""
        if self._gone:
            self.sweep()
        found = self._signals.get(key)
        if found is None and self._signals.get(ANY) is not None:
            found = self.signal(key)
        return found

    def _carry_on(self, signal: KeySignal) -> None:
        """Let a new signal have the routes to any."""
        for by_key in (*self._routes.values(),):
            for route in (*by_key.get(ANY, {}).values(),):
                everybody, sender = self._sender(route)
                if everybody or sender is not None:
                    signal.connect(route, sender, priority=FIRST + route.rank)

    def _sender(self, route: Route) -> tuple[bool, Any]:
        """Whether a route is for everybody in rxhub's eyes, and else for whom; None if that one has died."""
        if route.senderkey == _ANYBODY or route.only is None:
            return True, None
        if route.only is not ANY:
            return False, route.only
        reference = self._senders.get(route.senderkey)
        return False, None if reference is None else reference()

    def _carriers(self, route: Route) -> tuple[KeySignal, ...]:
        return (*self._signals.values(),) if route.key is ANY else (route.home,)

    # Connecting

    def connect(self, receiver: Any, key: Hashable, sender: Any, weak: bool) -> None:
        """Add a route, or give it the last place if it is there.

        Raises:
            DispatcherTypeError: if the receiver cannot be hashed.
            TypeError: if it is to be weak and takes no weak reference.
        """
        if self._gone:
            self.sweep()
        # Whatever the collector may react to is made first.
        reference: Any = safeRef(receiver, self._gone.append) if weak else receiver
        try:
            hash(reference)
        except TypeError as error:
            raise DispatcherTypeError(
                f"{receiver!r} cannot receive {key!r}: {error}. Receivers are told apart by hash and equality: give "
                "its class a __hash__, or connect one of its methods."
            ) from error
        if weak and collector.running:
            ensure_callback(reference, self._gone.append)
        if self._is_last(reference, id(sender), key):
            return
        sender_reference = self._reference_to(sender)
        only = ANY if sender is ANY or sender_reference is not None else sender
        route = Route(self.signal(key), id(sender), only, reference, receiver, self.precedes)
        owner = current_scope()
        if owner is not None:
            route.held = receiver
            leave = partial(self._withdraw, route)
            route.forget = partial(owner.discard, leave)
            owner.add(leave)
        with self._lock:
            before = self._put(route)
            if weak:
                self._mortal[id(reference)] = route
            if sender_reference is not None:
                self._senders.setdefault(id(sender), sender_reference)
            carriers = self._carriers(route)
        for carrier in carriers:
            carrier.connect(route, None if sender is ANY else sender, priority=FIRST + route.rank)
        if before is not None:
            self._forget(before)
            for carrier in carriers:
                carrier.disconnect(before, None if sender is ANY else sender)

    def _is_last(self, reference: Any, senderkey: int, key: Hashable) -> bool:
        """Whether connecting changes nothing: who is called meanwhile must not be replaced."""
        with self._lock:
            routes = self._list(senderkey, key)
            return bool(routes) and next(reversed(routes)) == reference

    def _put(self, route: Route) -> Route | None:
        """Put a route at the end of its list; give back what had its place before."""
        while True:
            routes = self._routes.setdefault(route.senderkey, {}).setdefault(route.key, {})
            before = routes.pop(route.reference, None)
            routes[route.reference] = route
            # A finalizer may have emptied the list in the middle of it, in this same thread, and removed it.
            if self._list(route.senderkey, route.key) is routes:
                return before

    def disconnect(self, receiver: Any, key: Hashable, sender: Any, weak: bool) -> None:
        """Remove a route; nothing if this list has others only.

        Raises:
            DispatcherKeyError: if nobody is connected to the signal from the sender.
        """
        if self._gone:
            self.sweep()
        reference = safeRef(receiver) if weak else receiver
        with self._lock:
            routes = self._list(id(sender), key)
            if routes is None:
                raise DispatcherKeyError(
                    f"No receivers found for signal {key!r} from sender {sender!r}. "
                    "Disconnect with the same signal and sender as were connected to."
                )
            route = routes.get(reference)
        if route is not None:
            self._withdraw(route)

    def _withdraw(self, route: Route) -> None:
        with self._lock:
            everybody, sender = self._sender(route)
            carriers = self._carriers(route)
            self._drop(route)
        if everybody or sender is not None:
            for carrier in carriers:
                carrier.disconnect(route, sender)

    def _drop(self, route: Route) -> None:
        routes = self._list(route.senderkey, route.key)
        if routes is None or routes.get(route.reference) is not route:
            return
        del routes[route.reference]
        self._forget(route)
        by_key = self._routes[route.senderkey]
        if not routes:
            del by_key[route.key]
        if not by_key:
            del self._routes[route.senderkey]
            self._senders.pop(route.senderkey, None)

    def _forget(self, route: Route) -> None:
        self._mortal.pop(id(route.reference), None)
        if route.forget is not None:
            route.forget()
            route.forget = route.held = None

    def clear(self) -> None:
        """Disconnect everybody."""
        for route in self.routes():
            self._withdraw(route)

    def sweep(self) -> None:
        """Let go what has died, and what dies with it: a route may have kept the receiver of another."""
        while self._gone:
            self._sweep()

    def _sweep(self) -> None:
        # Freed when the lock is: what they keep may have a finalizer.
        swept: list[object] = []
        with self._lock:
            while self._gone:
                dead = self._gone[0]
                swept.append(dead)
                if isinstance(dead, _SenderReference):
                    if self._senders.get(dead.key) is dead:
                        del self._senders[dead.key]
                        orphans = [
                            r for routes in (*self._routes.get(dead.key, {}).values(),) for r in (*routes.values(),)
                        ]
                        swept.extend(orphans)
                        for route in orphans:
                            self._drop(route)
                elif (route := self._mortal.get(id(dead))) is not None:
                    swept.append(route)
                    self._drop(route)
                # A finalizer may have swept in the meantime.
                if self._gone and self._gone[0] is dead:
                    self._gone.popleft()

    def _reference_to(self, sender: Any) -> _SenderReference | None:
        """A weak reference to a sender; None if it takes none, or never dies."""
        if sender is None or sender is ANY or sender is ANONYMOUS:
            return None
        try:
            reference = _SenderReference(sender, self._gone.append)
        except TypeError:
            return None
        reference.key = id(sender)
        if collector.running:
            ensure_callback(reference, self._gone.append)
        return reference

    # Looking

    def _list(self, senderkey: int, key: Hashable) -> dict[Any, Route] | None:
        by_key = self._routes.get(senderkey)
        return None if by_key is None else by_key.get(key)

    def references(self, senderkey: int, key: Hashable) -> list[Any]:
        """The references to the receivers of one sender and one signal, in order."""
        if self._gone:
            self.sweep()
        return [*(self._list(senderkey, key) or ())]

    def precedes(self, route: Route, sender: Any, key: Hashable) -> bool:
        """Whether another route to the same receiver comes before this one when `sender` sends `key`."""
        if self._gone:
            self.sweep()
        senderkey = id(sender)
        if route.rank == 2 and senderkey not in self._routes:
            return False
        for place in ((senderkey, key), (senderkey, ANY), (_ANYBODY, key))[: route.rank]:
            routes = self._list(*place)
            if routes is not None and (first := routes.get(route.reference)) is not None:
                return first is not route
        return False

    def routes(self) -> list[Route]:
        """All routes, sender by sender."""
        if self._gone:
            self.sweep()
        with self._lock:
            return [
                route
                for by_key in (*self._routes.values(),)
                for routes in (*by_key.values(),)
                for route in (*routes.values(),)
            ]

    def connections(self) -> dict[int, dict[Hashable, list[Any]]]:
        """`{id of the sender: {signal: [references]}}`."""
        found: dict[int, dict[Hashable, list[Any]]] = {}
        for route in self.routes():
            found.setdefault(route.senderkey, {}).setdefault(route.key, []).append(route.reference)
        return found

    def senders(self) -> dict[int, ref[Any]]:
        """`{id of the sender: weak reference to it}`, of those that take one."""
        if self._gone:
            self.sweep()
        with self._lock:
            return dict(self._senders)

    def senders_back(self) -> dict[int, list[int]]:
        """`{id of the reference: [ids of the senders]}`."""
        found: dict[int, list[int]] = {}
        for route in self.routes():
            senderkeys = found.setdefault(id(route.reference), [])
            if route.senderkey not in senderkeys:
                senderkeys.append(route.senderkey)
        return found


table = Table()
