"""`nats://`: the transport of a hub on a stream of NATS JetStream, from connecting to disconnecting.

The methods are thread-safe and return at once. A session runs a reconnecting client on the I/O loop with two tasks: a
publisher that empties the outbox, and an ordered consumer that delivers what the subscribers want. Nothing is sent
before the filters of the subscribers are in force, so a subscriber receives what its hub publishes after it subscribed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from rxhub.errors import EventError, HubConnectionError, Overflow, ProtocolError
from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.transport import Sink
from rxhub.transport.durable import Handler, HistoryReader, ProcessOptions, Span
from rxhub.transport.io_thread import in_io_thread, io_loop
from rxhub.transport.json_payload import check_depth, write_event
from rxhub.transport.nats.administration import Groups, Streams
from rxhub.transport.nats.dead_letters import DeadLetters
from rxhub.transport.nats.kv_bucket import KvTexts
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.ordered_consumer import ReadPosition
from rxhub.transport.nats.processing.options import WorkerOptions
from rxhub.transport.nats.processing.processing import Processing, stop_all
from rxhub.transport.nats.publishing import StoredPublish
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.session import NatsSession
from rxhub.transport.nats.stream_reader import StreamReader, StreamReaders
from rxhub.transport.nats.subject_filters import SubjectFilters
from rxhub.transport.nats.subjects import Subjects
from rxhub.transport.server_transport import ServerTransport, refused

__all__ = ["NatsTransport"]

T = TypeVar("T")


class NatsTransport(ServerTransport[NatsSession]):
    """Publishes into a stream, and reads from it what the hub's subscribers want."""

    def __init__(self, address: NatsOptions, stream: str, name: str = "rxhub", outbox: int = 100_000) -> None:
        super().__init__(outbox, "were not known to be stored")
        self.address = address
        self.subjects = Subjects(stream)
        self.filters = SubjectFilters(self.subjects)
        self.name = name
        self.playbacks = StreamReaders(self._connected_link)
        self.read_position: ReadPosition | None = None

    @property
    def subscriptions_synced(self) -> bool:
        session = self._session
        return session is not None and session.is_synced

    @property
    def link(self) -> ReconnectingClient:
        """The connection. Raises HubConnectionError if there is none; it must be opened before."""
        session = self._session
        if session is None:
            raise HubConnectionError("The hub is not connected to NATS; call connect() first.")
        return session.link

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return io_loop()

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run something on the connection's loop, and wait for it.

        Raises HubConnectionError if it is called on that loop, where it would wait for itself, or the time is over.
        """
        if in_io_thread():
            coroutine.close()
            raise HubConnectionError(
                "This call waits for the network, so it cannot run in the I/O thread. Call it in another thread."
            )
        try:
            loop = self.loop
        except BaseException:
            # There is none where threads are greenlets.
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
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

    def processor(
        self, subscription: str, options: ProcessOptions, ended: Callable[[Processing], object]
    ) -> Callable[[Handler], Processing]:
        checked = WorkerOptions(subscription=subscription, **options)

        def begin(handler: Handler) -> Processing:
            # On a connection of its own: it neither waits for what is published, nor ends with `close`.
            processing = Processing(self.address, self.subjects, self.name, checked)
            processing.start(handler, self.call, ended)
            return processing

        return begin

    def stop_processing(self, grace: float) -> None:
        stop_all(grace)

    @property
    def dead_letters(self) -> DeadLetters:
        return DeadLetters(self, self.subjects)

    def send(self, event: Event) -> Future[None]:
        try:
            argument = write_event(event)
            check_depth(argument)
            parcel = StoredPublish(event.topic, argument, self.subjects.of(event), str(event.id), event.get("source"))
            self.outbox.put(parcel)
        except ProtocolError as error:
            # Everybody who reads the stream would have to pass over it.
            return refused(EventError(f"The event {event.topic} nests deeper than receivers read: {error}"))
        except (EventError, Overflow, HubConnectionError) as error:
            return refused(error)
        return parcel.accepted

    def add_subscription(self, id: str, expression: Expression, metadata: Mapping[str, Any]) -> None:
        if self.filters.add(id, expression):
            session = self._session
            if session is not None:
                session.update_filters()

    def remove_subscription(self, id: str) -> None:
        self.filters.remove(id)
        session = self._session
        if session is not None:
            with suppress(RuntimeError):  # the loop of a process that ends
                session.loop.call_soon_threadsafe(session.shrink_filters_later)

    def read(self, expression: Expression, span: Span, reader: HistoryReader) -> StreamReader:
        return StreamReader(self.loop, self.subjects, expression, span, reader, self.playbacks)

    @property
    def streams(self) -> Streams:
        return Streams(self)

    @property
    def groups(self) -> Groups:
        return Groups(self, self.subjects)

    def kv_put(self, key: str, text: str) -> Future[None]:
        return self._call_kv(lambda notes: notes.put(key, text))

    def kv_get(self, key: str) -> Future[str | None]:
        return self._call_kv(lambda notes: notes.get(key))

    def close(self, timeout: float = 5.0, reconnecting: bool = False) -> Future[None]:
        if not reconnecting and (self._session is not None or self.playbacks):
            with suppress(RuntimeError):  # the loop of a process that ends
                self.loop.call_soon_threadsafe(self.playbacks.fail_all)
        return super().close(timeout, reconnecting)

    def forked(self) -> None:
        for session in (self._session, self._last):
            if session is not None:
                session.link.abandon()
        super().forked()
        self.playbacks = StreamReaders(self._connected_link)

    def _new_session(self, sink: Sink, loop: asyncio.AbstractEventLoop, last: NatsSession | None) -> NatsSession:
        return NatsSession(self, sink, loop, last)

    def _connected_link(self) -> ReconnectingClient | None:
        session = self._session
        return None if session is None or not session.is_connected else session.link

    def _call_kv(self, question: Callable[[KvTexts], Coroutine[Any, Any, T]]) -> Future[T]:
        session = self._session
        if session is None:
            return refused(HubConnectionError("The hub is not connected to NATS; call connect() first."))
        return asyncio.run_coroutine_threadsafe(question(session.kv), session.loop)
