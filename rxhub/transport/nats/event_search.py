"""Find an event in a stream by its id."""

from __future__ import annotations

import asyncio

from rxhub.errors import EventError, NotFoundError, ProtocolError
from rxhub.expression import parse
from rxhub.transport.durable import HistoryReading, Span, Stored
from rxhub.transport.json_payload import read_stored
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.stream_reader import StreamReader, StreamReaders
from rxhub.transport.nats.subjects import Subjects

__all__ = ["sequence_of"]


async def sequence_of(link: ReconnectingClient, subjects: Subjects, id: str) -> int:
    """The sequence of the first event with an id. Reads the stream, because it has no index of ids.

    Raises:
        NotFoundError: if there is none.
        StreamError: if JetStream rejects a request.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[int] = loop.create_future()
    search = _Search(id, found)
    reading = StreamReader(loop, subjects, parse("topic=*"), Span(), search, StreamReaders(lambda: link))
    search.reading = reading
    reading.begin()
    try:
        sequence = await found
    finally:
        reading.stop()
    if not sequence:
        raise NotFoundError(f"The stream {subjects.stream} contains no event with the id {id!r}.")
    return sequence


class _Search:
    """Reads until it finds the event (`rxhub.transport.durable.HistoryReader`)."""

    reading: HistoryReading

    def __init__(self, id: str, found: asyncio.Future[int]) -> None:
        self._id = id
        # Parsing each event would take longer. An id that JSON writes with escapes is not searched for in this way.
        self._hint = id.encode() if id.isascii() and id.isprintable() and not {'"', "\\"} & {*id} else b""
        self._found = found

    def measured(self, total: int) -> None:
        """The number of events does not matter."""

    def read(self, stored: Stored) -> None:
        if not self._found.done() and self._hint in stored.data and self._has_id(stored.data):
            self._found.set_result(stored.sequence)
        self.reading.done(1)

    def ended(self, error: Exception | None) -> None:
        if self._found.done():
            return
        if error is None:
            self._found.set_result(0)
        else:
            self._found.set_exception(error)

    def _has_id(self, data: bytes) -> bool:
        try:
            return str(read_stored(data).fields["id"]) == self._id
        except (EventError, ProtocolError):
            return False
