"""The registered subscribers: in dispatch order, and found by event.

The order is by priority, then by time of registration. A removed subscriber is marked dead, and a dispatch that
iterates over an older snapshot skips it. A snapshot is a sorted tuple. The next access after a change creates it, so a
burst of changes costs one sort.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping
from functools import partial
from operator import attrgetter
from os import urandom
from typing import Any, cast

from reactivex import abc

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.concurrency.ordered_calls import OrderedCalls
from rxhub.dispatching.subscriber import Callback, Subscriber
from rxhub.errors import NotFoundError, NotUniqueError
from rxhub.expression import Dialect, Index, parse
from rxhub.rx.scope import current_scope

__all__ = ["Subscribers"]


class Subscribers:
    """Subscribers by id, iterated over in order.

    `joined` is called with each new subscriber, and `left` with each that was removed, in the order of what happened.
    """

    def __init__(
        self,
        joined: Callable[[Subscriber], None] | None = None,
        left: Callable[[Subscriber], None] | None = None,
        dialect: Dialect = Dialect.RXHUB,
    ) -> None:
        self.dialect = dialect
        self._joined = joined
        self._left = left
        # A dictionary keeps the order of insertion, and sorting by priority is stable.
        self._members: dict[str, Subscriber] = {}
        self._snapshot: tuple[Subscriber, ...] | None = ()
        self._index: Index[Subscriber] = Index()
        self._match = self._index.match
        self._lock = ForkSafeLock()
        # `joined` and `left` are called outside of the lock, in the order of what happened.
        self._notifications: OrderedCalls[Subscriber] = OrderedCalls()

    def subscribe(
        self,
        subscription: str,
        callback: Callback,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> Subscriber:
        """Register `callback` for the events that match `subscription`; arguments and errors as `EventHub.subscribe`.

        A subscriber with a scheduler receives its events there, in order, one at a time. Raises ScopeClosed if the
        current scope is closed, such as that of a plugin that was torn down, and TypeError if an argument has the wrong
        type.
        """
        if not callable(callback):
            raise TypeError(f"A callback must be callable, but {type(callback).__name__} was given.")
        metadata: MutableMapping[str, Any] = {} if subscriber is None else subscriber
        if not isinstance(metadata, MutableMapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            number = isinstance(metadata, int | float)
            hint = f" Pass a priority by name: priority={metadata}." if number else ""
            raise TypeError(f"Subscriber metadata must be a dict, but {type(metadata).__name__} was given.{hint}")
        identifier: Any = metadata.get("id")
        if identifier is None:
            metadata["id"] = identifier = urandom(16).hex()
        if not isinstance(cast("object", identifier), Hashable):
            raise TypeError(f"A subscriber's id must be hashable, but {type(identifier).__name__} was given.")
        if not isinstance(priority, (int, float)) or priority != priority:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"A priority is a number (the lowest runs first), but {priority!r} was given.")
        tree = parse(subscription, self.dialect)
        return self.add(Subscriber(subscription, tree, callback, metadata, priority, scheduler))

    def add(self, member: Subscriber) -> Subscriber:
        call = None if self._joined is None else (self._joined, member)
        # The index orders equal priorities by time, too: both must see the same order.
        with self._lock:
            if member.id in self._members:
                raise NotUniqueError(
                    f"Subscriber with identifier {member.id} already exists. "
                    "Unsubscribe it first, or omit the id to have one generated."
                )
            self._members[member.id] = member
            self._snapshot = None
            member._token = self._index.add(member.expression, member, member.priority)
            if call is not None:
                self._notifications.add(call)
        if call is not None:
            self._notifications.run(call, wait=True)
        scope = current_scope()
        if scope is not None:
            member.owner = scope
            member._leave = leave = partial(self._leave, member)
            scope.add(leave)
            if not member.alive:  # another thread removed it before the scope knew it
                scope.discard(leave)
        return member

    def report_in_order(self, report: Callable[[Subscriber], object], member: Subscriber) -> None:
        """Call `report` after all earlier calls of `joined` and `left`, and return after it."""
        call = report, member
        self._notifications.add(call)
        self._notifications.run(call, wait=True)

    def _leave(self, member: Subscriber) -> None:
        if self._members.get(member.id) is member:
            try:
                self.unsubscribe(member.id)
            except NotFoundError:
                pass  # another thread was faster

    def unsubscribe(self, identifier: str) -> Subscriber:
        """Remove and return the subscriber with this id. It is not called any more, not even for an event under way.

        Raises NotFoundError if there is none.
        """
        with self._lock:
            member = self._members.pop(identifier, None)
            if member is None:
                raise NotFoundError(
                    f"Cannot unsubscribe missing subscriber with identifier {identifier}. "
                    f"There are {len(self._members)} others."
                )
            member.alive = False
            member._needs_slow_path = True
            self._snapshot = None
            self._index.remove(member._token)
            call = None if self._left is None else (self._left, member)
            if call is not None:
                self._notifications.add(call)
        if member.owner is not None and member._leave is not None:
            member.owner.discard(member._leave)
            member._leave = None  # it refers to the member
        if call is not None:
            # Not waiting: a finalizer may have called this, holding locks that the notifying thread waits for.
            self._notifications.run(call)
        return member

    @property
    def members(self) -> list[Subscriber]:
        """All subscribers in the order of registration."""
        with self._lock:
            return [*self._members.values()]

    def get(self, identifier: str) -> Subscriber | None:
        """The subscriber with this id, or None."""
        return self._members.get(identifier)

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        """All subscribers in dispatch order, as a tuple that never changes."""
        snapshot = self._snapshot
        if snapshot is None:
            with self._lock:
                # A finalizer may remove a subscriber in the middle, in this same thread.
                while snapshot is None or len(snapshot) != len(self._members):
                    snapshot = tuple(sorted(self._members.values(), key=attrgetter("priority")))
                self._snapshot = snapshot
        return snapshot

    def __len__(self) -> int:
        return len(self._members)
