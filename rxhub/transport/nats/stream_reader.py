"""Read the history of a stream once: from a start to an end, or following new events.

History ends at the last sequence of the stream when reading began, or with a message after which nothing matches our
filters. If that message is deleted before it arrives, the end would never be seen; so a reader that has received
nothing for a second asks whether any message is left.

Clocks of servers may be adjusted and may differ after a change of leader. So a span of times is read from a second
before to a second after, and each message is compared with its own time. A stream that was deleted or recreated ends
the reading with an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from rxhub.concurrency.supervise import supervise
from rxhub.errors import HubConnectionError, StreamError
from rxhub.expression import Expression
from rxhub.transport.durable import HistoryReader, Span, Stored
from rxhub.transport.nats.cancellation import cancel_and_wait
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.ordered_consumer import OrderedConsumer
from rxhub.transport.nats.pull_consumer import Message, create_ephemeral_consumer
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import NO_STREAM, server_time
from rxhub.transport.nats.subject_filters import merge, subjects_of
from rxhub.transport.nats.subjects import Subjects

__all__ = ["StreamReader", "StreamReaders"]

# Messages that may be under way to one reader.
_AHEAD = 512
_SILENCE = 1.0
_SKEW = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
_SKEWED = _SKEW // _MICROSECOND * 1_000
# The server counts events, and nanoseconds, in 64 bits, and makes nonsense of what lies beyond them; no event does.
_MOST_EVENTS = 2**62
_EPOCH, _DOOMSDAY = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)


class StreamReader:
    """One reading of a span of a stream, with replies to any subscriber (`rxhub.transport.durable.HistoryReading`).

    All but `begin`, `done` and `stop` runs on the loop. `ahead` messages may be under way.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        subjects: Subjects,
        expression: Expression,
        span: Span,
        reader: HistoryReader,
        playbacks: StreamReaders,
        ahead: int = _AHEAD,
    ) -> None:
        self._ahead = ahead
        self._loop = loop
        self._stream = subjects.stream
        self._filters = merge(subjects_of(subjects, expression, subjects.replies))
        self._span = span
        self._follow = span.follow
        self._since: datetime | None = None
        self._start: int | datetime = 0
        self._until: int | datetime | None = None
        # Times in nanoseconds of the first and last event to emit.
        self._times = (0, 0)
        self._reader = reader
        self._playbacks = playbacks
        self._ordered: OrderedConsumer | None = None
        self._last = 0
        self._held = 0
        self._heard = 0
        self._is_over = False

    def begin(self) -> None:
        self._soon(self._playbacks.add, self)

    def done(self, count: int) -> None:
        self._soon(self._done, count)

    def stop(self) -> None:
        self._soon(self._finish)

    def end(self, error: Exception | None = None) -> None:
        """Report the end, or an error, unless it has ended or was stopped."""
        if not self._is_over:
            self._finish()
            self._reader.ended(error)

    async def run(self, line: NatsConnection) -> None:
        try:
            ordered = self._ordered or await self._begin(line)
            if ordered is None:
                return
            watching = supervise(lambda: self._watch(line, ordered), "looking for the end of a replay", restart=True)
            try:
                await ordered.run(line)
            finally:
                await cancel_and_wait(watching)
        except StreamError as error:
            if error.code >= 500:
                raise  # no leader, no room: it is tried again
            self.end(error)

    async def _begin(self, line: NatsConnection) -> OrderedConsumer | None:
        info = await line.js_request(f"STREAM.INFO.{self._stream}")
        self._resolve(server_time(info))
        until = self._until
        left = await self._left(line, self._start)
        total = left if self._since is None or not left else await self._left(line, self._since)
        if until is not None and total:
            total -= await self._left(line, until + _MICROSECOND if isinstance(until, datetime) else until)
        self._last = info["state"]["last_seq"]
        if isinstance(until, int):
            self._last = min(self._last, until)
        self._reader.measured(max(0, total))
        if not left and not self._follow:
            self.end()
            return None
        self._ordered = OrderedConsumer(
            self._stream,
            self._take,
            lambda: self._filters,
            start=self._start,
            ahead=self._ahead,
            rewound=self._on_rewound,
        )
        return self._ordered

    def _resolve(self, now: datetime) -> None:
        """Convert the span to sequences and times."""
        since, until = _resolved(self._span.since, now), _resolved(self._span.until, now)
        if isinstance(since, datetime):
            self._since, self._start = since, max(_EPOCH, since - _SKEW)
        else:
            self._start = max(0, (since or 0) - 1)
        self._until = until
        last = until if isinstance(until, datetime) else _DOOMSDAY
        # The span includes its last microsecond.
        self._times = _nanoseconds(self._since or _EPOCH), _nanoseconds(last + _MICROSECOND) - 1

    async def _left(self, line: NatsConnection, start: int | datetime) -> int:
        """The number of messages after a sequence, or from a time on."""
        if not self._filters:
            return 0
        name, count = await create_ephemeral_consumer(line, self._stream, self._filters, start)
        await line.js_request(f"CONSUMER.DELETE.{self._stream}.{name}")
        return count

    async def _watch(self, line: NatsConnection, ordered: OrderedConsumer) -> None:
        """End when the last messages were deleted before they arrived."""
        while not self._follow:
            heard = self._heard
            await asyncio.sleep(_SILENCE)
            if self._heard != heard or self._held:
                continue
            start = self._start if ordered.position is None else ordered.position
            with suppress(StreamError, HubConnectionError):
                if not await self._left(line, start) and self._heard == heard:
                    self.end()
                    return

    def _take(self, message: Message) -> None:
        self._heard += 1
        if self._is_over:
            return
        nanoseconds = message.nanoseconds
        first, last = self._times
        if not self._follow and (message.sequence > self._last or nanoseconds > last + _SKEWED):
            self.end()
            return
        self._held += 1
        if first <= nanoseconds <= last:
            self._reader.read(Stored(message.data, message.sequence, nanoseconds))
        else:
            self._done(1)
        if not self._follow and (message.sequence == self._last or not message.pending):
            self.end()

    def _on_rewound(self, _: int) -> None:
        why = "the stream was deleted and recreated, or its server has lost its end"
        raise StreamError(404, NO_STREAM, why, f"a replay of {self._stream}")

    def _done(self, count: int) -> None:
        self._held -= count
        if self._ordered is not None:
            self._ordered.done(count)

    def _finish(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._playbacks.remove(self)

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop of a process that ends
            self._loop.call_soon_threadsafe(call, *arguments)


class StreamReaders:
    """The history reads of one hub, which continue when the hub reconnects. All of it runs on the loop."""

    def __init__(self, link: Callable[[], ReconnectingClient | None]) -> None:
        self._link = link
        self._every: set[StreamReader] = set()

    def __len__(self) -> int:
        return len(self._every)

    def add(self, playback: StreamReader) -> None:
        self._every.add(playback)
        link = self._link()
        if link is not None:
            link.attach(playback)

    def remove(self, playback: StreamReader) -> None:
        self._every.discard(playback)
        link = self._link()
        if link is not None:
            supervise(lambda: link.detach(playback), "ending a replay")

    def resume(self, link: ReconnectingClient) -> None:
        """Continue all readers after the hub has connected."""
        for playback in self._every:
            link.attach(playback)

    def fail_all(self) -> None:
        """Fail all readers: the hub was disconnected."""
        for playback in list(self._every):
            playback.end(HubConnectionError("The hub was disconnected from NATS before everything had been read."))


def _resolved(moment: int | datetime | timedelta | None, now: datetime) -> int | datetime | None:
    """A sequence or a time within the server's limits."""
    if isinstance(moment, timedelta):
        try:
            moment = now - moment
        except OverflowError:
            return _EPOCH
    if isinstance(moment, int):
        return min(moment, _MOST_EVENTS)
    return None if moment is None else max(_EPOCH, min(_DOOMSDAY, moment))


def _nanoseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND * 1_000
