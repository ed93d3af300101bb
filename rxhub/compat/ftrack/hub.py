"""`ftrack_api.event.hub`: ftrack's hub over rxhub's.

The hub is an `rxhub.EventHub` with its dispatcher, inbox, handling contexts and observables. The methods of ftrack's
hub connect them to the server and call each other as in ftrack's client:

    publish ──▶ _publish ──▶ _emit_event_packet ──▶ _send_packet ──▶ _connection
    _connection ──▶ _receive_packet ──▶ _handle_packet ──▶ _event_queue ──▶ wait ──▶ _handle ──▶ callbacks
                                                                             publish ◀── publish_reply

A subclass that overrides one of them sees everything that passes there. Events that rxhub itself sends take the same
way, through `TransportAdapter`. Each class extends the one before: `Packets`, `Publishing`, `Subscribing`,
`Connecting`, `EventHub`.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterable, Mapping
from functools import partial
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit

import rxhub.hub
from rxhub import errors
from rxhub.compat.ftrack import exception
from rxhub.compat.ftrack.base import Event
from rxhub.compat.ftrack.connecting import Connecting
from rxhub.compat.ftrack.event_queue import FtrackEventQueue
from rxhub.compat.ftrack.expression import Parser
from rxhub.compat.ftrack.packets import ServerDetails, SocketIoSession
from rxhub.compat.ftrack.shortened import Shortened
from rxhub.compat.ftrack.subscriber import Subscriber
from rxhub.compat.ftrack.subscribing import FtrackDispatcher
from rxhub.compat.ftrack.transport_adapter import TransportAdapter
from rxhub.compat.observed_list import ObservedList
from rxhub.dispatching.delivery import Delivery
from rxhub.dispatching.dispatcher import Run
from rxhub.dispatching.subscriber import Subscriber as AnySubscriber
from rxhub.dispatching.time_slice import TimeSlice
from rxhub.event import Event as AnyEvent
from rxhub.expression import Dialect
from rxhub.expression.parser import as_tree
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Action
from rxhub.hub.runner import CLOSE_TIMEOUT_S, DISCONNECTED_TOPIC

__all__ = ["EventHub", "ServerDetails", "SocketIoSession"]

_TICK_S = 0.1  # how long `wait` waits for an event before it checks the time, as in ftrack's hub


class EventHub(Connecting, rxhub.hub.EventHub):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    """ftrack's hub: events from and to a server, routed to subscribers by priority.

    The arguments are the event server, the user who connects and publishes, the user's key, and additional HTTP headers
    and cookies. `logger` has the name of ftrack's logger, so that its configuration applies.
    """

    def __init__(
        self,
        server_url: str,
        api_user: str | None,
        api_key: str | None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> None:
        self.logger = logging.getLogger(f"ftrack_api.event.hub.{type(self).__name__}")
        url = urlsplit(server_url)
        if not url.scheme:
            raise ValueError("Could not determine scheme from server url.")
        if not url.hostname:
            raise ValueError("Could not determine hostname from server url.")
        self.server = ServerDetails(url.scheme, url.hostname, url.port)
        self._server_url = server_url
        self._api_user, self._api_key = api_user, api_key
        self._cookies = _mapping(cookies or {})
        self._headers = _mapping(headers or {})
        self._expression_parser = Parser()
        self._run: Run | None = None
        self._turn: TimeSlice | None = None
        Connecting.__init__(self)
        rxhub.hub.EventHub.__init__(self, server_url, api_user, api_key, overflow="drop-oldest")
        self._event_queue = FtrackEventQueue(self._inbox)

    def _create_connection(self) -> HubConnection:
        return HubConnection(TransportAdapter(self), self._inbox, {})

    def _create_dispatcher(self) -> FtrackDispatcher:
        return FtrackDispatcher(self._subscriber_added, self._subscriber_removed, self.logger)

    @property
    def id(self) -> str:
        """The source id of the events that the hub publishes."""
        return self._id

    @id.setter
    def id(self, value: str) -> None:
        self._id = value
        if "_publisher" in self.__dict__:
            self._publisher.hub_id = value

    @property
    def _subscribers(self) -> list[Any]:
        """The subscribers in order of subscribing, the hub's own first; changes of the list are applied."""
        members = sorted(self._dispatcher.members, key=lambda member: member.id != self.id)
        return ObservedList(members, partial(self._change_subscribers, members))

    @_subscribers.setter
    def _subscribers(self, members: Iterable[Any]) -> None:
        self._change_subscribers(self._dispatcher.members, members)

    def _change_subscribers(self, before: list[Any], after: Iterable[Any]) -> None:
        """Apply only the difference: a list that a program holds lacks those who subscribed since."""
        wanted = {id(member): member for member in after}
        removed = [member for member in before if id(member) not in wanted]
        added = [member for key, member in wanted.items() if key not in {*map(id, before)}]
        before[:] = wanted.values()
        for member in removed:
            if self._dispatcher.get(member.id) is member:
                self._dispatcher.unsubscribe(member.id)
        for member in added:
            self._dispatcher.add(member)

    def get_server_url(self) -> str:
        return f"{self.server.scheme}://{self.get_network_location()}"

    def get_network_location(self) -> str:
        return f"{self.server.hostname}:{self.server.port}" if self.server.port else self.server.hostname

    @property
    def secure(self) -> bool:
        return self.server.scheme == "https"

    def close(self, timeout: float = CLOSE_TIMEOUT_S) -> None:
        self._stop_reconnecting.set()
        super().close(timeout)

    def forked(self) -> None:
        self._drop_connection()
        self._reset_unsent()
        super().forked()

    def wait(self, duration: float | None = None) -> None:
        """Handle events for `duration` seconds, or until the hub is disconnected.

        As in ftrack's hub, it waits at least 0.1 s for an event, and handles a waiting event even if the duration is 0.
        """
        if not self._connection_initialised and not self._inbox.ready:
            raise exception.EventHubConnectionError(
                "Event hub does not have a connection to the event server and will therefore only be able to receive "
                "syncronous events. Call connect() first, or create the session with auto_connect_event_hub=True."
            )
        if not self.is_running:
            self._runner.wait(duration, _TICK_S)
            return
        # Another thread runs the hub already, or a callback waits: ftrack allows both.
        end = None if duration is None else monotonic() + duration
        while self._inbox.open:
            try:
                event = self._event_queue.get(timeout=_TICK_S)
            except queue.Empty:
                pass
            else:
                disconnected = self._inbox.own and event["topic"] == DISCONNECTED_TOPIC
                self._handle(event)
                if disconnected:
                    return
            if end is not None and monotonic() > end:
                return

    def handle(self, item: AnyEvent | Delivery, run: Run, turn: TimeSlice) -> None:
        if not isinstance(item, AnyEvent):
            self._dispatcher.dispatch(item.event, self._answer, run, turn, item)
            return
        before, self._run, self._turn = (self._run, self._turn), run, turn
        try:
            self._handle(item)
        finally:
            self._run, self._turn = before

    async def handle_async(self, item: AnyEvent | Delivery, turn: TimeSlice) -> None:
        if not isinstance(item, AnyEvent):
            await self._dispatcher.dispatch_async(item.event, self._answer, turn, item)
            return
        if type(self)._handle is not EventHub._handle:
            self._handle(item)
            return
        self._emit_event(item, turn)
        await self._dispatcher.dispatch_async(item, self._answer, turn)

    def _handle(self, event: Any, synchronous: bool = False) -> list[Any] | None:
        """Dispatch an event; return the results of callbacks that succeeded, None if the target cannot be parsed."""
        ours = Event.of(event)
        target = ours.get("target")
        if target:
            try:
                as_tree(target, Dialect.FTRACK)
            except errors.ExpressionError:
                message = "Cannot handle event as failed to parse event target information: %s"
                self.logger.exception(message, Shortened(event))
                return None
        # The time slice applies to this event only; events that its callbacks handle run to completion.
        turn, self._turn = self._turn, None
        self.events.on_next(ours)
        delivery = self._dispatcher.dispatch(ours, None if synchronous else self._answer, self._run, turn)
        if delivery.stopped_by is not None:
            message = "Subscriber %s stopped event %s. Will not process subsequent subscriber callbacks for this event."
            self.logger.debug(message, Shortened(delivery.stopped_by), Shortened(event))
            if ours is not event:
                event.stop()
        return delivery.results

    def _answer(self, event: AnyEvent, subscriber: AnySubscriber, result: Any) -> None:
        try:
            self.publish_reply(event, data=result, source=subscriber.metadata)
        except Exception:
            message = "Error publishing response %s from subscriber %s for event %s."
            self.logger.exception(message, Shortened(result), Shortened(subscriber), Shortened(event))

    def _handle_reply(self, event: AnyEvent) -> Any:
        return self._publisher.replies.handle(event)

    def _subscriber_added(self, subscriber: AnySubscriber) -> None:
        if not isinstance(subscriber, Subscriber):
            # A pipeline of hub.on(): subscribe() did not announce it.
            self._notify_server_about_subscriber(subscriber)

    def _subscriber_removed(self, subscriber: AnySubscriber) -> None:
        super()._subscriber_removed(subscriber)
        if isinstance(subscriber, Subscriber):
            self._notify_server_of_leave(subscriber)
        else:
            # A finalizer can dispose of a pipeline while this thread sends, so this runs later.
            self._inbox.call_soon(Action(partial(self._notify_server_of_leave, subscriber)))


def _mapping(mapping: Any) -> dict[str, str]:
    if not isinstance(mapping, Mapping):
        raise TypeError(f"Expected mapping, got {mapping!r}.")
    return dict(cast("Mapping[str, str]", mapping))
