"""`ftrack_api.event.subscriber`: ftrack's subscriber class for rxhub's dispatcher."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from reactivex import abc

import rxhub.dispatching.subscriber
from rxhub.compat.ftrack.subscription import Subscription
from rxhub.expression import Dialect, parse
from rxhub.text.printable import printable

__all__ = ["Subscriber"]


class Subscriber(rxhub.dispatching.subscriber.Subscriber):
    """One registration. The dict `metadata` itself is kept; `subscription` becomes a `Subscription`."""

    subscription: Subscription  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        subscription: str,
        callback: Any,
        metadata: MutableMapping[str, Any],
        priority: float,
        scheduler: abc.SchedulerBase | None = None,
    ) -> None:
        parsed = Subscription(subscription)
        tree = parse(subscription, Dialect.FTRACK)  # cached
        super().__init__(subscription, tree, callback, {"id": None, **metadata}, priority, scheduler)
        self.metadata = metadata
        self.subscription = parsed

    def __str__(self) -> str:
        return printable(f'<{type(self).__name__} metadata={self.metadata} subscription="{self.subscription}">')

    __repr__ = __str__

    def interested_in(self, event: Mapping[str, Any]) -> bool:
        return self.subscription.includes(event)
