"""Passes replies to their listeners.

A reply names the event that it answers in `in_reply_to_event`. Listeners of `publish(on_reply=…)` have no end of their
own. They expire after a time, and the oldest are removed when there are too many.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context, copy_context
from itertools import count
from time import monotonic
from typing import Any

from reactivex.disposable import Disposable

from rxhub.concurrency.awaitables import as_coroutine, check_was_run, is_unfinished
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import EventError, ExpressionError
from rxhub.event import Event
from rxhub.expression import Condition

__all__ = ["Replies", "address"]

Listener = Callable[[Event], object]

_BARE = re.compile(r"[A-Za-z0-9_.-]+")


def address(asker: object) -> str:
    """The target of a reply, which only the subscriber with this id matches: `id=<asker>`, as ftrack writes it.

    Raises EventError if no target expression matches exactly the id.
    """
    text = str(asker)
    if _BARE.fullmatch(text):
        return f"id={text}"
    try:
        if text and "*" not in text:
            return str(Condition("id", "=", text, quoted=True))
    except ExpressionError:
        pass  # it cannot be quoted
    raise EventError(f"A reply cannot be addressed to the source id {asker!r}: no target expression matches it.")


class Replies:
    """Listeners by the id of the published event; after `lifetime` seconds of the clock `now` they expire."""

    def __init__(self, lifetime: float = 600.0, capacity: int = 10_000, now: Callable[[], float] = monotonic) -> None:
        self._lifetime = lifetime
        self._capacity = capacity
        self._now = now
        self._numbers = count()
        # In the order of expiry: all have the same lifetime.
        self._ends: OrderedDict[tuple[Hashable, int], float] = OrderedDict()
        self._listeners: dict[Hashable, dict[int, tuple[Context, Listener]]] = {}
        # Reentrant: a finalizer may dispose of a listener whenever the garbage collector runs. Last, because another
        # thread may fork now, and `after_fork` needs the other attributes.
        self._lock = ForkSafeLock(self)

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, (*self._listeners.values(),)))

    def listen(self, event_id: Hashable, listener: Listener, own_end: bool = False) -> Disposable:
        """Call `listener` with each reply to this event, in a copy of the current context, until disposed or expired.

        With `own_end` it never expires, since it is always disposed of, such as that of a request.
        """
        key = (event_id, next(self._numbers))
        now = self._now()
        with self._lock:
            self._expire(now)
            if not own_end:
                if len(self._ends) >= self._capacity and (oldest := self._oldest()) is not None:
                    self._drop(oldest[0])
                self._ends[key] = now + self._lifetime
            entry = (copy_context(), listener)
            while True:
                listeners = self._listeners.setdefault(event_id, {})
                listeners[key[1]] = entry
                # A finalizer that removed the last listener may have removed the mapping.
                if self._listeners.get(event_id) is listeners:
                    break
        return Disposable(lambda: self._leave(key))

    def handle(self, event: Event) -> Coroutine[Any, Any, None] | None:
        """Pass a reply to its listeners; the callback of the hub's own subscriber.

        Returns a coroutine that awaits the results of coroutine functions, if there are any. Raises the error of a
        listener, after all were called; several as a group.
        """
        asked = event.get("in_reply_to_event")
        with self._lock:
            self._expire(self._now())
            # Not tuple(…), which reads the size first: a finalizer may remove a listener before it copies.
            listeners = (*self._listeners.get(asked, {}).values(),) if isinstance(asked, Hashable) else ()
        errors: list[Exception] = []
        coroutines: list[tuple[Context, Coroutine[Any, Any, object]]] = []
        for context, listener in listeners:
            present = context.copy()
            try:
                result = present.run(listener, event)
                check_was_run(result)
            except Exception as error:
                errors.append(error)
            else:
                if is_unfinished(result):
                    coroutines.append((present, as_coroutine(result)))
        if coroutines:
            return _await_each(coroutines, errors)
        return _raise_all(errors)

    def after_fork(self) -> None:
        """Forget who waits: the parent gets the replies."""
        self._ends.clear()
        self._listeners.clear()

    def _leave(self, key: tuple[Hashable, int]) -> None:
        with self._lock:
            self._drop(key)

    def _expire(self, now: float) -> None:
        while (oldest := self._oldest()) is not None and oldest[1] <= now:
            self._drop(oldest[0])

    def _oldest(self) -> tuple[tuple[Hashable, int], float] | None:
        """The listener that expires first, and when."""
        while True:
            try:
                return next(iter(self._ends.items()), None)
            except RuntimeError:
                # The lock is reentrant: a finalizer in this thread has removed a listener.
                continue

    def _drop(self, key: tuple[Hashable, int]) -> None:
        self._ends.pop(key, None)
        event_id, number = key
        listeners = self._listeners.get(event_id)
        if listeners is None or listeners.pop(number, None) is None:
            return
        if not listeners:
            del self._listeners[event_id]


async def _await_each(coroutines: list[tuple[Context, Coroutine[Any, Any, object]]], errors: list[Exception]) -> None:
    for context, coroutine in coroutines:
        try:
            await asyncio.create_task(coroutine, context=context)
        except Exception as error:
            errors.append(error)
    _raise_all(errors)


def _raise_all(errors: list[Exception]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup(f"{len(errors)} reply callbacks failed", errors)
