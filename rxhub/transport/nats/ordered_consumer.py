"""The events of a stream in order, each once: what hubs hear live, and what is replayed.

Theory of operation. The server is asked for a consumer that nobody acknowledges, in its memory, which numbers what it
sends. A number that is missing, a consumer that is gone or a line that broke all lead to the same: another consumer
is asked for, which begins behind the last event that was taken. So nothing is missed and nothing comes twice, whichever
of them breaks, as long as the stream still holds it. In a cluster the consumer may live on a server that is behind the
others, which then begins further back than it was asked to; what was taken before is passed over.

That rests on sequences, and they begin anew with a stream that was made anew, and again behind the end that a server
still has which has lost the rest. Reading then goes back, and whoever keeps sequences is told (`rewound`). A leader
that is behind for longer than we wait looks the same: when it has caught up, what came between comes a second time.
Going on would instead miss what is stored under those sequences if the rest is lost. Where so much was stored after a
loss that the stream is as long again before we look, nothing tells of it; so nothing of ours is sent before that
(`settled`).

The filters may change meanwhile. Then, too, another consumer goes on behind the last event that was taken. It would
bring history with it: of what was stored before the change it passes on only what the filters of that time would have
let through. The boundary is the stream's last sequence at the moment of the change; whoever asks for a change is
told when it is known (`settled`), since from then on whatever is stored will come. That does not wait for the reader,
who may be held up by somebody who waits for just that. A reader that begins at the place of another one takes over its
filters too; for what others want there is no history before the first look.

What nobody wants any more may be left out, though it was stored while somebody did.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import NamedTuple

import nats.errors

from rxhub.concurrency.backoff import Backoff
from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.cancellation import cancelled
from rxhub.transport.nats.connection import Line
from rxhub.transport.nats.ephemeral_consumer import consumer
from rxhub.transport.nats.pull_consumer import ConsumerGone, Message, Pulling
from rxhub.transport.nats.subject_filters import lets_through, merged

__all__ = ["Era", "Ordered", "Place"]

# Seconds for which a consumer is read at least, and how often the time that it takes to make one: else nothing would
# come while filters change all the time, and each of many changes would have a consumer of its own.
_AT_LEAST, _FOR_MAKING = 0.02, 3
# Boundaries that may lie before the reader. Beyond them, a little history may come.
_MOST_ERAS = 64
# That are deleted again, since a line broke before it was known that they are.
_MOST_CONSUMERS = 8
# A server that has just become the leader may not have caught up with what it knows to be stored.
_LOOKS, _BETWEEN_LOOKS = 3, 0.25

logger = logging.getLogger("rxhub")


class Era(NamedTuple):
    """The filters of the time before a change, and the last sequence of that time."""

    last: int
    filters: frozenset[str]


class Place(NamedTuple):
    """Where a reader is.

    Attributes:
        sequence: behind which it goes on.
        stream: when its stream was made, by which one that was made anew is told.
        filters: by which came whatever is stored; others bring nothing that is stored before they are in force. None is
            not to know of any.
        eras: earlier filters, as far as they are needed from `sequence` on.
    """

    sequence: int
    stream: str
    filters: tuple[str, ...] | None = None
    eras: tuple[Era, ...] = ()


class Ordered:
    """Reads a stream in order; a part of a link (`rxhub.transport.nats.reconnecting.Part`).

    Args:
        stream: which.
        take: called with each message. Whoever takes calls `done` when it may be followed by others.
        filters: the subjects to read; nothing if it gives back none. Asked again after `change`.
        start: the sequence to begin behind, the place where another reader was, or an aware time to begin at; None is
            from now on.
        ahead: how many messages may be under way.
        rewound: called with a sequence if those behind it belong to other messages now than before.
        troubled: called with the reason when what is wanted cannot be read, and with "" when it can be again.

    Attributes:
        position: the sequence of the last message that was taken; everything before it that matches was taken too.
        trouble: why what is wanted cannot be read at present; empty if it can.
        promised: the filters by which comes whatever is stored from now on; None before the first are in force.
    """

    def __init__(
        self,
        stream: str,
        take: Callable[[Message], object],
        filters: Callable[[], Sequence[str]],
        *,
        start: int | Place | datetime | None = None,
        ahead: int = 512,
        rewound: Callable[[int], object] | None = None,
        troubled: Callable[[str], object] | None = None,
    ) -> None:
        self.trouble = ""
        self._troubled = troubled
        # The filters of the present consumer.
        self._read_by: list[str] | None = None
        self.position: int | None = None
        self.promised: Sequence[str] | None = None
        self._made = ""
        self._since: datetime | None = None
        if isinstance(start, Place):
            self.position, self._made = start.sequence, start.stream
        elif isinstance(start, int):
            self.position = start
        else:
            self._since = start
        # The highest sequence that is known to have been in the stream.
        self._known: int = self.position if self._made and self.position else 0
        self._stream = stream
        self._give = take
        self._filters = filters
        self._ahead = ahead
        self._rewound = rewound
        self._subjects: list[str] | None = None
        self._eras: deque[Era] = deque()
        # That were over before all of their messages were dealt with.
        self._past: deque[Era] = deque(maxlen=_MOST_ERAS)
        if isinstance(start, Place) and start.filters is not None:
            self._subjects = list(start.filters)
            self._eras.extend(start.eras)
        self._pulling: Pulling | None = None
        # Up to where the present consumer may be read, once the filters have changed.
        self._limit: int | None = None
        # Of us that may still be on the server, and whether they were there for sure.
        self._consumers: dict[str, bool] = {}
        self._held = 0
        self._last_turn: int = 0
        self._changes = 0
        self._settled = 0
        self._line: Line | None = None
        self._has_looked = False
        self._counting = ForkSafeLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._told = asyncio.Event()
        self._fresh = asyncio.Event()
        self._begun = asyncio.Event()

    @property
    def place(self) -> Place | None:
        """Where it is; None if it has not begun.

        Its eras hold also for who goes back to a message that is not dealt with.
        """
        if self.position is None:
            return None
        filters = None if self._subjects is None else tuple(self._subjects)
        return Place(self.position, self._made, filters, (*self._past, *self._eras))

    def done(self, count: int = 1) -> None:
        """So many messages were dealt with."""
        self._held -= count
        if self._pulling is not None:
            self._pulling.done(count)

    def change(self) -> None:
        """Have the filters asked for again, and read by them from now on; from any thread.

        From its return on, it is not settled.
        """
        with self._counting:
            self._changes += 1
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop of a process that ends
                self._loop.call_soon_threadsafe(self._changed.set)

    @property
    def is_settled(self) -> bool:
        """Whether what is stored from now on comes by the present filters."""
        return self._settled >= self._changes and self.promised is not None and self._has_looked

    @property
    def is_read(self) -> bool:
        """Whether there is a consumer for the present filters; nothing tells of one that is lost at this moment."""
        subjects = self._subjects
        return subjects is not None and (not subjects or self._read_by is subjects)

    async def settled(self) -> None:
        """Wait until all changes that were asked for hold for whatever is stored from then on."""
        wanted = self._changes
        while self._settled < wanted or self.promised is None or not self._has_looked:
            self._told.clear()
            await self._told.wait()

    async def begun(self) -> None:
        """Wait until there is a consumer for the present filters, or it is known why there is none."""
        while not (self.is_read or self.trouble):
            self._begun.clear()
            await self._begun.wait()

    async def run(self, line: Line) -> None:
        """Read until cancelled."""
        self._loop = asyncio.get_running_loop()
        if line is not self._line:
            self._line, self._has_looked, self._read_by = line, False, None
        await self._look(line)
        self._has_looked = True
        await self._delete(line)
        self._changed.set()
        marking = asyncio.create_task(self._mark(line))
        going = asyncio.create_task(self._go_on(line))
        try:
            # Not by a TaskGroup, which cancels each task once; see `cancelled`.
            done, _ = await asyncio.wait([marking, going], return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            await cancelled(marking, going)

    async def _look(self, line: Line) -> int:
        """The stream's last sequence; see whether it is still the stream that was read before."""
        last, made, known = await self._state(line)
        for _ in range(_LOOKS):
            if last >= known or made != self._made:
                break
            await asyncio.sleep(_BETWEEN_LOOKS)
            last, made, known = await self._state(line)
        if self._made and made != self._made:
            logger.warning("The stream %s was made anew, and is read from its beginning.", self._stream)
            self._rewind(0)
        elif last < known:
            # What comes next has sequences that were there before.
            logger.warning(
                "The stream %s ends at %d, and %d was in it: its server has lost the rest.",
                self._stream,
                last,
                known,
            )
            self._rewind(last)
        elif last < self._known:
            last = self._known
        self._made, self._known = made, last
        return last

    async def _state(self, line: Line) -> tuple[int, str, int]:
        """The stream's last sequence, when it was made, and what was known before: more may come meanwhile."""
        known = self._known
        info = await line.ask(f"STREAM.INFO.{self._stream}")
        return info["state"]["last_seq"], info["created"], known

    def _rewind(self, last: int) -> None:
        """The sequences behind `last` are given to other messages."""
        if self._pulling is not None:
            # What it may still bring has sequences of before.
            self._pulling.fail("the stream is another one, or shorter than it was")
            self._pulling = None
        for eras in (self._past, self._eras):
            shorter = [era._replace(last=min(era.last, last)) for era in eras]
            eras.clear()
            eras.extend(shorter)
        if self.position is not None:
            self.position = min(self.position, last)
        if self._rewound is not None:
            self._rewound(last)

    async def _mark(self, line: Line) -> None:
        """For each change, take the present end of the stream for the boundary."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, subjects = self._changes, list(self._filters())
            if subjects != self._subjects:
                try:
                    boundary = await self._look(line)
                except BaseException:
                    self._changed.set()
                    raise
                self._leave(boundary)
                self._subjects = subjects
                self._fresh.set()
            self._settled, self.promised = changes, subjects
            self._told.set()

    def _leave(self, boundary: int) -> None:
        """The present filters are those of an era that ends with `boundary`."""
        if self._subjects is None:
            if self.position is None and self._since is None:
                self.position = boundary
            return
        if self._limit is None:
            self._limit = boundary
        eras = self._eras
        if not eras or eras[-1].last < boundary:
            eras.append(Era(boundary, frozenset(self._subjects)))
        while eras and not eras[0].filters:
            # Nobody wanted anything up to there.
            self.position = max(self.position or 0, eras[0].last)
            self._end_era()
        if len(eras) > _MOST_ERAS:
            before, after = eras.popleft(), eras.popleft()
            eras.appendleft(Era(after.last, frozenset(merged(before.filters | after.filters))))

    async def _go_on(self, line: Line) -> None:
        backoff = Backoff(0.02, 2.0)
        while True:
            self._fresh.clear()
            self._limit = None
            if not self._subjects:
                self._note_trouble("")
                await self._fresh.wait()
            elif not await self._read(line, self._subjects):
                if self._last_turn:
                    backoff.reset()
                else:
                    await asyncio.sleep(backoff.delay())
                # Its stream may be gone too, and another one there by its name.
                await self._look(line)

    async def _read(self, line: Line, subjects: list[str]) -> bool:
        """Read by one consumer until the filters change; False if it is gone before."""
        name = f"rxhub-{line.inbox().rpartition('.')[2]}"
        self._last_turn = 0
        tasks: list[asyncio.Task[None]] = []
        try:
            began = monotonic()
            before = [name for name, is_made in self._consumers.items() if is_made]
            self._consumers[name] = False
            if len(self._consumers) > _MOST_CONSUMERS:
                del self._consumers[next(iter(self._consumers))]
            await consumer(line, self._stream, subjects, self._since if self.position is None else self.position, name)
            self._read_by = subjects
            self._note_trouble("")
            self._consumers[name] = True
            for other in before:
                # What was said before that was heard before it.
                self._consumers.pop(other, None)
            pause = max(_AT_LEAST, _FOR_MAKING * (monotonic() - began))
            self._pulling = pulling = Pulling(self._stream, name, self._take, ahead=self._ahead)
            # What the last consumer brought and is not dealt with is under way still.
            pulling.held = self._held
            reading = asyncio.create_task(pulling.run(line))
            tasks = [reading, asyncio.create_task(self._until_changed(pause))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        except ConsumerGone as error:
            logger.info("The stream %s is read by another consumer: %s", self._stream, error)
            return False
        except (HubConnectionError, StreamError) as error:
            self._read_by = None
            self._note_trouble(str(error))
            raise
        finally:
            self._pulling = None
            await cancelled(*tasks)
            await self._delete(line)
        return True

    def _note_trouble(self, reason: str) -> None:
        self._begun.set()
        if reason != self.trouble:
            self.trouble = reason
            if self._troubled is not None:
                self._troubled(reason)

    async def _delete(self, line: Line) -> None:
        """Delete the consumers; they would be forgotten by themselves, a minute later."""
        with suppress(nats.errors.Error, OSError):
            for name in list(self._consumers):
                await line.client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}")

    async def _until_changed(self, pause: float) -> None:
        await asyncio.sleep(pause)
        await self._fresh.wait()

    def _take(self, message: Message) -> None:
        pulling = self._pulling
        if pulling is None:
            return
        if message.turn != self._last_turn + 1:
            pulling.fail(f"message {self._last_turn + 1} was expected, and {message.turn} came")
            return
        self._last_turn = message.turn
        sequence, eras = message.sequence, self._eras
        if self.position is not None and sequence <= self.position:
            pulling.done()
            return
        if self._limit is not None and sequence > self._limit:
            # What has come between for the new filters, the next consumer brings, and this with it.
            pulling.done()
            return
        self.position = sequence
        self._known = max(self._known, sequence)
        if eras:
            while eras and eras[0].last < sequence:
                self._end_era()
            if eras and not lets_through(eras[0].filters, message.subject):
                pulling.done()
                return
        self._held += 1
        self._give(message)

    def _end_era(self) -> None:
        if not self._held:
            self._past.clear()
        self._past.append(self._eras.popleft())
