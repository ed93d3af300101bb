"""The dispatcher of ftrack's hub: its dialect, and its words for what a callback raised."""

from __future__ import annotations

from collections.abc import Callable
from logging import Logger

from rxhub.compat.ftrack.shortened import Brief
from rxhub.dispatching.delivery import Outcome
from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.dispatching.subscriber import Subscriber
from rxhub.event import Event
from rxhub.expression import Dialect

__all__ = ["FtrackDispatcher"]


class FtrackDispatcher(Dispatcher):
    """Subscribers in ftrack's dialect.

    Args:
        joined: told of each new subscriber.
        left: told of each subscriber that was removed.
        logger: the hub's, to which errors of callbacks go.
    """

    def __init__(
        self, joined: Callable[[Subscriber], None], left: Callable[[Subscriber], None], logger: Logger
    ) -> None:
        super().__init__(joined, left, Dialect.FTRACK)
        self._logger = logger

    def report(self, event: Event, outcome: Outcome, error: Exception) -> None:
        subscriber = Brief(outcome.subscriber)
        self._logger.error("Error calling subscriber %s for event %s.", subscriber, Brief(event), exc_info=error)
        self.errors.on_next(outcome)
