"""Published events that the server has not accepted yet: bounded, in order, sent again until acknowledged.

After a disconnect, the events in flight are sent again before the waiting ones, in order and under the same event ids.
Receivers recognise the second copy by its id and by its `sent`, which is then set. Two rules keep a misbehaving server
from holding events forever:

- If a server has acknowledged nothing on a connection, an event counts as accepted when something was received
  `ACK_TIMEOUT_S` after it was sent, which shows that the connection was alive.
- An event that was the first in flight at `MAX_DISCONNECTS` disconnects in a row caused them, and fails. If the server
  said that a message was too large, it was the largest.

Any thread may call `put`; all other methods are called on the I/O loop.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from rxhub.concurrency.fork import ForkSafeCondition
from rxhub.concurrency.wakeup import Wakeup
from rxhub.errors import HubConnectionError, Overflow

__all__ = ["ACK_TIMEOUT_S", "MAX_DISCONNECTS", "Outbox", "PendingPublish"]

ACK_TIMEOUT_S = 10.0  # when an event counts as accepted by a server that acknowledges nothing
MAX_DISCONNECTS = 5  # how often in a row an event may be the first in flight at a disconnect
_MAX_CHARACTERS = 64 * 1024 * 1024

logger = logging.getLogger("rxhub")


class _UncancellableFuture(Future[None]):
    """What was sent cannot be called back."""

    def cancel(self) -> bool:
        return False


@dataclass(slots=True, eq=False)
class PendingPublish:
    """An event to send."""

    topic: str  # for messages
    argument: str  # the event as JSON
    # Done when the server has accepted the event, or holds the error.
    accepted: Future[None] = field(default_factory=_UncancellableFuture, init=False)
    breaks: int = field(default=0, init=False)  # at how many disconnects in a row it was the first in flight
    resent: bool = field(default=False, init=False)  # an earlier copy may have reached the server
    written: float = field(default=0.0, init=False)  # when it was sent last, by the monotonic clock
    first: float = field(default=0.0, init=False)  # when it was sent first; 0 if it was not

    def resolve(self, error: Exception | None = None) -> None:
        """Complete the future, with an error if there is one.

        Callbacks of users run here. A `SystemExit` in one passes through `Future`, and would end the I/O thread.
        """
        try:
            if error is None:
                self.accepted.set_result(None)
            else:
                self.accepted.set_exception(error)
        except BaseException as raised:
            logger.error("A callback of the future of %s raised %r, which was ignored.", self.topic, raised)


class Outbox:
    """The pending events of one transport, initially closed."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"An outbox needs a capacity of at least 1, but {capacity} was given.")
        self.capacity = capacity
        self.refused = 0  # the number of events refused with `Overflow` so far
        self.wakeup = Wakeup()  # set when there may be something to send
        self._closed = True
        self._waiting: deque[PendingPublish] = deque()
        self._in_flight: dict[int, PendingPublish] = {}
        self._count = 0
        self._characters = 0
        self._wanted = 0
        self._changed = ForkSafeCondition(self)

    def __len__(self) -> int:
        """The number of events not accepted yet."""
        return self._count

    def __getitem__(self, number: int) -> PendingPublish | None:
        """The event in flight under a packet number, if there is one."""
        return self._in_flight.get(number)

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def in_flight(self) -> bool:
        return bool(self._in_flight)

    @property
    def publishes_in_flight(self) -> list[PendingPublish]:
        """The events in flight, in the order of sending."""
        return list(self._in_flight.values())

    @property
    def oldest_in_flight(self) -> PendingPublish | None:
        """The event in flight that was sent first."""
        return next(iter(self._in_flight.values()), None)

    def open(self) -> None:
        self._closed = False

    def put(self, publish: PendingPublish) -> None:
        """Add an event. Raises Overflow if there is no room, HubConnectionError if the outbox is closed."""
        size = len(publish.argument)
        with self._changed:
            if self._closed:
                raise HubConnectionError("The hub was disconnected; call connect().")
            if self._is_full(size):
                self.refused += 1
                self._wanted = size
                raise Overflow(
                    f"{self._count} events wait to be accepted by the server, and the full outbox refused "
                    f"{publish.topic}. Publish again when the server is back or has caught up, or create the hub with "
                    'a larger outbox=… or with overflow="block", which lets publishers wait.'
                )
            self._count += 1
            self._characters += size
            self._waiting.append(publish)
        self.wakeup.set()

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until the event refused last may be added, or the outbox is closed; False after `timeout` seconds."""
        with self._changed:
            self.refused -= 1  # it is added again
            return self._changed.wait_for(lambda: self._closed or not self._is_full(self._wanted), timeout)

    def take(self) -> PendingPublish | None:
        """Remove and return the next event to send, or None."""
        return self._waiting.popleft() if self._waiting else None

    def wrote(self, publish: PendingPublish, number: int, now: float) -> None:
        """The event is in flight under a packet number."""
        publish.written = now
        publish.first = publish.first or now
        self._in_flight[number] = publish

    def acknowledged(self, number: int) -> PendingPublish | None:
        """Remove and return the event in flight under a packet number, or None."""
        publish = self._in_flight.pop(number, None)
        if publish is not None:
            self._remove([publish])
        return publish

    def overdue(self, now: float) -> list[PendingPublish]:
        """Remove and return the events that count as accepted without an acknowledgement."""
        old: list[PendingPublish] = []
        for number, publish in list(self._in_flight.items()):
            if now - publish.written < ACK_TIMEOUT_S:
                break  # the others were sent later
            old.append(self._in_flight.pop(number))
        self._remove(old)
        return old

    def requeue_after_disconnect(self, too_large: bool = False) -> PendingPublish | None:
        """Send the events in flight again, except for the one that caused the disconnect, which is returned."""
        publishes = self._take_in_flight()
        if not publishes:
            return None
        publishes[0].breaks += 1
        culprit = None
        if too_large:
            culprit = max(publishes, key=lambda publish: len(publish.argument))
        elif publishes[0].breaks >= MAX_DISCONNECTS:
            culprit = publishes[0]
        if culprit is not None:
            publishes.remove(culprit)
            self._remove([culprit])
        self._requeue(publishes)
        return culprit

    def requeue_in_flight(self, before: float) -> list[PendingPublish]:
        """Send the events in flight again, except for those that were sent first before that time; the removed ones."""
        publishes = self._take_in_flight()
        late = [publish for publish in publishes if publish.first < before]
        self._remove(late)
        self._requeue([publish for publish in publishes if publish.first >= before])
        return late

    def close(self, error: HubConnectionError) -> None:
        """Accept no events until `open`; the pending ones fail."""
        with self._changed:
            self._closed = True
        self.fail_all(error)

    def fail_all(self, error: Exception) -> None:
        """Remove all events; their futures hold `error`."""
        publishes = self._take_in_flight()
        with self._changed:
            publishes += self._waiting
            self._waiting.clear()
        self._remove(publishes)
        for publish in publishes:
            publish.resolve(error)

    def after_fork(self) -> None:
        """Be empty: the parent sends the events."""
        self._waiting.clear()
        self._in_flight.clear()
        self._count = self._characters = 0
        self.wakeup = Wakeup()

    def _take_in_flight(self) -> list[PendingPublish]:
        publishes = self.publishes_in_flight
        self._in_flight.clear()
        return publishes

    def _requeue(self, publishes: list[PendingPublish]) -> None:
        for publish in publishes:
            publish.resent = True
        self._waiting.extendleft(reversed(publishes))

    def _is_full(self, size: int) -> bool:
        # A single event always fits.
        return self._count > 0 and (self._count >= self.capacity or self._characters + size > _MAX_CHARACTERS)

    def _remove(self, publishes: list[PendingPublish]) -> None:
        if publishes:
            with self._changed:
                self._count -= len(publishes)
                self._characters -= sum([len(publish.argument) for publish in publishes])
                self._changed.notify_all()
