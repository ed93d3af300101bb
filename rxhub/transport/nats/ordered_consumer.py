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
from rxhub.transport.nats.cancellation import cancel_and_wait
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.ephemeral_consumer import create_ephemeral_consumer
from rxhub.transport.nats.pull_consumer import ConsumerGone, Message, PullConsumer
from rxhub.transport.nats.subject_filters import covers, merge

__all__ = ["FilterEpoch", "OrderedConsumer", "ReadPosition"]

# Seconds for which a consumer is read at least, and how often the time that it takes to make one: else nothing would
# come while filters change all the time, and each of many changes would have a consumer of its own.
_MIN_CONSUMER_LIFE_S, _CONSUMER_LIFE_PER_SETUP = 0.02, 3
# Boundaries that may lie before the reader. Beyond them, a little history may come.
_MAX_EPOCHS = 64
# That are deleted again, since a line broke before it was known that they are.
_MAX_STALE_CONSUMERS = 8
# A server that has just become the leader may not have caught up with what it knows to be stored.
_STREAM_CHECKS, _STREAM_CHECK_INTERVAL_S = 3, 0.25

logger = logging.getLogger("rxhub")


class FilterEpoch(NamedTuple):
    """The filters of the time before a change, and the last sequence of that time."""

    last: int
    filters: frozenset[str]


class ReadPosition(NamedTuple):
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
    epochs: tuple[FilterEpoch, ...] = ()


