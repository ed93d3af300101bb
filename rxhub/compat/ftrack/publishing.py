"""The publishing part of ftrack's hub.

Events that are published without a connection wait in `_event_send_queue`. Sent events stay in `_unacknowledged` until
the server acknowledges them. A new connection sends the unacknowledged and the waiting events in order with the same
ids. An event can therefore arrive twice, but is not lost.
"""

from __future__ import annotations

import platform
import queue
import threading
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from reactivex.disposable import Disposable

from rxhub import errors
from rxhub.compat.ftrack import exception
from rxhub.compat.ftrack.base import Event
from rxhub.compat.ftrack.packets import Packets
from rxhub.compat.ftrack.shortened import Shortened
from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.hub.publisher import REPLY, Publisher
from rxhub.hub.replies import address
from rxhub.telemetry import tracing
from rxhub.transport.outbox import MAX_DISCONNECTS

__all__ = ["Publishing"]

_MAX_UNSENT = 10_000
_MAX_UNACKNOWLEDGED = 10_000
_numbers = count()
_META = frozenset({"ftrack.meta.subscribe", "ftrack.meta.unsubscribe"})


class Publishing(Packets):
    """The methods of ftrack's hub that publish."""

    _publisher: Publisher
    _connection_initialised: bool

    def __init__(self) -> None:
        super().__init__()
        self._event_namespace = "ftrack.event"
        self._reset_unsent()

    def _reset_unsent(self) -> None:
        # Unlike a Queue, it can be used by a signal handler that interrupts its user.
        self._event_send_queue: queue.SimpleQueue[_Outgoing] = queue.SimpleQueue()
        self._unacknowledged = BoundedDict[int, _Outgoing](_MAX_UNACKNOWLEDGED)
        self._flushing = threading.Lock()

    @property
    def unsent(self) -> int:
        return len(self._unacknowledged) + self._event_send_queue.qsize()

    def publish(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        event: Any,
        synchronous: bool = False,
        on_reply: Callable[[Any], object] | None = None,
        on_error: str = "raise",
    ) -> Any:
        """Publish an event; the hub fills in its source.

        Args:
            event: the event.
            synchronous: call the subscribers of this hub in this thread, and send nothing.
            on_reply: called with each reply in the handling context.
            on_error: "ignore" suppresses errors.

        Returns:
            The results if synchronous; True if the event waits for the connection; otherwise None.

        Raises:
            EventHubConnectionError: if the hub is not connected and `init_connection` was not called.
            EventSizeError: if the event as JSON has too many characters.
            Overflow: if 10,000 events already wait for the connection.
        """
        try:
            return self._publish(event, synchronous=synchronous, on_reply=on_reply)
        except Exception:
            if on_error != "ignore":
                raise
        return None

    def publish_reply(self, source_event: Any, data: Any, source: Mapping[str, Any] | None = None) -> None:
        """Reply to an event with `data`; `source` replaces the hub's own."""
        reply = Event(REPLY, data=data)
        self._prepare_reply_event(reply, source_event, source=source)
        self.publish(reply)

    def _prepare_event(self, event: Any) -> None:
        source: MutableMapping[str, Any] = event["source"]
        source.setdefault("id", self.id)
        source.setdefault("user", {"username": self._api_user})
        source.setdefault("host", platform.node())

    def _prepare_reply_event(self, event: Any, source_event: Any, source: Mapping[str, Any] | None = None) -> None:
        event["target"] = address(source_event["source"]["id"])
        event["in_reply_to_event"] = source_event["id"]
        if source is not None:
            # A copy: the hub fills in fields that do not belong into the subscriber's metadata.
            event["source"] = dict(source)

    def _publish(
        self,
        event: Any,
        synchronous: bool = False,
        callback: Callable[..., object] | None = None,
        on_reply: Callable[[Any], object] | None = None,
    ) -> Any:
        self._publisher.check_open()
        self._prepare_event(event)
        if tracing.active is None or event["topic"] in _META:
            return self._publish_prepared(event, synchronous, callback, on_reply)
        span = tracing.active.publish(event, self.id)
        try:
            published = self._publish_prepared(event, synchronous, callback, on_reply)
        except BaseException as error:
            if span is not None:
                span.end(error)
            raise
        if span is not None:
            span.end()
        return published

    def _publish_prepared(
        self,
        event: Any,
        synchronous: bool,
        callback: Callable[..., object] | None,
        on_reply: Callable[[Any], object] | None,
    ) -> Any:
        if synchronous:
            return self._handle(event, synchronous=synchronous)
        item = _Outgoing(event, callback, on_reply)
        if self.connected:
            if event["topic"] in _META or not self._event_send_queue.qsize():
                self._emit(item, raises=True)
                return None
            # Keep the order: other events wait.
            self._enqueue(item)
            self._flush()
            return True
        if event["topic"] in _META:
            # connect() announces all subscribers.
            return None
        if not self._connection_initialised:
            raise exception.EventHubConnectionError("Cannot publish event asynchronously as not connected to server.")
        self._enqueue(item)
        self.logger.debug("Connection is still initializing, adding message to queue")
        return True

    def _enqueue(self, item: _Outgoing) -> None:
        try:
            data = self._encode({"name": self._event_namespace, "args": [item.event]})
        except Exception:
            data = ""  # logged when it is sent
        self._check_size(data, item.event["topic"])
        if self._event_send_queue.qsize() >= _MAX_UNSENT:
            raise errors.Overflow(
                f"{_MAX_UNSENT} events wait for the connection to {self.get_server_url()}, so {item.event['topic']} "
                "was refused. Publish it again when the hub is connected."
            )
        self._event_send_queue.put(item)

    def _flush(self) -> None:
        """Send waiting events. A thread that does so already checks again before it ends."""
        while self.connected and self._event_send_queue.qsize() and self._flushing.acquire(blocking=False):
            try:
                while self.connected:
                    self._emit(self._event_send_queue.get_nowait())
            except queue.Empty:
                pass
            finally:
                self._flushing.release()

    def _resend(self) -> None:
        """Send unacknowledged events again."""
        with self._lock:
            items = list(self._unacknowledged.values())
            self._unacknowledged.clear()
        for place, item in enumerate(items):
            breaks = item.breaks + (not place)
            if breaks >= MAX_DISCONNECTS:
                self.logger.error(
                    "Dropped event %s: the connection broke %d times while it was sent.", Shortened(item.event), breaks
                )
                continue
            # Receivers recognize a duplicate by `sent`. A copy of the event gets it, since the publisher may publish
            # the original once more.
            copy = Event.of(item.event).envelope()
            copy["sent"] = copy.get("sent") or datetime.now(UTC).isoformat()
            self._emit(item._replace(event=copy, breaks=breaks, on_reply=None))

    def _emit(self, item: _Outgoing, raises: bool = False) -> None:
        """Send an event. EventSizeError is raised if `raises`, else logged."""
        event, on_reply = item.event, item.on_reply
        callback = item.callback or partial(self._on_published, event)
        number = next(_numbers)

        def acknowledged(response: Mapping[str, Any]) -> None:
            self._unacknowledged.pop(number, None)
            callback(response)

        listening: Disposable | None = None
        try:
            if on_reply is not None:
                listening = self._publisher.replies.listen(event["id"], on_reply)
            if event["topic"] not in _META:
                with self._lock:
                    self._unacknowledged[number] = item
            self._emit_event_packet(self._event_namespace, event, callback=acknowledged)
        except exception.EventHubConnectionError as error:
            # The next connection sends it again.
            self.logger.debug("Event %s could not be sent: %s", Shortened(event), error)
        except Exception as error:
            self._unacknowledged.pop(number, None)
            if raises and isinstance(error, exception.EventSizeError) and event["topic"] not in _META:
                if listening is not None:
                    listening.dispose()
                raise
            self.logger.exception("Error sending event %s.", Shortened(event))

    def _on_published(self, event: Any, response: Mapping[str, Any]) -> None:
        if response.get("success", False) is False:
            message = "Server responded with error while publishing event %s. Error was: %s"
            self.logger.error(message, Shortened(event), Shortened(response.get("message")))


class _Outgoing(NamedTuple):
    """An unsent or unacknowledged event, with the arguments of `_publish`."""

    event: Any
    callback: Callable[..., object] | None
    on_reply: Callable[[Any], object] | None
    breaks: int = 0
