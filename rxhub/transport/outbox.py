"""What was published and not yet accepted by the server: bounded, in order, resent until acknowledged.

Theory of operation. A letter waits, is in flight once it was written, and leaves when the server acknowledges it. If
the connection breaks, what was in flight goes back before what waits, in the order in which it was published, and
is sent again under the same event id: at least once, in order. Whoever receives the second copy tells it by that id
(`rxhub.transport.socketio.deduplication`); so that it can, its `sent` is filled in.

Two rules keep an odd server from holding letters for ever:

- A server that has never acknowledged anything on this connection is not waited for. With it a letter counts as
  accepted when something was heard `ACK_TIMEOUT_S` seconds after it was written, which shows that the line was alive.
- A letter that was first in flight whenever the connection broke, `MAX_DISCONNECTS` times in a row, is what breaks it.
  It is given up, and its future says so. If the server says that a message was too large, it was the largest.

The bound counts letters and characters, waiting and in flight together. One letter more is refused with `Overflow`
and counted in `refused`: its publisher is told, and nothing that was taken in is lost. Anybody puts in; all the rest
happens in one thread, that of the loop.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future

from rxhub.concurrency.fork import ForkSafeCondition
from rxhub.concurrency.wakeup import Wakeup
from rxhub.errors import HubConnectionError, Overflow

__all__ = ["ACK_TIMEOUT_S", "MAX_DISCONNECTS", "Outbox", "PendingPublish"]

ACK_TIMEOUT_S = 10.0
"""Seconds after which a letter counts as accepted by a server that acknowledges nothing."""

MAX_DISCONNECTS = 5
"""How often in a row a letter may be the first in flight when the connection breaks."""

_MAX_CHARACTERS = 64 * 1024 * 1024


logger = logging.getLogger("rxhub")


class _Accepted(Future[None]):
    """Cannot be cancelled: what is on its way cannot be called back."""

    def cancel(self) -> bool:
        return False


class PendingPublish:
    """One event on its way out.

    Attributes:
        topic: of the event, for messages.
        argument: the event as JSON text.
        accepted: done when the server has accepted it, or holds why it did not; cannot be cancelled.
        breaks: how often it was first in flight when the connection broke.
        resent: it may have reached the server before.
        written: seconds of the monotonic clock when it was written last.
        first: the same of when it was first written; 0 if it was not.
    """

    __slots__ = ("accepted", "argument", "breaks", "first", "resent", "topic", "written")

    def __init__(self, topic: str, argument: str) -> None:
        self.topic = topic
        self.argument = argument
        self.accepted: Future[None] = _Accepted()
        self.breaks = 0
        self.resent = False
        self.written = self.first = 0.0

    def resolve(self, error: Exception | None = None) -> None:
        """Have the future done: accepted, or refused for this reason.

        Its callbacks are the user's, and run here. A `SystemExit` in one passes through `Future`, and would end the one
        thread in which all hubs of the process have their network.
        """
        try:
            if error is None:
                self.accepted.set_result(None)
            else:
                self.accepted.set_exception(error)
        except BaseException as raised:
            logger.error("A callback of the future of %s raised %r, which ends nothing.", self.topic, raised)


class Outbox:
    """The letters of one transport. It is closed until `open`.

    Args:
        capacity: how many letters there may be, waiting and in flight.

    Attributes:
        refused: how many found no room so far.
        wakeup: set when there may be something to send.

    Raises:
        ValueError: if the capacity is less than 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"An outbox needs a capacity of at least 1, but {capacity} was given.")
        self.capacity = capacity
        self.refused = 0
        self.wakeup = Wakeup()
        self._closed = True
        self._waiting: deque[PendingPublish] = deque()
        self._in_flight: dict[int, PendingPublish] = {}
        self._letters = 0
        self._characters = 0
        self._wanted = 0
        self._changed = ForkSafeCondition(self)

    def __len__(self) -> int:
        """How many letters have not been accepted."""
        return self._letters

    @property
    def waiting(self) -> bool:
        """Whether a letter has still to be written."""
        return bool(self._waiting)

    @property
    def in_flight(self) -> bool:
        """Whether a letter was written and is not yet accepted."""
        return bool(self._in_flight)

    def put(self, letter: PendingPublish) -> None:
        """Take a letter in.

        Raises:
            Overflow: if there is no room.
            HubConnectionError: if nothing is going to be sent.
        """
        size = len(letter.argument)
        with self._changed:
            if self._closed:
                raise HubConnectionError("The hub was disconnected; call connect().")
            if self._full(size):
                self.refused += 1
                self._wanted = size
                raise Overflow(
                    f"{self._letters} events wait to be accepted by the server, and the full outbox refused "
                    f"{letter.topic}. Publish again when the server is back or has caught up, or make the hub with a "
                    'larger outbox=… or with overflow="block", which lets publishers wait.'
                )
            self._letters += 1
            self._characters += size
            self._waiting.append(letter)
        self.ring()

    def ring(self) -> None:
        """Wake whoever waits for something to write."""
        self.wakeup.set()

    def open(self) -> None:
        """Take letters in again."""
        self._closed = False

    def wait_for_room(self, timeout: float) -> bool:
        """Sleep until there may be room, or nothing is taken in any more; False if `timeout` seconds have passed."""
        with self._changed:
            # Its publisher waits and puts it again: it is not lost.
            self.refused -= 1
            # For as much as was refused last: room for less would have its publisher try in vain, again and again.
            return self._changed.wait_for(lambda: self._closed or not self._full(self._wanted), timeout)

    def take(self) -> PendingPublish | None:
        """The next letter to write, or None."""
        return self._waiting.popleft() if self._waiting else None

    def wrote(self, letter: PendingPublish, number: int, now: float) -> None:
        """A letter that was taken is in flight under a packet's number."""
        letter.written = now
        letter.first = letter.first or now
        self._in_flight[number] = letter

    def __getitem__(self, number: int) -> PendingPublish | None:
        """The letter in flight under a packet's number, if there is one."""
        return self._in_flight.get(number)

    @property
    def publishes_in_flight(self) -> list[PendingPublish]:
        """In the order in which they were written last."""
        return list(self._in_flight.values())

    @property
    def oldest_in_flight(self) -> PendingPublish | None:
        """The letter in flight that was written before all others."""
        return next(iter(self._in_flight.values()), None)

    def acknowledged(self, number: int) -> PendingPublish | None:
        """Remove and return the letter that the server has answered; None if there is none of this number."""
        letter = self._in_flight.pop(number, None)
        if letter is not None:
            self._leave([letter])
        return letter

    def overdue(self, now: float) -> list[PendingPublish]:
        """Remove and return what was written so long ago that a server without acknowledgements must have it."""
        old: list[PendingPublish] = []
        for number, letter in list(self._in_flight.items()):
            if now - letter.written < ACK_TIMEOUT_S:
                break  # in order of writing
            old.append(self._in_flight.pop(number))
        self._leave(old)
        return old

    def requeue_after_disconnect(self, too_large: bool = False) -> PendingPublish | None:
        """The connection is gone: what was in flight waits again.

        Args:
            too_large: the server has said that this was why: something was too large for it.

        Returns:
            The letter that is given up, if any.
        """
        letters = self._landed()
        if not letters:
            return None
        letters[0].breaks += 1
        culprit = None
        if too_large:
            culprit = max(letters, key=lambda letter: len(letter.argument))
        elif letters[0].breaks >= MAX_DISCONNECTS:
            culprit = letters[0]
        if culprit is not None:
            letters.remove(culprit)
            self._leave([culprit])
        self._put_back(letters)
        return culprit

    def requeue_in_flight(self, before: float) -> list[PendingPublish]:
        """What is in flight waits again.

        Args:
            before: seconds of the monotonic clock; what was first written before then is given up instead.

        Returns:
            The letters that are given up.
        """
        letters = self._landed()
        late = [letter for letter in letters if letter.first < before]
        self._leave(late)
        self._put_back([letter for letter in letters if letter.first >= before])
        return late

    def close(self, error: HubConnectionError) -> None:
        """Nothing will be sent until `open`: every letter's future holds `error`."""
        with self._changed:
            self._closed = True
        self.fail_all(error)

    def fail_all(self, error: Exception) -> None:
        """Remove all letters, waiting and in flight; their futures hold `error`."""
        letters = list(self._in_flight.values())
        self._in_flight.clear()
        with self._changed:
            letters += self._waiting
            self._waiting.clear()
        self._leave(letters)
        for letter in letters:
            letter.resolve(error)

    def after_fork(self) -> None:
        """Be empty: the parent sends what waits."""
        self._waiting.clear()
        self._in_flight.clear()
        self._letters = self._characters = 0
        self.wakeup = Wakeup()

    def _landed(self) -> list[PendingPublish]:
        letters = list(self._in_flight.values())
        self._in_flight.clear()
        return letters

    def _put_back(self, letters: list[PendingPublish]) -> None:
        for letter in letters:
            letter.resent = True
        self._waiting.extendleft(reversed(letters))

    def _full(self, size: int) -> bool:
        """Whether a letter of so many characters finds no room; one alone always does, however long."""
        return self._letters > 0 and (self._letters >= self.capacity or self._characters + size > _MAX_CHARACTERS)

    def _leave(self, letters: list[PendingPublish]) -> None:
        if letters:
            with self._changed:
                self._letters -= len(letters)
                self._characters -= sum([len(letter.argument) for letter in letters])
                self._changed.notify_all()
