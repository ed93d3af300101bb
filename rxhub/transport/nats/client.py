"""`nats://`: a hub's place at a stream of NATS JetStream, kept until the hub hangs up.

Theory of operation. The methods of the transport are called from any thread and return at once; what they change is the
outbox and the filters, which take locks. From `open` to `close` there is one link on the background loop, and on it two
parts: publishing empties the outbox, and an ordered read brings what subscribers want, the hub's own events included.
Nothing that is published goes out before the filters of the subscribers that were there are in force, so that a
subscriber sees what its hub publishes after it came.

A hub that cannot take more for the moment is not sent more: what waits, waits in the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from rxhub.errors import EventError, HubConnectionError, Overflow, ProtocolError, StreamError
from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.state import ConnectionState, Phase
from rxhub.transport import Sink
from rxhub.transport.loop import background, in_its_thread
from rxhub.transport.nats.address import Address
from rxhub.transport.nats.cancelling import cancelled
from rxhub.transport.nats.catalogue import catalogue
from rxhub.transport.nats.dead import DeadLetters
from rxhub.transport.nats.filters import Filters
from rxhub.transport.nats.line import Line
from rxhub.transport.nats.link import Link
from rxhub.transport.nats.notes import Notes
from rxhub.transport.nats.ordered import Ordered, Place
from rxhub.transport.nats.processing.group import Since
from rxhub.transport.nats.processing.plan import Plan
from rxhub.transport.nats.processing.processing import Processing
from rxhub.transport.nats.publishing import Parcel, Publishing
from rxhub.transport.nats.pulling import Message
from rxhub.transport.nats.replay import Playback, Playbacks
from rxhub.transport.nats.streams import configuration, ensured
from rxhub.transport.nats.subjects import Subjects
from rxhub.transport.outbox import Outbox
from rxhub.transport.payload import check_depth, read_stored, write_event
from rxhub.transport.stored import Reader, Span, StreamState

__all__ = ["NatsTransport"]

# Of the time for which the stream knows ids: how long one of them is sent again.
_RESENT = 0.75
_NANOSECONDS = 1_000_000_000
# A filter that nobody needs any more is kept for that long: what it brings costs less than changing it.
_LINGERING = 1.0
# Seconds for JetStream to answer, after the server has let us in.
_PATIENCE = 10.0
# Between two looks whether a hub that was full has room.
_BREATH = 0.005

T = TypeVar("T")

logger = logging.getLogger("rxhub")


class NatsTransport:
    """Publishes into a stream, and reads from it what the hub's subscribers want.

    Args:
        address: of the NATS servers.
        stream: the name of the stream, which is made if it is not there.
        name: of the connection, as the servers' statistics show it.
        outbox: how many events may wait for being stored.

    Attributes:
        name: as given.
        subjects: how topics are named in NATS.
        place: where the next `open` goes on reading; None is from then on.

    Raises:
        ValueError: if a stream cannot be called so, or the outbox has no room at all.
    """

    def __init__(self, address: Address, stream: str, name: str = "rxhub", outbox: int = 100_000) -> None:
        self.address = address
        self.subjects = Subjects(stream)
        self.outbox = Outbox(outbox)
        self.filters = Filters(self.subjects)
        self.name = name
        self._life: _Life | None = None
        self._last: _Life | None = None
        self._opening = Lock()
        self.playbacks = Playbacks(self._connected_link)
        self.place: Place | None = None

    @property
    def unsent(self) -> int:
        return len(self.outbox)

    @property
    def refused(self) -> int:
        return self.outbox.refused

    @property
    def announced(self) -> bool:
        life = self._life
        return life is not None and life.is_settled

    @property
    def link(self) -> Link:
        """The connection.

        Raises:
            HubConnectionError: if there is none; it must be opened before.
        """
        life = self._life
        if life is None:
            raise HubConnectionError("The hub is not connected to NATS; call connect() first.")
        return life.link

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the connection lives."""
        return background()

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run something on the connection's loop, and wait for it.

        Args:
            coroutine: what to run.
            timeout: seconds, after which it is cancelled.

        Raises:
            HubConnectionError: if it is called on that loop, where it would wait for itself, or the time is over.
        """
        if in_its_thread():
            coroutine.close()
            raise HubConnectionError("This waits for the network, and cannot be called in the network's own thread.")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout)
        except TimeoutError as error:
            if not future.done():
                future.cancel()
                raise HubConnectionError(f"NATS did not answer within {timeout:g} s.") from error
            raise
        except BaseException:
            # Ctrl-C: who does not wait for it does not want it.
            future.cancel()
            raise

    def process(
        self,
        plan: Plan,
        handler: Callable[[Event], object],
        since: Since,
        replace: bool,
        parted: Callable[[Processing], object],
    ) -> Processing:
        # On a connection of its own: it neither waits for what is published, nor ends with `close`.
        processing = Processing(self.address, self.subjects, self.name, plan)
        processing.start(handler, since, replace, self.call, parted)
        return processing

    @property
    def dead(self) -> DeadLetters:
        return DeadLetters(self, self.subjects)

    def hold(self) -> None:
        self.outbox.reopen()

    def open(self, sink: Sink) -> None:
        """Connect; if it is connecting again already, do not wait for the next attempt.

        Raises:
            HubClosed: if the interpreter is exiting.
            HubConnectionError: if it is called where it could only wait for itself.
        """
        loop = background()
        if in_its_thread():
            raise HubConnectionError(
                "connect() was called in the network's own thread, by a callback of a future, which would wait for "
                "itself. Hand it to another thread."
            )
        self.outbox.reopen()
        with self._opening:
            life = self._life
            if life is None:
                self._life = life = _Life(self, sink, loop, self._last)
                loop.call_soon_threadsafe(life.begin)
            else:
                loop.call_soon_threadsafe(life.hurry)

    def send(self, event: Event) -> Future[None]:
        try:
            argument = write_event(event)
            check_depth(argument)
            parcel = Parcel(event.topic, argument, self.subjects.of(event), str(event.id))
            self.outbox.put(parcel)
        except ProtocolError as error:
            # Everybody who reads the stream would have to pass over it.
            return _refused(EventError(f"The event {event.topic} nests deeper than receivers read: {error}"))
        except (EventError, Overflow, HubConnectionError) as error:
            return _refused(error)
        return parcel.accepted

    def wait_for_room(self, timeout: float) -> bool:
        return self.outbox.wait_for_room(timeout)

    def interest(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None:
        if self.filters.add(id, expression):
            life = self._life
            if life is not None:
                life.widen()

    def forget(self, id: str) -> None:
        self.filters.remove(id)
        life = self._life
        if life is not None:
            with suppress(RuntimeError):  # the loop of a process that ends
                life.loop.call_soon_threadsafe(life.linger)

    def read(self, expression: Expression, span: Span, reader: Reader) -> Playback:
        playback = Playback(self.loop, self.subjects, expression, span, reader, self.playbacks.leave)
        self.loop.call_soon_threadsafe(self.playbacks.join, playback)
        return playback

    def streams(self) -> tuple[StreamState, ...]:
        return self.call(catalogue(self.link), _PATIENCE)

    def keep(self, key: str, text: str) -> Future[None]:
        return self._ask(lambda notes: notes.write(key, text))

    def kept(self, key: str) -> Future[str | None]:
        return self._ask(lambda notes: notes.read(key))

    def close(self, timeout: float = 5.0, keep: bool = False) -> Future[None]:
        life, self._life = self._life, None
        ended: Future[None] = Future()
        if not keep and (life is not None or self.playbacks):
            with suppress(RuntimeError):  # the loop of a process that ends
                self.loop.call_soon_threadsafe(self.playbacks.lose)
        if life is not None:
            self._last = life
            life.loop.call_soon_threadsafe(life.end, timeout, keep, ended)
        elif self.unsent and not keep:
            _settle_accounts(self.outbox, ended)
        else:
            ended.set_result(None)
        return ended

    def forked(self) -> None:
        for life in (self._life, self._last):
            if life is not None:
                life.link.abandon()
        self._life = self._last = None
        self._opening = Lock()
        self.playbacks = Playbacks(self._connected_link)
        self.outbox.forked()
        self.filters.forked()

    def ended(self, sink: Sink, reason: str = "", attempts: int = 0) -> None:
        """A life has ended; if another one has begun meanwhile, that it is disconnected would be taken for its news."""
        if self._life is None:
            sink.changed(ConnectionState(Phase.DISCONNECTED, reason, attempts))

    def over(self, life: _Life) -> None:
        """A life has ended by itself."""
        if self._life is life:
            self._life = None

    def _connected_link(self) -> Link | None:
        life = self._life
        return None if life is None or not life.is_connected else life.link

    def _ask(self, question: Callable[[Notes], Coroutine[Any, Any, T]]) -> Future[T]:
        life = self._life
        if life is None:
            refused: Future[T] = Future()
            refused.set_exception(HubConnectionError("The hub is not connected to NATS; call connect() first."))
            return refused
        return asyncio.run_coroutine_threadsafe(question(life.notes), life.loop)


class _Life:
    """From `open` to `close`. All but the constructor runs on the loop."""

    def __init__(
        self, transport: NatsTransport, sink: Sink, loop: asyncio.AbstractEventLoop, last: _Life | None
    ) -> None:
        self.loop = loop
        self.link = Link(transport.address, transport.name, self._told)
        self.notes = Notes(self.link, transport.subjects.stream)
        self.ending: asyncio.Task[None] | None = None
        self._last = last
        self._transport = transport
        self._sink = sink
        self._live: Ordered | None = None
        # What the hub has no room for, with its sequence.
        self._waiting: deque[tuple[int, Event]] = deque()
        self._lingering: asyncio.TimerHandle | None = None
        self._starting: asyncio.Task[None] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether what is stored from now on comes to all who want it."""
        return self._live is not None and self._live.is_settled

    def begin(self) -> None:
        self._starting = self.loop.create_task(self._start())

    @property
    def is_connected(self) -> bool:
        """Whether it has been: parts can be attached to the link."""
        return self._live is not None

    def hurry(self) -> None:
        self.link.hurry()

    def widen(self) -> None:
        """There is a filter that is not read yet; from any thread, since nothing may be sent before that is known."""
        live = self._live
        if live is not None:
            live.change()

    def linger(self) -> None:
        """There may be a filter that nobody needs any more."""
        if self._live is not None and self._lingering is None:
            self._lingering = self.loop.call_later(_LINGERING, self._linger_no_more)

    def end(self, timeout: float, keep: bool, ended: Future[None]) -> None:
        self.ending = self.loop.create_task(self._end(timeout, keep, ended))

    async def _start(self) -> None:
        transport, sink = self._transport, self._sink
        last, self._last = self._last, None
        # Two lives at once would share an outbox.
        if last is not None and last.ending is not None:
            await asyncio.wait([last.ending])
            transport.outbox.reopen()
        sink.changed(ConnectionState(Phase.CONNECTING, "", 1))
        try:
            await self._connect()
        except Exception as error:
            if not isinstance(error, (HubConnectionError, StreamError)):
                # Whoever waits for the connection must not wait for ever.
                logger.error("Connecting ends by a mistake of rxhub's own: %s", error, exc_info=error)
            transport.over(self)
            await self.link.close()
            transport.ended(sink, str(error), 1)

    async def _connect(self) -> None:
        transport, link = self._transport, self.link
        await link.start()
        stream = transport.subjects.stream
        wanted = configuration(stream, replicas=link.replicas)
        info = await ensured(link, wanted)
        horizon = _RESENT * info["config"]["duplicate_window"] / _NANOSECONDS
        live = Ordered(stream, self._take, transport.filters.adopt, start=transport.place)
        self._live, transport.place = live, None
        link.attach(_Upkeep(wanted))
        link.attach(live)
        await self._settled(live)
        link.attach(Publishing(transport.outbox, horizon, live))
        transport.playbacks.resume(link)
        self._sink.changed(ConnectionState(Phase.CONNECTED))

    async def _settled(self, live: Ordered) -> None:
        """Wait until the stream is read; who connects waits for it, and so not longer than the first line lasts."""
        line = await self.link.ready()
        settling = self.loop.create_task(live.settled())
        try:
            await asyncio.wait([settling, line.gone], timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if not settling.done() or self.link.line is None:
                why = line.gone.result() if line.gone.done() else f"JetStream does not answer within {_PATIENCE:g} s"
                raise HubConnectionError(f"Connected to NATS at {line.server}, but {why}.")
        finally:
            await cancelled(settling)

    def _told(self, connected: bool, reason: str, attempts: int) -> None:
        # Of the first connection, and of the last, others tell.
        if self._starting is None or not self._starting.done() or self.link.is_closed:
            return
        if connected:
            self._sink.changed(ConnectionState(Phase.CONNECTED))
        elif attempts:
            self._sink.changed(ConnectionState(Phase.CONNECTING, reason, attempts))
        else:
            self._sink.changed(ConnectionState(Phase.DISCONNECTED, reason))

    def _linger_no_more(self) -> None:
        self._lingering = None
        if self._live is not None:
            self._live.change()

    def _take(self, message: Message) -> None:
        try:
            event = read_stored(message.data)
        except (ProtocolError, EventError) as error:
            logger.error(
                "What is stored as %d in %s is no event, and is passed over: %s",
                message.sequence,
                self._transport.subjects.stream,
                error,
            )
            self._done()
            return
        if self._waiting or not self._sink.has_room():
            self._waiting.append((message.sequence, event))
            if len(self._waiting) == 1:
                self.loop.call_later(_BREATH, self._retry)
        else:
            self._sink.received(event)
            self._done()

    def _retry(self) -> None:
        while self._waiting and self._sink.has_room():
            self._sink.received(self._waiting.popleft()[1])
            self._done()
        if self._waiting and not self.link.is_closed:
            self.loop.call_later(_BREATH, self._retry)

    def _done(self) -> None:
        if self._live is not None:
            self._live.done()

    async def _end(self, timeout: float, keep: bool, ended: Future[None]) -> None:
        transport = self._transport
        try:
            deadline = monotonic() + timeout
            if self._starting is not None and not self._starting.done():
                if self._live is not None:
                    await asyncio.wait([self._starting], timeout=timeout)
                await cancelled(self._starting)
            while transport.unsent and self._live is not None and monotonic() < deadline:
                await asyncio.sleep(0.01)
            await self.link.close()
        finally:
            place = self._place()
            self._waiting.clear()
            if self._lingering is not None:
                self._lingering.cancel()
            transport.ended(self._sink)
            if keep:
                transport.outbox.again(0.0)
                transport.place = place
                ended.set_result(None)
            else:
                _settle_accounts(transport.outbox, ended)

    def _place(self) -> Place | None:
        """Where the next life goes on: before what the hub had no room for."""
        place = None if self._live is None else self._live.place
        if place is not None and self._waiting:
            return place._replace(sequence=self._waiting[0][0] - 1)
        return place


class _Upkeep:
    """Makes the stream if a server is there again that has lost it; a part of a link."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = wanted

    async def run(self, line: Line) -> None:
        """Once for each line: a stream that somebody deletes while it stands is not made again by us."""
        await ensured(line, self._wanted)
        await asyncio.shield(line.gone)


def _refused(error: Exception) -> Future[None]:
    refused: Future[None] = Future()
    refused.set_exception(error)
    return refused


def _settle_accounts(outbox: Outbox, ended: Future[None]) -> None:
    """Give up what is left, and tell how much it was."""
    left = len(outbox)
    error = HubConnectionError(f"{left} events were not known to be stored when the hub was disconnected.")
    outbox.give_up(error)
    if left:
        ended.set_exception(error)
    else:
        ended.set_result(None)
