"""The subscribing part of ftrack's hub: the subscribers, and their announcement to the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from logging import Logger
from typing import Any
from uuid import uuid4

from reactivex import abc

from rxhub import errors
from rxhub.compat.ftrack import exception
from rxhub.compat.ftrack.base import Event
from rxhub.compat.ftrack.publishing import Publishing
from rxhub.compat.ftrack.shortened import Shortened
from rxhub.compat.ftrack.subscriber import Subscriber
from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.dispatching.subscriber import Subscriber as AnySubscriber
from rxhub.expression import Dialect
from rxhub.expression.near_miss import misspelling_warning

__all__ = ["FtrackDispatcher", "Subscribing"]


class FtrackDispatcher(Dispatcher):
    """Dispatches in ftrack's dialect, and logs failed callbacks in the words of ftrack's client."""

    def __init__(
        self, joined: Callable[[AnySubscriber], None], left: Callable[[AnySubscriber], None], logger: Logger
    ) -> None:
        super().__init__(joined, left, Dialect.FTRACK)
        self._logger = logger

    def report(self, delivery: Delivery, outcome: Outcome) -> None:
        subscriber, event = Shortened(outcome.subscriber), Shortened(delivery.event)
        message = "Error calling subscriber %s for event %s."
        self._logger.error(message, subscriber, event, exc_info=outcome.error, extra=delivery.log_fields)
        self.errors.on_next(outcome)


class Subscribing(Publishing):
    """The methods of ftrack's hub that subscribe."""

    _dispatcher: FtrackDispatcher

    def __init__(self) -> None:
        super().__init__()
        self._announced_ids: set[str] = set()

    def subscribe(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        subscription: str,
        callback: Any,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> str:
        """Register `callback` for the events that match `subscription`; announce it to the server if connected.

        Logs a warning for a key that resembles one of the seven keys of an event, such as `topc`. The arguments are
        those of `rxhub.EventHub.subscribe`. Returns the subscriber's id.

        Raises:
            ParseError: if the subscription does not parse.
            NotUniqueError: if a subscriber with this id exists.
        """
        self._publisher.check_open()
        member = self._add_subscriber(subscription, callback, subscriber, priority, scheduler)
        if warning := misspelling_warning(member.expression):
            self.logger.warning("%s", Shortened(warning))
        try:
            self._dispatcher.report_in_order(self._notify_server_about_subscriber, member)
        except exception.EventHubConnectionError:
            message = "Failed to notify server about new subscriber %s as server not currently reachable."
            self.logger.debug(message, member.id)
        return member.metadata["id"]

    def _add_subscriber(
        self,
        subscription: str,
        callback: Any,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> Subscriber:
        """Add a subscriber without announcing it to the server."""
        metadata: MutableMapping[str, Any] = {} if subscriber is None else subscriber
        metadata.setdefault("id", uuid4().hex)
        member = Subscriber(subscription, callback, metadata, priority, scheduler)
        try:
            self._dispatcher.add(member)
        except errors.NotUniqueError:
            raise exception.NotUniqueError(f"Subscriber with identifier {metadata['id']} already exists.") from None
        return member

    def unsubscribe(self, subscriber_identifier: str) -> None:
        """Remove a subscriber, or raise NotFoundError; announce that to the server if connected."""
        try:
            self._dispatcher.unsubscribe(subscriber_identifier)
        except errors.NotFoundError:
            raise exception.NotFoundError(
                f"Cannot unsubscribe missing subscriber with identifier {subscriber_identifier}"
            ) from None

    def _notify_server_about_subscriber(self, subscriber: AnySubscriber) -> None:
        # Both connect() and a subscribing thread announce a new subscriber; the server needs it once.
        with self._lock:
            if not self.connected or not subscriber.alive or subscriber.id in self._announced_ids:
                return
            self._announced_ids.add(subscriber.id)
        data = {"subscriber": subscriber.metadata, "subscription": str(subscriber.subscription)}
        event = Event("ftrack.meta.subscribe", data=data)
        self._publish(event, callback=partial(self._on_subscribed, subscriber))

    def _on_subscribed(self, subscriber: AnySubscriber, response: Mapping[str, Any]) -> None:
        if response.get("success") is False:
            why = Shortened(response.get("message"))
            self.logger.warning("Server failed to subscribe subscriber %s: %s", subscriber.metadata["id"], why)

    def _notify_server_of_leave(self, subscriber: AnySubscriber) -> None:
        self._announced_ids.discard(subscriber.id)
        if not self.connected:
            return
        event = Event("ftrack.meta.unsubscribe", data={"subscriber": subscriber.metadata})
        try:
            self._publish(event, callback=partial(self._on_unsubscribed, subscriber))
        except exception.EventHubConnectionError:
            message = "Failed to notify server to unsubscribe subscriber %s as server not currently reachable."
            self.logger.debug(message, subscriber.id)

    def _on_unsubscribed(self, subscriber: AnySubscriber, response: Mapping[str, Any]) -> None:
        if response.get("success") is not True:
            why = Shortened(response.get("message"))
            self.logger.warning("Server failed to unsubscribe subscriber %s: %s", subscriber.metadata["id"], why)
