"""The methods of a hub that say who gets events: callbacks, pipelines and streams, in one order of priority."""

from __future__ import annotations

from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from reactivex import Observable, abc

from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.dispatching.dispatcher import Callback, Subscriber
from rxhub.dispatching.pipeline import Subscribable
from rxhub.errors import NotFoundError
from rxhub.hub.misspelled import warn_of_misspelled
from rxhub.hub.parts import Parts
from rxhub.rx.awaitable import with_runner_status
from rxhub.transport.finite_numbers import check_finite_metadata

if TYPE_CHECKING:
    from rxhub.hub.stream import EventStream

__all__ = ["Subscribing"]


class Subscribing(Parts):
    """Who gets the events of a hub."""

    def get_subscriber_by_identifier(self, identifier: str) -> Subscriber | None:
        """The subscriber with this id, or None."""
        return self._dispatcher.get(identifier)

    def subscribe(
        self,
        subscription: str,
        callback: Callback,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> str:
        """Register `callback` for the events that match `subscription`.

        It receives what this hub publishes from now on. It receives what other hubs publish as soon as the server knows
        the subscription (`subscriptions_synced`): a moment later, or after the next (re)connect.

        Args:
            subscription: see the subscription language, for example
                `topic=ftrack.update and data.entities.entity_type=Shot`.
            callback: called with the event, a plain or a coroutine function. What it returns, if not
                None, is published as a reply.
            subscriber: metadata that event targets are tested against. An `id` is added if it has none.
            priority: lower runs first; equal ones run in order of subscribing.
            scheduler: where the callback runs instead of the handling context; it then cannot stop events.

        Returns:
            The subscriber's id, for `unsubscribe`.

        Raises:
            ExpressionError: if the subscription does not parse.
            NotUniqueError: if a subscriber with this id exists.
            EventError: if the metadata contains NaN or infinity.
            HubClosed: if the hub was closed.

        Warns:
            SubscriptionWarning: if a key is similar to one of the seven of an event, such as `topc`.
        """
        self._publisher.check_open()
        if isinstance(subscriber, Mapping):
            check_finite_metadata(subscriber)
        added = self._dispatcher.subscribe(subscription, callback, subscriber, priority, scheduler)
        warn_of_misspelled(added.expression)
        return added.id

    def unsubscribe(self, subscriber_identifier: str) -> None:
        """Remove a subscriber; it is not called any more, not even for an event under way.

        Raises:
            NotFoundError: if there is none with this id.
        """
        self._dispatcher.unsubscribe(subscriber_identifier)

    @contextmanager
    def subscription(
        self,
        subscription: str,
        callback: Callback,
        subscriber: MutableMapping[str, Any] | None = None,
        priority: float = 100,
        scheduler: abc.SchedulerBase | None = None,
    ) -> Generator[str]:
        """Subscribe `callback` for the time of a `with` block; gives the subscriber's id."""
        identifier = self.subscribe(subscription, callback, subscriber, priority, scheduler)
        try:
            yield identifier
        finally:
            with suppress(NotFoundError):
                self.unsubscribe(identifier)

    def on(self, subscription: str, priority: float = 100) -> Subscribable:
        """The events that match `subscription`, and a decorator for a callback.

        Each Rx subscription is a subscriber in the dispatch order: priorities and `stop()` hold between
        pipelines and callbacks.

        Raises:
            ExpressionError: if the subscription does not parse.
            HubClosed: if the hub was closed.
        """
        self._publisher.check_open()
        events = Subscribable(self._dispatcher, subscription, priority)
        warn_of_misspelled(events.expression)
        return with_runner_status(events, self._runner)

    def stream(self, subscription: str, capacity: int = 1000, priority: float = 100) -> EventStream:
        """The events that match `subscription` as an async iterator, from now on.

        Args:
            subscription: see `subscribe`.
            capacity: how many events wait for a slow consumer; the oldest ones go, and are counted.
            priority: the place in the dispatch order.
        """
        from rxhub.hub.stream import EventStream

        return EventStream(self.on(subscription, priority), capacity, self._runner)

    @property
    def deliveries(self) -> Observable[Delivery]:
        """Each event's delivery, when its run is over."""
        return self._dispatcher.deliveries

    @property
    def errors(self) -> Observable[Outcome]:
        """The outcomes of callbacks that failed."""
        return self._dispatcher.errors
