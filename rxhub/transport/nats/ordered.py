"""The events of a stream in order, each once: what hubs hear live, and what is replayed.

Theory of operation. The server is asked for a consumer that nobody acknowledges, in its memory, which numbers what it
sends. A number that is missing, a consumer that is gone or a line that broke all lead to the same: another consumer
is asked for, which begins behind the last event that was taken. So nothing is missed and nothing comes twice, whatever
breaks, as long as the stream still holds it.

The filters may change meanwhile. The stream's last sequence at that moment is the boundary: the old consumer is
read up to it, the new one begins behind it. So a filter that is added brings no history with it, one that goes takes
nothing with it that was under way, and the order stays. Whoever asks for a change is told when the boundary is
known (`settled`): what is stored after that will come. Boundaries are taken while the reader is still behind an earlier
one, since it may be held up by somebody who waits for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import nats.errors

from rxhub.transport.nats.cancelling import cancelled
from rxhub.transport.nats.line import Line
from rxhub.transport.nats.pulling import ConsumerGone, Message, Pulling
from rxhub.transport.nats.streams import last_sequence

__all__ = ["Ordered", "consumer"]

# Seconds after which the server forgets a consumer of a reader that is gone.
_FORGOTTEN = 60
_NANOSECONDS = 1_000_000_000

logger = logging.getLogger("rxhub")


class Ordered:
    """Reads a stream in order; a part of a link (`rxhub.transport.nats.link.Part`).

    Args:
        stream: which.
        take: called with each message. Whoever takes calls `done` when it may be followed by others.
        filters: the subjects to read; all of the stream's if it gives back none. Asked again after `change`.
        start: the sequence to begin behind, or an aware time to begin at; None is from now on.
        ahead: how many messages may be under way.

    Attributes:
        position: the sequence of the last message that was taken; everything before it that matches was taken too.
        promised: the filters by which comes whatever is stored from now on; None before the first are in force.
    """

    def __init__(
        self,
        stream: str,
        take: Callable[[Message], object],
        filters: Callable[[], Sequence[str]],
        *,
        start: int | datetime | None = None,
        ahead: int = 512,
    ) -> None:
        self.position: int | None = start if isinstance(start, int) else None
        self.promised: Sequence[str] | None = None
        self._since = start if isinstance(start, datetime) else None
        self._stream = stream
        self._give = take
        self._filters = filters
        self._ahead = ahead
        self._subjects: list[str] | None = None
        self._pulling: Pulling | None = None
        self._held = 0
        self._last_turn = 0
        # The filters to come, each with its boundary.
        self._plan: deque[tuple[int, list[str]]] = deque()
        self._planned = asyncio.Event()
        # The first filters are a change too: until they hold, nothing that is stored is sure to come.
        self._changes = 1
        self._settled = 0
        self._told = asyncio.Event()
        self._changed = asyncio.Event()

    def done(self, count: int = 1) -> None:
        """So many messages were dealt with."""
        self._held -= count
        if self._pulling is not None:
            self._pulling.done(count)

    def change(self) -> None:
        """Have the filters asked for again, and read by them from now on."""
        self._changes += 1
        self._changed.set()

    @property
    def is_settled(self) -> bool:
        """Whether what is stored from now on comes by the present filters."""
        return self._settled >= self._changes

    async def settled(self) -> None:
        """Wait until all changes that were asked for hold for whatever is stored from then on."""
        wanted = self._changes
        while self._settled < wanted:
            self._told.clear()
            await self._told.wait()

    async def run(self, line: Line) -> None:
        """Read until cancelled."""
        if self._subjects is None:
            await self._begin(line)
        else:
            await self._check(line)
        marking = asyncio.create_task(self._mark(line))
        going = asyncio.create_task(self._go_through(line))
        try:
            # Not by a TaskGroup, which cancels each task once; see `cancelled`.
            done, _ = await asyncio.wait([marking, going], return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            await cancelled(marking, going)

    async def _begin(self, line: Line) -> None:
        changes = self._changes
        self._changed.clear()
        subjects = list(self._filters())
        if self.position is None and self._since is None:
            self.position = await last_sequence(line, self._stream)
        self._subjects = subjects
        self._settle(changes, subjects)

    async def _check(self, line: Line) -> None:
        """See whether the stream is still the one of before the line broke."""
        last = await last_sequence(line, self._stream)
        if self.position is not None and last < self.position:
            logger.warning(
                "The stream %s ends at %d, but %d had been read: it was made anew, and is read from its beginning.",
                self._stream,
                last,
                self.position,
            )
            self.position = 0
            self._plan = deque([(0, subjects) for _, subjects in self._plan])

    async def _mark(self, line: Line) -> None:
        """For each change, take the present end of the stream for the boundary."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, subjects = self._changes, list(self._filters())
            if subjects != (self._plan[-1][1] if self._plan else self._subjects):
                try:
                    boundary = await last_sequence(line, self._stream)
                except BaseException:
                    self._changed.set()
                    raise
                self._plan.append((boundary, subjects))
                self._planned.set()
            self._settle(changes, subjects)

    def _settle(self, changes: int, subjects: Sequence[str]) -> None:
        self._settled, self.promised = changes, subjects
        self._told.set()

    async def _go_through(self, line: Line) -> None:
        while True:
            if not self._subjects:
                # Nobody wants anything.
                await self._planned.wait()
            elif not await self._read(line, self._subjects):
                continue  # where it was, by another consumer
            boundary, self._subjects = self._plan.popleft()
            if not self._plan:
                self._planned.clear()
            if self.position is None or self.position < boundary:
                self.position = boundary

    async def _read(self, line: Line, subjects: list[str]) -> bool:
        """Read up to the next boundary; False if another consumer is needed for that."""
        start = self._since if self.position is None else self.position
        name, _ = await consumer(line, self._stream, subjects, start)
        self._last_turn = 0
        self._pulling = pulling = Pulling(self._stream, name, self._take, ahead=self._ahead)
        # What the last consumer brought and is not dealt with is under way still.
        pulling.held = self._held
        reading = asyncio.create_task(pulling.run(line))
        drained = asyncio.create_task(self._drained(line, name))
        try:
            await asyncio.wait([reading, drained], return_when=asyncio.FIRST_COMPLETED)
            if drained.done():
                drained.result()
                return True
            reading.result()
        except ConsumerGone as error:
            logger.info("The stream %s is read by another consumer: %s", self._stream, error)
        finally:
            self._pulling = None
            await cancelled(reading, drained)
            # It would be forgotten by itself, a minute later.
            with suppress(nats.errors.Error, OSError):
                await line.client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}")
        return False

    async def _drained(self, line: Line, consumer: str) -> None:
        """Wait until there is a boundary and everything before it has come."""
        await self._planned.wait()
        while self.position is None or self.position < self._plan[0][0]:
            info = await line.ask(f"CONSUMER.INFO.{self._stream}.{consumer}")
            if not info["num_pending"] and info["delivered"]["consumer_seq"] <= self._last_turn:
                return
            await asyncio.sleep(0.005)

    def _take(self, message: Message) -> None:
        pulling = self._pulling
        if pulling is None:
            return
        if message.turn != self._last_turn + 1:
            pulling.fail(f"message {self._last_turn + 1} was expected, and {message.turn} came")
            return
        self._last_turn = message.turn
        if self._plan and message.sequence > (boundary := self._plan[0][0]):
            # The next consumer brings it; and before the boundary there is nothing more.
            self.position = max(boundary, self.position or 0)
            pulling.done()
            return
        self.position = message.sequence
        self._held += 1
        self._give(message)


