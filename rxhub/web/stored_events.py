"""Sends stored events to a reader, and then continues with new ones, without gaps and duplicates.

The history is read from the stream first. Then the subscription is activated, which tells the sequence above which new
events are queued, and what was stored in the meantime is read. So the queue only has to hold the events of this last
part, however long the history is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from rxhub.concurrency.wakeup import Wakeup
from rxhub.errors import EventError, Refused
from rxhub.server.envelope import OutgoingEvent, read_argument
from rxhub.server.event_server import EventServer
from rxhub.server.rate_limit import STEPS_PER_EVENT, TokenBuckets
from rxhub.transport.durable import Span, Stored
from rxhub.web.event_stream import HttpEventStream

if TYPE_CHECKING:
    from rxhub.server.backplane import Backplane

__all__ = ["HistoryLimits", "StoredEvents"]

Moment = datetime | timedelta | int

_READERS_PER_USER: Final = 8
# That are sent, and reported to the reader, together.
_MOST_EVENTS: Final = 32
_MOST_BYTES: Final = 64 * 1024
# With fewer events to read, the subscription is activated first.
_FEW_EVENTS: Final = 2_000


class HistoryLimits:
    """Limits the work and memory of reading stored events, by user.

    Args:
        server: whose limits apply.
    """

    def __init__(self, server: EventServer) -> None:
        limits = server.options.limits
        # Not the rate of publishing: a replay would delay the events of its user.
        self.rates = TokenBuckets(limits.events, limits.events_at_once)
        self._gates: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def gate(self, user: str) -> asyncio.Semaphore:
        """Admits the readers of a user."""
        gate = self._gates.get(user)
        if gate is None:
            gate = self._gates[user] = asyncio.Semaphore(_READERS_PER_USER)
        return gate


class StoredEvents:
    """The stored events for one reader.

    Args:
        backplane: of the server.
        stream: the reader.
        text: the subscription.
        limits: of all readers.
    """

    def __init__(self, backplane: Backplane, stream: HttpEventStream, text: str, limits: HistoryLimits) -> None:
        self._backplane = backplane
        self._stream = stream
        self._text = text
        self._gate = limits.gate(stream.user)
        self._rate = limits.rates[stream.user]
        self._subscription = stream.parsed(text)
        self._position = 0

    async def frames(self, since: Moment, until: Moment | None, bounds: tuple[int, int]) -> AsyncGenerator[bytes]:
        """The frames of the stored events. Then new events are queued, or the stream ends at `until`.

        Args:
            since: the first event; as a sequence, a time, or a duration before now.
            until: the last event; None continues with new events.
            bounds: the sequences of the oldest and the latest event.
        """
        heartbeat = self._stream.server.options.heartbeat
        while True:
            try:
                await asyncio.wait_for(self._gate.acquire(), heartbeat)
                break
            except TimeoutError:
                yield self._stream.format.heartbeat
        try:
            if isinstance(since, int):
                since, gap = _checked(since, bounds)
                if gap:
                    yield self._stream.format.gap(gap)
            if until is not None:
                async for frame in self._read(Span(since, until)):
                    yield frame
                self._stream.finish()
                return
            if not isinstance(since, int) or bounds[1] - since > _FEW_EVENTS:
                async for frame in self._read(Span(since)):
                    yield frame
                since = self._position + 1 if self._position else since
            last = await self._stream.subscribe(self._text)
            if last and not (isinstance(since, int) and since > last):
                async for frame in self._read(Span(since, last)):
                    yield frame
            yield self._stream.format.position(last)
        finally:
            self._gate.release()

    async def _read(self, span: Span) -> AsyncGenerator[bytes]:
        queue = _ReadAhead()
        reading = self._backplane.history(self._subscription.tree, span, queue)
        reading.begin()
        try:
            while True:
                frames: list[bytes] = []
                done = size = 0
                while queue.events and done < _MOST_EVENTS and size < _MOST_BYTES:
                    stored = queue.events.popleft()
                    self._position = stored.sequence
                    if frame := await self._frame(stored):
                        frames.append(frame)
                    done += 1
                    size += len(stored.data)
                if frames:
                    yield b"".join(frames)
                    self._stream.replayed += len(frames)
                if done:
                    reading.done(done)
                    if (delay := self._rate.reserve(0)) > 0:
                        await asyncio.sleep(delay)
                elif queue.end is None:
                    if not await queue.wakeup.wait(self._stream.server.options.heartbeat):
                        yield self._stream.format.heartbeat
                elif queue.end[0] is not None:
                    raise queue.end[0]
                else:
                    return
        finally:
            reading.stop()

    async def _frame(self, stored: Stored) -> bytes:
        """The frame of an event; empty if it does not match."""
        stream, server = self._stream, self._stream.server
        turns, meter = server.reading, server.router.meter
        if not turns.is_free:
            await turns.wait(stream.user)
        before = meter.steps
        frame = b""
        try:
            envelope, text = read_argument(stored.data.decode())
            if server.router.accepts(self._subscription, envelope, text):
                frame = OutgoingEvent(envelope, text, stored.sequence).encoded(self._stream.format.frame)
                server.counters.events_delivered += 1
        except (EventError, Refused, UnicodeDecodeError):
            server.counters.events_unreadable += 1
        steps = meter.steps - before + len(stored.data) // 10
        turns.spend(steps)
        self._rate.reserve(steps / STEPS_PER_EVENT)
        return frame


class _ReadAhead:
    """Receives stored events (`rxhub.transport.durable.HistoryReader`). The transport bounds their number."""

    def __init__(self) -> None:
        self.events: deque[Stored] = deque()
        self.end: tuple[Exception | None] | None = None
        self.wakeup = Wakeup()

    def measured(self, total: int) -> None:
        pass

    def read(self, stored: Stored) -> None:
        self.events.append(stored)
        self.wakeup.set()

    def ended(self, error: Exception | None) -> None:
        self.end = (error,)
        self.wakeup.set()


def _checked(since: int, bounds: tuple[int, int]) -> tuple[int, dict[str, Any] | None]:
    """The sequence to start at, and the gap if events before it are missing."""
    first, last = bounds
    if since > last + 1:
        reason = f"The stream ends at {last}: it was created again, or its server has lost its end."
        return first, {"reason": reason, "since": since, "first": first}
    if 0 < since < first:
        return first, {"reason": "Older events are not stored any more.", "since": since, "first": first}
    return since, None
