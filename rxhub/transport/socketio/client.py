"""`http(s)://`: a hub's line to an event server, kept up until the hub hangs up.

Theory of operation. The methods of the transport are called from any thread and return at once; what they
change is the outbox and the interests, which take locks, and the present `_Life`, which is the time between `open` and
`close` and runs as one task on the background loop. A life is a sequence of lines (connections). The first one must
succeed, or the life is over, and whoever called `connect` is told; after that a line that breaks is followed by the
next, with growing pauses, for ever: after a night without a network a hub is to be there in the morning.

A line begins by announcing all subscribers anew, then sends what was in flight when the last one broke, then the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any

from rxhub.concurrency.supervise import supervise
from rxhub.errors import EventError, HubConnectionError, Overflow
from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.transport import Sink
from rxhub.transport.backoff import Backoff
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.finite_numbers import non_finite
from rxhub.transport.json_payload import write_event, write_json
from rxhub.transport.outbox import Letter
from rxhub.transport.server_transport import Remote, fail, refused
from rxhub.transport.socketio.connection import Line
from rxhub.transport.socketio.deduplication import Recent
from rxhub.transport.socketio.endpoint import Endpoint
from rxhub.transport.socketio.handshake import Unreachable
from rxhub.transport.socketio.protocol import MAX_PACKET
from rxhub.transport.socketio.subscription_filter import announced
from rxhub.transport.socketio.subscription_sync import Interest, Interests

__all__ = ["SocketIOTransport"]

# A line that broke sooner has not held, and the pauses go on growing.
_HELD = 10.0
# How long a server that has never acknowledged anything is waited for at the end.
_COURTESY = 1.0

logger = logging.getLogger("rxhub")


class SocketIOTransport(Remote["_Life"]):
    """Speaks Socket.IO 0.9 as ftrack's event server does.

    Args:
        endpoint: the server.
        source: who we are; becomes the source of what the server is told of our subscribers.
        outbox: how many events may wait for being accepted by the server.

    Raises:
        ValueError: if the outbox has no room at all.
    """

    def __init__(self, endpoint: Endpoint, source: Mapping[str, Any], outbox: int = 100_000) -> None:
        super().__init__(outbox, "had not been accepted by the server")
        self.endpoint = endpoint
        self.source = source
        self.interests = Interests()
        self.recent = Recent()

    @property
    def announced(self) -> bool:
        life = self._life
        line = None if life is None else life.line
        return line is not None and line.announced

    def send(self, event: Event) -> Future[None]:
        try:
            letter = Letter(event.topic, write_event(event))
            if len(letter.argument) > MAX_PACKET - 100:
                raise EventError(
                    f"The event {event.topic} has {len(letter.argument)} characters; at most {MAX_PACKET - 100} can "
                    "be sent. Put the bulk of it where receivers can fetch it, and send the address."
                )
            self.outbox.put(letter)
        except (EventError, Overflow, HubConnectionError) as error:
            return refused(error)
        return letter.accepted

    def interest(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None:
        try:
            if found := non_finite(metadata):
                raise ValueError(found)
            described = write_json(metadata)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            logger.warning(
                "The server is told nothing but the id of subscriber %s, since its metadata cannot be written as JSON: "
                "%s. Events with a target other than this id may not arrive.",
                id,
                error,
            )
            described = write_json({"id": str(id)})
        self.interests.add(id, Interest(announced(expression), described))
        self.outbox.ring()

    def forget(self, id: str) -> None:
        self.interests.remove(id)
        self.outbox.ring()

    def forked(self) -> None:
        for life in (self._life, self._last):
            if life is not None and life.line is not None:
                life.line.abandon()
        super().forked()
        self.interests.forked()
        self.recent = Recent()

    def _new_life(self, sink: Sink, loop: asyncio.AbstractEventLoop, last: _Life | None) -> _Life:
        return _Life(self, sink, loop, last)


class _Life:
    """From `open` to `close`. All but the constructor runs on the loop."""

    def __init__(
        self, transport: SocketIOTransport, sink: Sink, loop: asyncio.AbstractEventLoop, last: _Life | None
    ) -> None:
        self.loop = loop
        self._last = last
        self.line: Line | None = None
        self._transport = transport
        self._sink = sink
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.ending: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = supervise(self._run, "connection to an event server", loop=self.loop, failed=self._failed)

    def hurry(self) -> None:
        self._hurry.set()

    def end(self, timeout: float, keep: bool, ended: Future[None]) -> None:
        def failed(error: Exception) -> None:
            fail(ended, error)

        self.ending = supervise(lambda: self._end(timeout, keep, ended), "disconnecting", loop=self.loop, failed=failed)

    def _failed(self, error: Exception) -> None:
        """The connection ends by an internal error; a caller of `connect` that waits for it is told."""
        self._transport.over(self)
        self._sink.changed(ConnectionState(Phase.DISCONNECTED, f"{type(error).__name__}: {error}"))

    async def _run(self) -> None:
        transport, sink = self._transport, self._sink
        url = transport.endpoint.url
        await transport.follow(self._last)
        self._last = None
        backoff = Backoff()
        reason, attempts, first = "", 0, True
        while True:
            attempts += 1
            sink.changed(ConnectionState(Phase.CONNECTING, reason, attempts))
            try:
                line = await Line.open(transport.endpoint)
            except Unreachable as error:
                reason, pause = str(error), error.retry_after
                if first:
                    transport.over(self)
                    sink.changed(ConnectionState(Phase.DISCONNECTED, reason, attempts))
                    return
                logger.log(logging.WARNING if attempts == 1 else logging.DEBUG, "Not connected again yet: %s", reason)
            else:
                began, first, attempts, pause = monotonic(), False, 0, 0.0
                if reason:
                    logger.info("Connected to %s again.", url)
                self.line = line
                sink.changed(ConnectionState(Phase.CONNECTED))
                try:
                    reason = await line.run(
                        transport.source, transport.interests, transport.outbox, transport.recent, sink
                    )
                finally:
                    self.line = None
                    self._broken(line.too_large, reason)
                logger.warning("The connection to %s ended, and is made again: %s.", url, reason)
                if monotonic() - began > _HELD:
                    backoff.reset()
            sink.changed(ConnectionState(Phase.DISCONNECTED, reason, attempts))
            await self._pause(max(pause, backoff.delay()))

    def _broken(self, too_large: bool, reason: str) -> None:
        culprit = self._transport.outbox.broke(too_large)
        if culprit is not None:
            why = f"{culprit.breaks} connections in a row broke while it was sent ({reason})"
            if too_large:
                why = f"with {len(culprit.argument)} characters it is too large for the server"
            error = HubConnectionError(f"{culprit.topic} was given up: {why}.")
            logger.error("%s", error)
            culprit.settle(error)

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _end(self, timeout: float, keep: bool, ended: Future[None]) -> None:
        transport = self._transport
        await transport.follow(self._last)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._flush()
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])
        finally:
            transport.ended(self._sink)
            if keep:
                ended.set_result(None)
            else:
                transport.settle_accounts(ended)

    async def _flush(self) -> None:
        """Wait until what was handed on has been accepted. Polls: it happens once in a life."""
        outbox, interests = self._transport.outbox, self._transport.interests
        began = monotonic()
        while self._task is not None and not self._task.done():
            line = self.line
            if not outbox.waiting:
                late = line is not None and not line.answers and monotonic() - began > _COURTESY
                told = line is None or not interests.waiting
                if told and (late or not outbox.in_flight):
                    return
            await asyncio.sleep(0.01)