async def consumer(
    line: Line, stream: str, subjects: Sequence[str], start: int | datetime | None = None
) -> tuple[str, int]:
    """Make a consumer that nobody acknowledges, and which the server forgets a minute after nobody reads it any more.

    Args:
        line: by which to ask.
        stream: which.
        subjects: to read, none of which overlap; all of the stream's if there are none.
        start: the sequence to begin behind, or an aware time to begin at; None is from now on.

    Returns:
        Its name, and how many messages there are for it.

    Raises:
        StreamError: if JetStream refuses it, as it does where there is no such stream.
        HubConnectionError: if nobody answers.
    """
    name = f"rxhub-{line.inbox().rpartition('.')[2]}"
    config: dict[str, Any] = {
        "name": name,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _FORGOTTEN * _NANOSECONDS,
    }
    if len(subjects) == 1:
        config["filter_subject"] = subjects[0]
    else:
        config["filter_subjects"] = list(subjects)
    if isinstance(start, int):
        config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": start + 1}
    elif start is not None:
        time = start.astimezone(UTC).isoformat().replace("+00:00", "Z")
        config |= {"deliver_policy": "by_start_time", "opt_start_time": time}
    else:
        config["deliver_policy"] = "new"
    told = await line.ask(
        f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config, "action": "create"}
    )
    return name, told["num_pending"]
