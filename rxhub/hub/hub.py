"""The hub as users hold it: its parts, made and put together, and what becomes of one event."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from os import urandom
from typing import TYPE_CHECKING

from rxhub.concurrency.flag import Flag
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.dispatching.delivery import Delivery
from rxhub.dispatching.dispatcher import Dispatcher, Run, Subscriber
from rxhub.dispatching.pipeline import Pipeline
from rxhub.dispatching.time_slice import TimeSlice
from rxhub.event import Event
from rxhub.hub.attaching import Attaching
from rxhub.hub.connecting import Connecting
from rxhub.hub.connection import HubConnection
from rxhub.hub.groups import Groups
from rxhub.hub.history import History
from rxhub.hub.inbox import Action, Inbox
from rxhub.hub.life import Life
from rxhub.hub.process_hooks import watch
from rxhub.hub.publisher import Publisher, identity
from rxhub.hub.publishing import Publishing
from rxhub.hub.runner import Runner
from rxhub.hub.scheduler import HubScheduler
from rxhub.hub.subscribing import Subscribing
from rxhub.rx.awaitable import with_runner_status
from rxhub.rx.scoped_subject import ScopedSubject
from rxhub.text.displayable import Displayable
from rxhub.text.printable import printable

if TYPE_CHECKING:
    from rxhub.hub.description import Description

__all__ = ["EventHub"]


class EventHub(Connecting, Subscribing, Publishing, Groups, History, Attaching, Life, Displayable):
    """Routes events to subscribers in order of priority, and lets them stop, reply and compose.

    Args:
        server_url: the scheme chooses the transport. `memory://` is a hub of this process alone, on
            `memory://name` all hubs of the process under that name see each other's events; `http://` and
            `https://` lead to an event server as ftrack has it. `nats://` (or `tls://`) stores every event in a
            stream of NATS JetStream, from which hubs read it; `nats://one,two,three` names the servers of a cluster.
        api_user: who publishes; becomes `source.user.username` of published events.
        api_key: the user's key, for transports that authenticate.
        headers: further headers, for transports that have them.
        cookies: further cookies, likewise.
        inbox: how many events may wait for being handled.
        overflow: what happens to one more: "error" (the publisher gets `Overflow`), "drop-oldest",
            "drop-newest", "latest" (keep the newest alone) or "block" (the publisher waits, and what comes over
            the network is not read until there is room).
        outbox: how many published events may wait for being accepted by a server. One more gets `Overflow`, or
            waits if `overflow` is "block".
        stream: of NATS JetStream, in which events are stored: letters, digits, `-` and `_`. "events" if it is not
            given. For `nats://` alone.

    Attributes:
        id: of this hub; becomes `source.id` of published events, so that replies find back.
        events: every event, before any handler.
        scheduler: a reactivex scheduler on the handling context.

    Raises:
        ValueError: if the URL has no scheme that rxhub knows, or an option is out of range.
        TypeError: if headers or cookies are no mappings.
    """

    # All that knows of time, for a hub on another: rxhub.testing's.
    _Inbox = Inbox
    _Runner = Runner
    _Scheduler = HubScheduler

    def __init__(
        self,
        server_url: str = "memory://",
        api_user: str | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        *,
        inbox: int = 100_000,
        overflow: str = "error",
        outbox: int = 100_000,
        stream: str | None = None,
    ) -> None:
        for name, value in (("headers", headers), ("cookies", cookies)):
            if value is not None and not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"Expected mapping for {name}, got {value!r}.")
        self.id = urandom(16).hex()
        self._stream = stream
        self._inbox = self._Inbox(inbox, overflow)
        self._link = self._new_link(server_url, api_user, api_key, headers, cookies, outbox)
        self._dispatcher = self._new_dispatcher()
        self._runner = self._Runner(self._inbox, self, self._finish)
        self._removed = deque()
        self._lock = ForkSafeLock()
        self._reconnecting = ForkSafeLock()
        self._closing = Flag()
        self._plugins = None
        self._bridges = {}
        self._processings = set()
        self.events = with_runner_status(ScopedSubject[Event](serialize=True), self._runner)
        for observable in (self._dispatcher.deliveries, self._dispatcher.errors):
            with_runner_status(observable, self._runner)
        self.scheduler = self._Scheduler(self._inbox)
        self._publisher = Publisher(
            self.id, api_user, self._link, self._inbox, self._runner, self._dispatcher, self.scheduler
        )
        watch(self)

    # What a hub with another face makes otherwise (rxhub.compat)

    def _new_link(
        self,
        server_url: str,
        api_user: str | None,
        api_key: str | None,
        headers: Mapping[str, str] | None,
        cookies: Mapping[str, str] | None,
        outbox: int,
    ) -> HubConnection:
        who = identity(self.id, api_user)
        return HubConnection(server_url, self._inbox, who, api_user, api_key, headers, cookies, outbox, self._stream)

    def _new_dispatcher(self) -> Dispatcher:
        return Dispatcher(self._joined, self._left)

    # What it shows of itself

    def __repr__(self) -> str:
        handled = f"handled by {self._runner.claimed_by}" if self.is_running else "not handled"
        state = self._link.state
        return printable(f"<EventHub {self.get_server_url()} {state}, {len(self._dispatcher)} subscribers, {handled}>")

    def describe(self) -> Description:
        """Who is connected: the subscribers in dispatch order, the receivers of all signals, the plugins.

        Printed, it is a table of each.
        """
        from rxhub.hub.description import Description, living

        plugins = () if self._plugins is None else self._plugins.report()
        return Description(repr(self), self._dispatcher.subscribers, living(), tuple(plugins))

    # What handling does with one event (rxhub.hub.runner.Handler)

    def handle(self, item: Event | Delivery, run: Run, turn: TimeSlice) -> None:
        """Run one event through observers and subscribers; called by the handling context."""
        if isinstance(item, Event):
            self._show(item, turn)
            self._dispatcher.dispatch(item, self._publisher.answer, run, turn)
        else:
            self._dispatcher.dispatch(item.event, self._publisher.answer, run, turn, item)

    async def handle_async(self, item: Event | Delivery, turn: TimeSlice) -> None:
        """As `handle`, on the running loop; called by the handling context."""
        if isinstance(item, Event):
            self._show(item, turn)
            await self._dispatcher.dispatch_async(item, self._publisher.answer, turn)
        else:
            await self._dispatcher.dispatch_async(item.event, self._publisher.answer, turn, item)

    def _show(self, event: Event, turn: TimeSlice) -> None:
        """Give the event to those who observe all events."""
        try:
            self.events.on_next(event)
        except BaseException:
            # Ctrl-C in an observer: the subscribers get the event from the next context.
            turn.hand_back(self._dispatcher.undelivered(event))
            raise

    # What the dispatcher tells

    def _joined(self, subscriber: Subscriber) -> None:
        self._link.transport.add_subscription(subscriber.id, subscriber.expression, subscriber.metadata)

    def _left(self, subscriber: Subscriber) -> None:
        self._link.transport.remove_subscription(subscriber.id)
        pipeline = subscriber.callback
        if isinstance(pipeline, Pipeline) and not pipeline.disposed:
            # Removed by its id: its observer would wait for ever.
            self._removed.append(pipeline)
            self._inbox.call_soon(Action(self._complete_removed))
