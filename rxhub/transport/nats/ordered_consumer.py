"""The events of a stream in order, each exactly once: for live subscriptions and for replays.

The reader uses an ephemeral consumer without acknowledgements, which numbers its messages. A gap in these numbers, a
lost consumer and a broken connection are handled alike: a new consumer continues after the last message that was
handled. In a cluster, the consumer may live on a server that lags behind and begin too early; messages that were
handled before are skipped.

Sequences restart when a stream is recreated, and after the end that remains when a server has lost the rest of its
data. The reader then goes back and calls `rewound`. A leader that lags for longer than the checks wait looks the same:
messages are delivered again, while continuing would miss those stored under reused sequences. If the stream grows past
its old end before the check, the loss cannot be detected; therefore publishing waits for the check (`is_synced`).

A new consumer for other filters also continues after the last message, and would deliver history that only the new
filters match. So each change closes a *filter epoch*: the end of the stream at that moment, and the filters until then.
Messages of an epoch are delivered only if its filters match. A change is in force once its boundary is known, which
does not wait for the handler: the handler may itself wait for a subscription. Messages that no present filter matches
may be skipped, even if a filter matched when they were stored.
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
from rxhub.transport.nats.pull_consumer import ConsumerGone, Message, PullConsumer, create_ephemeral_consumer
from rxhub.transport.nats.subject_filters import covers, merge

__all__ = ["OrderedConsumer", "ReadPosition"]

# How long a consumer is read at least: in seconds, and as a multiple of the time that its creation took. Otherwise
# nothing would arrive while filters change continuously, and each of many changes would create a consumer.
_MIN_CONSUMER_LIFE_S, _CONSUMER_LIFE_PER_SETUP = 0.02, 3
# Beyond this number, epochs are merged, and some history may be delivered.
_MAX_EPOCHS = 64
# Consumers whose deletion is retried after a connection broke.
_MAX_STALE_CONSUMERS = 8
# A new leader may not have caught up yet.
_STREAM_CHECKS, _STREAM_CHECK_INTERVAL_S = 3, 0.25

logger = logging.getLogger("rxhub")


class FilterEpoch(NamedTuple):
    """The filters before a change, and the last sequence for which they hold."""

    last: int
    filters: frozenset[str]


class ReadPosition(NamedTuple):
    """The position of a reader."""

    sequence: int  # of the last message that was handled
    stream: str  # when the stream was created, to recognize a recreated stream
    filters: tuple[str, ...] | None = None  # in force at this position; None if unknown
    epochs: tuple[FilterEpoch, ...] = ()  # earlier filters, as far as they are needed from `sequence` on


class OrderedConsumer:
    """Reads a stream in order (`rxhub.transport.nats.reconnecting.ConnectionTask`).

    Args:
        take: called with each message. The handler calls `done` to receive further ones.
        filters: returns the subjects to read; none reads nothing. Called again after `update_filters`.
        start: the sequence to continue after, the position of another reader, or an aware time; None is now.
        ahead: how many messages may be in flight.
        rewound: called with a sequence when the sequences after it belong to other messages than before.
        troubled: called with the reason when the stream cannot be read, and with "" when it can be read again.
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
        self.trouble = ""  # why the stream cannot be read at present; empty if it can
        self._on_trouble = troubled
        # The filters of the present consumer.
        self._read_by: list[str] | None = None
        # The sequence of the last message that was delivered, after all earlier ones that match.
        self.position: int | None = None
        # The filters that apply to all messages stored from now on; None before the first check.
        self.filters_in_force: Sequence[str] | None = None
        self._stream_created = ""
        self._since: datetime | None = None
        if isinstance(start, ReadPosition):
            self.position, self._stream_created = start.sequence, start.stream
        elif isinstance(start, int):
            self.position = start
        else:
            self._since = start
        # The highest sequence seen in the stream.
        self._highest_sequence: int = self.position if self._stream_created and self.position else 0
        self._stream = stream
        self._handler = take
        self._filters = filters
        self._ahead = ahead
        self._on_rewind = rewound
        self._subjects: list[str] | None = None
        self._epochs: deque[FilterEpoch] = deque()
        # Epochs that ended before all of their messages were done.
        self._past_epochs: deque[FilterEpoch] = deque(maxlen=_MAX_EPOCHS)
        if isinstance(start, ReadPosition) and start.filters is not None:
            self._subjects = list(start.filters)
            self._epochs.extend(start.epochs)
        self._pulling: PullConsumer | None = None
        # The last sequence to take from the present consumer, once the filters have changed.
        self._limit: int | None = None
        # Our consumers that may still exist on the server, and whether their creation was confirmed.
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
        """The position; None before the first check. Its epochs also cover messages that are not done yet."""
        if self.position is None:
            return None
        filters = None if self._subjects is None else tuple(self._subjects)
        return ReadPosition(self.position, self._stream_created, filters, (*self._past_epochs, *self._epochs))

    def done(self, count: int = 1) -> None:
        """Report that `count` messages were handled."""
        self._held -= count
        if self._pulling is not None:
            self._pulling.done(count)

    def update_filters(self) -> None:
        """Read by the present filters. Thread-safe. Until the change is in force, `is_synced` is False."""
        with self._counting:
            self._changes += 1
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop of a process that ends
                self._loop.call_soon_threadsafe(self._update_requested.set)

    @property
    def is_synced(self) -> bool:
        """Whether the present filters apply to all messages stored from now on."""
        return self._synced_changes >= self._changes and self.filters_in_force is not None and self._has_looked

    @property
    def is_consuming(self) -> bool:
        """Whether a consumer for the present filters was created; one may be lost without notice."""
        subjects = self._subjects
        return subjects is not None and (not subjects or self._read_by is subjects)

    async def synced(self) -> None:
        """Wait until all changes requested so far are in force."""
        wanted = self._changes
        while self._synced_changes < wanted or self.filters_in_force is None or not self._has_looked:
            self._filters_synced.clear()
            await self._filters_synced.wait()

    async def started(self) -> None:
        """Wait until the present filters are in force, and a consumer for them exists or has failed."""
        await self.synced()
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
            # Not a TaskGroup, which cancels each task once only; see `cancel_and_wait`.
            done, _ = await asyncio.wait([marking, going], return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            await cancel_and_wait(marking, going)

    async def _check_stream(self, line: NatsConnection) -> int:
        """Return the last sequence, and check whether the stream was recreated or truncated."""
        last, made, known = 0, self._stream_created, 0
        for check in range(1 + _STREAM_CHECKS):
            if check:
                await asyncio.sleep(_STREAM_CHECK_INTERVAL_S)
            known = self._highest_sequence
            info = await line.js_request(f"STREAM.INFO.{self._stream}")
            last, made = info["state"]["last_seq"], info["created"]
            if last >= known or made != self._stream_created:
                break
        if self._stream_created and made != self._stream_created:
            logger.warning("The stream %s was recreated; reading it from its beginning.", self._stream)
            self._rewind(0)
        elif last < known:
            # Sequences after it will be reused.
            logger.warning(
                "The stream %s ends at %d although it contained %d: its server has lost data.",
                self._stream,
                last,
                known,
            )
            self._rewind(last)
        elif last < self._highest_sequence:
            last = self._highest_sequence
        self._stream_created, self._highest_sequence = made, last
        return last

    def _rewind(self, last: int) -> None:
        """Go back to `last`: later sequences are reused for other messages."""
        if self._pulling is not None:
            # Its remaining messages have outdated sequences.
            self._pulling.fail("the stream was recreated or truncated")
            self._pulling = None
        for epochs in (self._past_epochs, self._epochs):
            shorter = [epoch._replace(last=min(epoch.last, last)) for epoch in epochs]
            epochs.clear()
            epochs.extend(shorter)
        if self.position is not None:
            self.position = min(self.position, last)
        if self._on_rewind is not None:
            self._on_rewind(last)

    async def _apply_filter_changes(self, line: NatsConnection) -> None:
        """For each change of the filters, close an epoch at the present end of the stream."""
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
        """Close the epoch of the present filters at `boundary`."""
        if self._subjects is None:
            if self.position is None and self._since is None:
                self.position = boundary
            return
        if self._limit is None:
            self._limit = boundary
        epochs = self._epochs
        if not epochs or epochs[-1].last < boundary:
            epochs.append(FilterEpoch(boundary, frozenset(self._subjects)))
        while epochs and not epochs[0].filters:
            # No filter matched anything up to there.
            self.position = max(self.position or 0, epochs[0].last)
            self._drop_epoch()
        if len(epochs) > _MAX_EPOCHS:
            before, after = epochs.popleft(), epochs.popleft()
            epochs.appendleft(FilterEpoch(after.last, frozenset(merge(before.filters | after.filters))))

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
                # The stream may have been deleted and recreated too.
                await self._check_stream(line)

    async def _consume_once(self, line: NatsConnection, subjects: list[str]) -> bool:
        """Read by one consumer until the filters change. Returns False if the consumer is lost."""
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
                # The server has processed earlier deletions before this creation.
                self._consumers.pop(other, None)
            pause = max(_MIN_CONSUMER_LIFE_S, _CONSUMER_LIFE_PER_SETUP * (monotonic() - began))
            self._pulling = pulling = PullConsumer(self._stream, name, self._on_message, ahead=self._ahead)
            # Messages of the last consumer that are not done are still in flight.
            pulling.held = self._held
            reading = asyncio.create_task(pulling.run(line))
            tasks = [reading, asyncio.create_task(self._until_changed(pause))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        except ConsumerGone as error:
            logger.info("Reading the stream %s by a new consumer: %s", self._stream, error)
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
        """Delete the consumers. The server would delete them a minute later."""
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
        sequence, epochs = message.sequence, self._epochs
        if self.position is not None and sequence <= self.position:
            pulling.done()
            return
        if self._limit is not None and sequence > self._limit:
            # The next consumer delivers it, together with messages that only the new filters match.
            pulling.done()
            return
        self.position = sequence
        self._highest_sequence = max(self._highest_sequence, sequence)
        if epochs:
            while epochs and epochs[0].last < sequence:
                self._drop_epoch()
            if epochs and not covers(epochs[0].filters, message.subject):
                pulling.done()
                return
        self._held += 1
        self._handler(message)

    def _drop_epoch(self) -> None:
        if not self._held:
            self._past_epochs.clear()
        self._past_epochs.append(self._epochs.popleft())
