"""A subscriber: which events, what to call, in which place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from contextvars import Context, copy_context
from typing import Any

from reactivex import abc

from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.redaction import redacted_text
from rxhub.rx.scope import Scope
from rxhub.text.displayable import Displayable
from rxhub.text.printable import printable

__all__ = ["Callback", "OnResult", "Subscriber"]

Callback = Callable[[Event], Any]

OnResult = Callable[[Event, "Subscriber", Any], None]
"""Called with an event, a subscriber, and what its callback returned, unless that is None."""


# Most programs have no context variables; their subscribers share this.
_EMPTY = Context()


class Subscriber(Displayable):
    """One registration.

    Attributes:
        id: the identifier, unique in its dispatcher.
        priority: lower comes first.
        alive: False once it was removed; checked before every call.
        subscription: the string it was made from.
        expression: the parsed subscription.
        callback: called with the event.
        metadata: what event targets are tested against; has at least an `id`.
        scheduler: where the callback runs; None for the thread that dispatches.
        owner: the scope that it belongs to, such as a plugin's; it is removed when that is closed.
    """

    __slots__ = (
        "__weakref__",
        "_leave",
        "_needs_slow_path",
        "_token",
        "alive",
        "callback",
        "context",
        "enqueue",
        "expression",
        "id",
        "metadata",
        "owner",
        "priority",
        "scheduler",
        "subscription",
    )

    def __init__(
        self,
        subscription: str,
        expression: Expression,
        callback: Callback,
        metadata: MutableMapping[str, Any],
        priority: float,
        scheduler: abc.SchedulerBase | None,
    ) -> None:
        self.priority = priority
        self.alive = True
        self.subscription = subscription
        self.expression = expression
        self.callback = callback
        self.metadata = metadata
        # A copy: the caller may change the metadata.
        self.id: str = metadata["id"]
        self.scheduler = scheduler
        self.context = copy_context() or _EMPTY
        # Whether it is removed, or runs on a scheduler.
        self._needs_slow_path = scheduler is not None
        # Queues the event of a delivery for the scheduler.
        self.enqueue: Callable[[Any, OnResult | None], None] | None = None
        self._token: Any = None
        self.owner: Scope | None = None
        self._leave: Callable[[], None] | None = None

    def interested_in(self, event: Mapping[str, Any]) -> bool:
        """Whether the subscription matches `event`; targets are not considered."""
        return self.expression.matches(event)

    def __str__(self) -> str:
        subscription = redacted_text(self.subscription)
        return printable(f'<Subscriber {self.id} priority={self.priority} subscription="{subscription}">')

    __repr__ = __str__