class OrderedConsumer:
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
        start: int | ReadPosition | datetime | None = None,
        ahead: int = 512,
        rewound: Callable[[int], object] | None = None,
        troubled: Callable[[str], object] | None = None,
    ) -> None:
        self.trouble = ""
        self._on_trouble = troubled
        # The filters of the present consumer.
        self._read_by: list[str] | None = None
        self.position: int | None = None
        self.filters_in_force: Sequence[str] | None = None
        self._stream_created = ""
        self._since: datetime | None = None
        if isinstance(start, ReadPosition):
            self.position, self._stream_created = start.sequence, start.stream
        elif isinstance(start, int):
            self.position = start
        else:
            self._since = start
        # The highest sequence that is known to have been in the stream.
        self._highest_sequence: int = self.position if self._stream_created and self.position else 0
        self._stream = stream
        self._handler = take
        self._filters = filters
        self._ahead = ahead
        self._on_rewind = rewound
        self._subjects: list[str] | None = None
        self._epochs: deque[FilterEpoch] = deque()
        # That were over before all of their messages were dealt with.
        self._past_epochs: deque[FilterEpoch] = deque(maxlen=_MAX_EPOCHS)
        if isinstance(start, ReadPosition) and start.filters is not None:
            self._subjects = list(start.filters)
            self._epochs.extend(start.epochs)
        self._pulling: PullConsumer | None = None
        # Up to where the present consumer may be read, once the filters have changed.
        self._limit: int | None = None
        # Of us that may still be on the server, and whether they were there for sure.
        self._consumers: dict[str, bool] = {}
        self._held = 0
        self._last_delivery: int = 0
        self._changes = 0
        self._synced_changes = 0
        self._line: NatsConnection | None = None
        self._has_looked = False
        self._counting = ForkSafeLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._update_requested = asyncio.Event()
        self._filters_synced = asyncio.Event()
        self._filters_changed = asyncio.Event()
        self._consumer_state_known = asyncio.Event()

    @property
    def read_position(self) -> ReadPosition | None:
        """Where it is; None if it has not begun.

        Its eras hold also for who goes back to a message that is not dealt with.
        """
        if self.position is None:
            return None
        filters = None if self._subjects is None else tuple(self._subjects)
        return ReadPosition(self.position, self._stream_created, filters, (*self._past_epochs, *self._epochs))

    def done(self, count: int = 1) -> None:
        """So many messages were dealt with."""
        self._held -= count
        if self._pulling is not None:
            self._pulling.done(count)

    def update_filters(self) -> None:
        """Have the filters asked for again, and read by them from now on; from any thread.

        From its return on, it is not settled.
        """
        with self._counting:
            self._changes += 1
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop of a process that ends
                self._loop.call_soon_threadsafe(self._update_requested.set)

    @property
    def is_synced(self) -> bool:
        """Whether what is stored from now on comes by the present filters."""
        return self._synced_changes >= self._changes and self.filters_in_force is not None and self._has_looked

    @property
    def is_consuming(self) -> bool:
        """Whether there is a consumer for the present filters; nothing tells of one that is lost at this moment."""
        subjects = self._subjects
        return subjects is not None and (not subjects or self._read_by is subjects)

    async def synced(self) -> None:
        """Wait until all changes that were asked for hold for whatever is stored from then on."""
        wanted = self._changes
        while self._synced_changes < wanted or self.filters_in_force is None or not self._has_looked:
            self._filters_synced.clear()
            await self._filters_synced.wait()

    async def started(self) -> None:
        """Wait until there is a consumer for the present filters, or it is known why there is none."""
        while not (self.is_consuming or self.trouble):
            self._consumer_state_known.clear()
            await self._consumer_state_known.wait()

    async def run(self, line: NatsConnection) -> None:
        """Read until cancelled."""
        self._loop = asyncio.get_running_loop()
        if line is not self._line:
            self._line, self._has_looked, self._read_by = line, False, None
        await self._check_stream(line)
        self._has_looked = True
        await self._delete(line)
        self._update_requested.set()
        marking = asyncio.create_task(self._apply_filter_changes(line))
        going = asyncio.create_task(self._consume(line))
        try:
            # Not by a TaskGroup, which cancels each task once; see `cancelled`.
            done, _ = await asyncio.wait([marking, going], return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            await cancel_and_wait(marking, going)

    async def _check_stream(self, line: NatsConnection) -> int:
        """The stream's last sequence; see whether it is still the stream that was read before."""
        last, made, known = await self._stream_state(line)
        for _ in range(_STREAM_CHECKS):
            if last >= known or made != self._stream_created:
                break
            await asyncio.sleep(_STREAM_CHECK_INTERVAL_S)
            last, made, known = await self._stream_state(line)
        if self._stream_created and made != self._stream_created:
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
        elif last < self._highest_sequence:
            last = self._highest_sequence
        self._stream_created, self._highest_sequence = made, last
        return last

    async def _stream_state(self, line: NatsConnection) -> tuple[int, str, int]:
        """The stream's last sequence, when it was made, and what was known before: more may come meanwhile."""
        known = self._highest_sequence
        info = await line.js_request(f"STREAM.INFO.{self._stream}")
        return info["state"]["last_seq"], info["created"], known

    def _rewind(self, last: int) -> None:
        """The sequences behind `last` are given to other messages."""
        if self._pulling is not None:
            # What it may still bring has sequences of before.
            self._pulling.fail("the stream is another one, or shorter than it was")
            self._pulling = None
        for eras in (self._past_epochs, self._epochs):
            shorter = [era._replace(last=min(era.last, last)) for era in eras]
            eras.clear()
            eras.extend(shorter)
        if self.position is not None:
            self.position = min(self.position, last)
        if self._on_rewind is not None:
            self._on_rewind(last)

    async def _apply_filter_changes(self, line: NatsConnection) -> None:
        """For each change, take the present end of the stream for the boundary."""
        while True:
            await self._update_requested.wait()
            self._update_requested.clear()
            changes, subjects = self._changes, list(self._filters())
            if subjects != self._subjects:
                try:
                    boundary = await self._check_stream(line)
                except BaseException:
                    self._update_requested.set()
                    raise
                self._close_epoch(boundary)
                self._subjects = subjects
                self._filters_changed.set()
            self._synced_changes, self.filters_in_force = changes, subjects
            self._filters_synced.set()

    def _close_epoch(self, boundary: int) -> None:
        """The present filters are those of an era that ends with `boundary`."""
        if self._subjects is None:
            if self.position is None and self._since is None:
                self.position = boundary
            return
        if self._limit is None:
            self._limit = boundary
        eras = self._epochs
        if not eras or eras[-1].last < boundary:
            eras.append(FilterEpoch(boundary, frozenset(self._subjects)))
        while eras and not eras[0].filters:
            # Nobody wanted anything up to there.
            self.position = max(self.position or 0, eras[0].last)
            self._drop_epoch()
        if len(eras) > _MAX_EPOCHS:
            before, after = eras.popleft(), eras.popleft()
            eras.appendleft(FilterEpoch(after.last, frozenset(merge(before.filters | after.filters))))

    async def _consume(self, line: NatsConnection) -> None:
        backoff = Backoff(0.02, 2.0)
        while True:
            self._filters_changed.clear()
            self._limit = None
            if not self._subjects:
                self._set_trouble("")
                await self._filters_changed.wait()
            elif not await self._consume_once(line, self._subjects):
                if self._last_delivery:
                    backoff.reset()
                else:
                    await asyncio.sleep(backoff.delay())
                # Its stream may be gone too, and another one there by its name.
                await self._check_stream(line)

    async def _consume_once(self, line: NatsConnection, subjects: list[str]) -> bool:
        """Read by one consumer until the filters change; False if it is gone before."""
        name = f"rxhub-{line.inbox().rpartition('.')[2]}"
        self._last_delivery = 0
        tasks: list[asyncio.Task[None]] = []
        try:
            began = monotonic()
            before = [name for name, is_made in self._consumers.items() if is_made]
            self._consumers[name] = False
            if len(self._consumers) > _MAX_STALE_CONSUMERS:
                del self._consumers[next(iter(self._consumers))]
            await create_ephemeral_consumer(
                line, self._stream, subjects, self._since if self.position is None else self.position, name
            )
            self._read_by = subjects
            self._set_trouble("")
            self._consumers[name] = True
            for other in before:
                # What was said before that was heard before it.
                self._consumers.pop(other, None)
            pause = max(_MIN_CONSUMER_LIFE_S, _CONSUMER_LIFE_PER_SETUP * (monotonic() - began))
            self._pulling = pulling = PullConsumer(self._stream, name, self._on_message, ahead=self._ahead)
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
            self._set_trouble(str(error))
            raise
        finally:
            self._pulling = None
            await cancel_and_wait(*tasks)
            await self._delete(line)
        return True

    def _set_trouble(self, reason: str) -> None:
        self._consumer_state_known.set()
        if reason != self.trouble:
            self.trouble = reason
            if self._on_trouble is not None:
                self._on_trouble(reason)

    async def _delete(self, line: NatsConnection) -> None:
        """Delete the consumers; they would be forgotten by themselves, a minute later."""
        with suppress(nats.errors.Error, OSError):
            for name in list(self._consumers):
                await line.client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}")

    async def _until_changed(self, pause: float) -> None:
        await asyncio.sleep(pause)
        await self._filters_changed.wait()

    def _on_message(self, message: Message) -> None:
        pulling = self._pulling
        if pulling is None:
            return
        if message.consumer_sequence != self._last_delivery + 1:
            pulling.fail(f"message {self._last_delivery + 1} was expected, and {message.consumer_sequence} came")
            return
        self._last_delivery = message.consumer_sequence
        sequence, eras = message.sequence, self._epochs
        if self.position is not None and sequence <= self.position:
            pulling.done()
            return
        if self._limit is not None and sequence > self._limit:
            # What has come between for the new filters, the next consumer brings, and this with it.
            pulling.done()
            return
        self.position = sequence
        self._highest_sequence = max(self._highest_sequence, sequence)
        if eras:
            while eras and eras[0].last < sequence:
                self._drop_epoch()
            if eras and not covers(eras[0].filters, message.subject):
                pulling.done()
                return
        self._held += 1
        self._handler(message)

    def _drop_epoch(self) -> None:
        if not self._held:
            self._past_epochs.clear()
        self._past_epochs.append(self._epochs.popleft())
