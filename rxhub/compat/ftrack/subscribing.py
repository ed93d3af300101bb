"""The subscribing half of ftrack's hub: who is called, and what the server is told of them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any
from uuid import uuid4

from reactivex import abc

import rxhub.dispatching.subscriber
from rxhub import errors
from rxhub.compat.ftrack import exception
from rxhub.compat.ftrack.base import Event
from rxhub.compat.ftrack.dispatch import FtrackDispatcher
from rxhub.compat.ftrack.sending import Sending
from rxhub.compat.ftrack.shortened import Brief
from rxhub.compat.ftrack.subscriber import Subscriber
from rxhub.expression.near_miss import misspelling_warning

__all__ = ["Subscribing"]


class Subscribing(Sending):
    """The methods of ftrack's hub that subscribe."""

    _dispatcher: FtrackDispatcher

    def __init__(self) -> None:
        super().__init__()
        self._announced: set[str] = set()

    def subscribe(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        subscription: str,
        callback: Any,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> str:
        """Register `callback` for the events that match `subscription`; the server hears of it when it can.

        A key that is similar to one of the seven of an event, such as `topc`, is logged as a warning. The arguments are
        those of `rxhub.EventHub.subscribe`.

        Returns:
            The subscriber's id.

        Raises:
            ParseError: if the subscription is none.
            NotUniqueError: if a subscriber with this id exists.
        """
        self._publisher.check_open()
        member = self._add_subscriber(subscription, callback, subscriber, priority, scheduler)
        if said := misspelling_warning(member.expression):
            self.logger.warning("%s", Brief(said))
        try:
            self._dispatcher.report_in_order(self._notify_server_about_subscriber, member)
        except exception.EventHubConnectionError:
            self.logger.debug(
                "Failed to notify server about new subscriber %s as server not currently reachable.", member.id
            )
        return member.metadata["id"]

    def _add_subscriber(
        self,
        subscription: str,
        callback: Any,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> Subscriber:
        """Add a subscriber here, and tell the server nothing."""
        metadata: MutableMapping[str, Any] = {} if subscriber is None else subscriber
        metadata.setdefault("id", uuid4().hex)
        member = Subscriber(subscription, callback, metadata, priority, scheduler)
        try:
            self._dispatcher.add(member)
        except errors.NotUniqueError:
            raise exception.NotUniqueError(f"Subscriber with identifier {metadata['id']} already exists.") from None
        return member

    def unsubscribe(self, subscriber_identifier: str) -> None:
        """Remove a subscriber; the server hears of it if it can.

        Raises:
            NotFoundError: if there is none with this id.
        """
        try:
            self._dispatcher.unsubscribe(subscriber_identifier)
        except errors.NotFoundError:
            raise exception.NotFoundError(
                f"Cannot unsubscribe missing subscriber with identifier {subscriber_identifier}"
            ) from None

    def _notify_server_about_subscriber(self, subscriber: rxhub.dispatching.subscriber.Subscriber) -> None:
        # connect() announces all that it finds, and another thread may subscribe meanwhile: once is enough.
        with self._lock:
            if not self.connected or not subscriber.alive or subscriber.id in self._announced:
                return
            self._announced.add(subscriber.id)
        data = {"subscriber": subscriber.metadata, "subscription": str(subscriber.subscription)}
        event = Event("ftrack.meta.subscribe", data=data)
        self._publish(event, callback=partial(self._on_subscribed, subscriber))

    def _on_subscribed(self, subscriber: rxhub.dispatching.subscriber.Subscriber, response: Mapping[str, Any]) -> None:
        if response.get("success") is False:
            self.logger.warning(
                "Server failed to subscribe subscriber %s: %s",
                subscriber.metadata["id"],
                Brief(response.get("message")),
            )

    def _notify_server_of_leave(self, subscriber: rxhub.dispatching.subscriber.Subscriber) -> None:
        self._announced.discard(subscriber.id)
        if not self.connected:
            return
        event = Event("ftrack.meta.unsubscribe", data={"subscriber": subscriber.metadata})
        try:
            self._publish(event, callback=partial(self._on_unsubscribed, subscriber))
        except exception.EventHubConnectionError:
            self.logger.debug(
                "Failed to notify server to unsubscribe subscriber %s as server not currently reachable.", subscriber.id
            )

    def _on_unsubscribed(
        self, subscriber: rxhub.dispatching.subscriber.Subscriber, response: Mapping[str, Any]
    ) -> None:
        if response.get("success") is not True:
            self.logger.warning(
                "Server failed to unsubscribe subscriber %s: %s",
                subscriber.metadata["id"],
                Brief(response.get("message")),
            )
