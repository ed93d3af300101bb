"""The publishing half of ftrack's hub: what goes out, and what is kept until it has.

Two things are kept until they are over. An event that was published while there was no way to the server waits in
`_event_send_queue`; one that was sent waits in `_unacknowledged` for its acknowledgement. A connection that comes about
announces all subscribers, then sends both, in order, with the same ids: what a broken connection has swallowed is sent
again, and may thus arrive twice, but is not lost.
"""

from __future__ import annotations

import platform
import queue
import threading
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from reactivex.disposable import Disposable

from rxhub import errors
from rxhub.compat.ftrack import exception
from rxhub.compat.ftrack.base import Event
from rxhub.compat.ftrack.packets import Packets
from rxhub.compat.ftrack.shortened import Brief
from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.hub.publisher import REPLY, Publisher
from rxhub.hub.replies import address
from rxhub.transport.outbox import MAX_DISCONNECTS

__all__ = ["Sending"]

_MOST_UNSENT = 10_000
_MOST_UNACKNOWLEDGED = 10_000

_numbers = count()
_META = frozenset({"ftrack.meta.subscribe", "ftrack.meta.unsubscribe"})


class Sending(Packets):
    """The methods of ftrack's hub that publish."""

    _publisher: Publisher
    _connection_initialised: bool

    def __init__(self) -> None:
        super().__init__()
        self._event_namespace = "ftrack.event"
        self._forget_unsent()

    def _forget_unsent(self) -> None:
        self._event_send_queue: queue.Queue[_Item] = _SendQueue(_MOST_UNSENT)
        self._unacknowledged = BoundedDict[int, _Item](_MOST_UNACKNOWLEDGED)
        self._flushing = threading.Lock()

    if TYPE_CHECKING:  # what the rest of the hub brings

        @property
        def id(self) -> str: ...
        def _handle(self, event: Any, synchronous: bool = False) -> list[Any] | None: ...

    @property
    def unsent(self) -> int:
        """How many published events the server has not accepted yet."""
        return len(self._unacknowledged) + self._event_send_queue.qsize()

    def publish(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        event: Any,
        synchronous: bool = False,
        on_reply: Callable[[Any], object] | None = None,
        on_error: str = "raise",
    ) -> Any:
        """Publish an event.

        Args:
            event: its source is filled in.
            synchronous: run the subscribers of this hub here and now, and send nothing.
            on_reply: called with each reply, where the hub is handled.
            on_error: "ignore" has whatever goes wrong ignored.

        Returns:
            The results, if synchronous; True if the event waits for the connection; else None.

        Raises:
            EventHubConnectionError: if the hub is not connected and not about to be.
            EventSizeError: if the event has more characters, as JSON, than can be sent.
            Overflow: if 10,000 events wait for the connection already.
        """
        try:
            return self._publish(event, synchronous=synchronous, on_reply=on_reply)
        except Exception:
            if on_error != "ignore":
                raise
        return None

    def publish_reply(self, source_event: Any, data: Any, source: Mapping[str, Any] | None = None) -> None:
        """Answer an event, with `data` and perhaps a `source` of its own."""
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
            # A copy: what is filled in is not for the subscriber's own metadata.
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
        if synchronous:
            return self._handle(event, synchronous=synchronous)
        item = _Item(event, synchronous, callback, on_reply)
        if self.connected:
            if event["topic"] in _META or not self._event_send_queue.qsize():
                self._emit(item, raises=True)
                return None
            # Others wait to be sent; they were first.
            self._queue_up(item)
            self._flush()
            return True
        if event["topic"] in _META:
            # All subscribers are announced when there is a connection.
            return None
        if not self._connection_initialised:
            raise exception.EventHubConnectionError("Cannot publish event asynchronously as not connected to server.")
        self._queue_up(item)
        self.logger.debug("Connection is still initializing, adding message to queue")
        return True

    def _queue_up(self, item: _Item) -> None:
        self._check_size_before(item.event)
        try:
            self._event_send_queue.put_nowait(item)
        except queue.Full:
            raise errors.Overflow(
                f"{_MOST_UNSENT} events wait for the connection to {self.get_server_url()}, and {item.event['topic']} "
                "found no room. Publish again when it stands."
            ) from None

    def _check_size_before(self, event: Any) -> None:
        """Refuse an event that could never be sent; what cannot be written at all is logged when it is its turn."""
        try:
            data = self._encode({"name": self._event_namespace, "args": [event]})
        except Exception:
            return
        self._check_size(data, event["topic"])

    def _flush(self) -> None:
        """Send what waits. Who finds another thread at it leaves, since that looks again before it goes."""
        while self.connected and self._event_send_queue.qsize() and self._flushing.acquire(blocking=False):
            try:
                while self.connected:
                    self._emit(self._event_send_queue.get_nowait())
            except queue.Empty:
                pass
            finally:
                self._flushing.release()

    def _resend(self) -> None:
        """Send again what no server has acknowledged."""
        with self._lock:
            items = list(self._unacknowledged.values())
            self._unacknowledged.clear()
        for place, item in enumerate(items):
            breaks = item.breaks + (not place)
            if breaks >= MAX_DISCONNECTS:
                self.logger.error(
                    "Event %s is given up: the connection broke %d times on it.", Brief(item.event), breaks
                )
                continue
            # By the time that it bears, who gets it twice knows the second for a copy.
            # A copy has it: its publisher may publish the event once more, which is no second copy then.
            twin = Event.of(item.event).envelope()
            twin["sent"] = twin.get("sent") or datetime.now(UTC).isoformat()
            self._emit(item._replace(event=twin, breaks=breaks, on_reply=None))

    def _emit(self, item: _Item, raises: bool = False) -> None:
        """Send an event; if `raises`, one that is too large raises EventSizeError instead of being logged."""
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
            # It is sent again when there is another connection.
            self.logger.debug("Event %s could not be sent: %s", Brief(event), error)
        except Exception as error:
            self._unacknowledged.pop(number, None)
            if raises and isinstance(error, exception.EventSizeError) and event["topic"] not in _META:
                if listening is not None:
                    listening.dispose()
                raise
            self.logger.exception("Error sending event %s.", Brief(event))

    def _on_published(self, event: Any, response: Mapping[str, Any]) -> None:
        if response.get("success", False) is False:
            self.logger.error(
                "Server responded with error while publishing event %s. Error was: %s",
                Brief(event),
                Brief(response.get("message")),
            )


class _SendQueue(queue.Queue["_Item"]):
    """A queue that a signal handler may use while its thread is in the middle of using it."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.mutex = cast("threading.Lock", threading.RLock())
        self.not_empty = threading.Condition(self.mutex)
        self.not_full = threading.Condition(self.mutex)
        self.all_tasks_done = threading.Condition(self.mutex)


class _Item(NamedTuple):
    """What waits to be sent, or to be acknowledged: the arguments of `_publish`."""

    event: Any
    synchronous: bool
    callback: Callable[..., object] | None
    on_reply: Callable[[Any], object] | None
    breaks: int = 0
