"""Publishing: sends events and passes replies to their listeners."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, cast
from weakref import WeakKeyDictionary

from reactivex.disposable import Disposable

from rxhub.concurrency.awaitables import check_was_run, is_unfinished
from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.event_loop import check_asyncio
from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.dispatching.subscriber import Subscriber
from rxhub.errors import EventError, HubClosed, HubConnectionError, NotHandledWarning, NotUniqueError, Overflow
from rxhub.event import Event
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Inbox
from rxhub.hub.replies import Replies, address
from rxhub.hub.runner import Runner
from rxhub.telemetry import counts, tracing
from rxhub.telemetry.log_fields import event_fields
from rxhub.text.caller_warning import warn_caller
from rxhub.transport.finite_numbers import check_finite
from rxhub.transport.io_thread import in_io_thread

__all__ = ["Publisher", "check_event", "hub_source"]

REPLY = "ftrack.meta.reply"
# How often `apublish` checks whether a full inbox or outbox has room.
_MIN_POLL_S, _MAX_POLL_S = 0.001, 0.02

logger = logging.getLogger("rxhub")


class Publisher:
    """Sends a hub's events, and passes replies to their listeners (`replies`).

    The policy of the inbox applies to the outbox too. The dispatcher gets a subscriber to replies on first use.
    """

    def __init__(
        self,
        hub_id: str,
        api_user: str | None,
        connection: HubConnection,
        inbox: Inbox,
        runner: Runner,
        dispatcher: Dispatcher,
    ) -> None:
        self.replies = Replies(now=inbox.now)
        self.hub_id = hub_id
        self._api_user = api_user
        self.connection = connection
        self.inbox = inbox
        self.runner = runner
        self._dispatcher = dispatcher
        self._warned = False
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def publish(self, event: Event, on_reply: Callable[[Event], object] | None = None) -> Future[None]:
        self._check(event)
        if on_reply is None:
            return self._send(event)
        listening = self.listen(event.id, on_reply)
        try:
            return self._send(event)
        except BaseException:
            listening.dispose()
            raise

    async def apublish(self, event: Event) -> None:
        check_asyncio("hub.apublish()")
        await asyncio.wrap_future(await self.offer(event))

    def forward(self, event: Event) -> Future[None]:
        self._check(event, own=False)
        return self._send(event, is_forwarded=True)

    def reply(self, source_event: Event, data: Any, source: Mapping[str, Any] | None = None) -> None:
        if is_unfinished(data):
            raise EventError(
                f"Cannot reply to {source_event.topic} with {type(data).__name__}, whose result is still to come. "
                "Await it, or wait for it, and reply with the result."
            )
        asker = _origin(source_event).get("id")
        if asker is None:
            raise EventError(f"Cannot reply to {source_event.topic}: it has no source id.")
        reply = Event(REPLY, data=data, target=address(asker), in_reply_to_event=source_event.id)
        if source is not None:
            reply.source = dict(source)
        self.publish(reply)

    def answer(self, event: Event, subscriber: Subscriber, result: Any) -> None:
        """Publish a callback's result as a reply; errors are logged. A generator, which was not run, is a TypeError."""
        check_was_run(result)
        try:
            try:
                self.reply(event, result, subscriber.metadata)
            except EventError:
                # The metadata cannot be written as JSON; the server knows only the id either.
                self.reply(event, result, {"id": subscriber.id})
        except Exception as error:
            message = "The reply of %s to %s could not be published: %s"
            logger.error(message, subscriber, event.topic, error, extra=event_fields(event))

    def prepare(self, event: Event) -> None:
        """Set the missing fields of the source, as ftrack's hub does."""
        fields = _checked(event)
        source: MutableMapping[str, Any] | None = fields.get("source")
        if not isinstance(source, (dict, MutableMapping)):
            event.source = source = dict(_origin(event))
        for key, value in hub_source(self.hub_id, self._api_user).items():
            source.setdefault(key, value)

    def check_open(self) -> None:
        if not self.inbox.open:
            raise HubClosed("The hub was closed. Create a new one.")

    def forked(self) -> None:
        self._warned = False

    def _check(self, event: Event, own: bool = True) -> None:
        """Check and prepare an event of this hub, or (`own=False`) of another one."""
        self.check_open()
        if own:
            self.prepare(event)
        else:
            _checked(event)
        check_finite(event.fields)
        if not self.connection.accepts:
            # Another thread may have closed the hub.
            self.check_open()
            raise HubConnectionError(
                f"Cannot publish {event.topic} as {self.connection.why_not}, or publish(synchronous=True)."
            )
        if not self._warned and not self.connection.is_remote and not self.runner.claimed_by:
            self._warned = True
            warn_caller(
                "An event was published on a hub that is not running; it waits until the hub runs. "
                "Call hub.start(), hub.wait(), hub.drain() or `await hub.run()`.",
                NotHandledWarning,
            )

    def _offer(self, event: Event) -> Future[None] | None:
        """Pass an event to the transport; None if it is full and the policy is to wait."""
        sent = self.connection.transport.send(event)
        if not sent.done() or (error := sent.exception()) is None:
            if (counting := counts.active) is not None:
                counting.publish(event, sent)
            return sent
        # Another thread may have closed the hub, which is a better error.
        self.check_open()
        if self.inbox.policy == "block" and isinstance(error, Overflow):
            return None
        if (counting := counts.active) is not None and isinstance(error, Overflow):
            counting.refused.add(event.topic)
        raise error

    async def offer(self, event: Event) -> Future[None]:
        """Pass an event to the transport, as soon as it has room."""
        self._check(event)
        if tracing.active is None or (span := tracing.active.publish(event, self.hub_id)) is None:
            return await self._offer_until_taken(event)
        try:
            sent = await self._offer_until_taken(event)
        except BaseException as error:
            span.end(error)
            raise
        span.end_with(sent)
        return sent

    async def _offer_until_taken(self, event: Event) -> Future[None]:
        sent = self._offer(event)
        if sent is not None:
            return sent
        # One task of a loop polls at a time; no thread waits.
        async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            backoff = Backoff(_MIN_POLL_S, _MAX_POLL_S)
            while sent is None:
                if self._dispatcher.is_awaiting:
                    raise self._overflow()
                if not self.connection.is_remote:
                    self.runner.check_running("apublish")
                self.connection.retry()
                await asyncio.sleep(backoff.delay())
                sent = self._offer(event)
        return sent

    def _send(self, event: Event, is_forwarded: bool = False) -> Future[None]:
        if tracing.active is None or (span := tracing.active.publish(event, self.hub_id, is_forwarded)) is None:
            return self._send_when_taken(event)
        try:
            sent = self._send_when_taken(event)
        except BaseException as error:
            span.end(error)
            raise
        span.end_with(sent)
        return sent

    def _send_when_taken(self, event: Event) -> Future[None]:
        while (sent := self._offer(event)) is None:
            if self.runner.runs_here or in_io_thread():
                raise self._overflow()
            if not self.connection.wait_for_room(lambda: bool(self.runner.claimed_by)):
                self.runner.check_running("publish")
        return sent

    def _overflow(self) -> Overflow:
        return Overflow(
            f"The {'outbox' if self.connection.is_remote else 'inbox'} is full, and neither the handling context nor "
            "the I/O thread can wait for room in it. Publish less from callbacks, or create the hub with a larger one."
        )

    def hear_replies(self) -> None:
        if self._dispatcher.get(self.hub_id) is None:
            with suppress(NotUniqueError):  # another thread was first
                self._dispatcher.subscribe(f"topic={REPLY}", self.replies.handle, {"id": self.hub_id})

    def listen(self, event_id: str, listener: Callable[[Event], object], own_end: bool = False) -> Disposable:
        self.hear_replies()
        return self.replies.listen(event_id, listener, own_end)


_HOST = socket.gethostname()


def hub_source(hub_id: str, api_user: str | None) -> dict[str, Any]:
    """The source of events of a hub."""
    return {"id": hub_id, "user": {"username": api_user}, "host": _HOST}


def _origin(event: Event) -> Mapping[str, Any]:
    """The source of an event; empty if it has none."""
    source = event.get("source")
    return cast("Mapping[str, Any]", source) if isinstance(source, Mapping) else {}


def check_event(event: Event) -> None:
    """Raise TypeError if it is not an Event."""
    if not isinstance(event, Event):  # pyright: ignore[reportUnnecessaryIsInstance]
        found = type(cast("object", event)).__name__
        raise TypeError(f"An rxhub Event is needed, but {found} was given: publish(Event(topic, data={{…}})).")


def _checked(event: Event) -> dict[str, Any]:
    """The fields of an event with a valid topic."""
    check_event(event)
    fields = event.fields
    if not isinstance(fields.get("topic"), str):
        raise EventError(f"An event needs a string as its topic, but {fields.get('topic')!r} was found.")
    if not fields["topic"].strip():
        raise EventError(f"An event needs a topic such as studio.hello, but {fields['topic']!r} was found.")
    return fields
