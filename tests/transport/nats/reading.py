"""What tests of reading share: a link, a stream, and what was taken of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any
from uuid import uuid4

from rxhub.embedded import PrivateServer
from rxhub.errors import StreamError
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.ordered_consumer import OrderedConsumer, ReadPosition
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import ensure_stream, stream_config
from tests.threads import LIMIT

__all__ = ["Reader", "Studio", "studio", "until"]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not holds():
            await asyncio.sleep(0.002)


class Studio:
    """A stream, a link that reads it and one that stores into it.

    Attributes:
        stored: the subjects of what was stored, in order: the first has sequence 1.
    """

    def __init__(self, stream: str, link: ReconnectingClient, peer: ReconnectingClient) -> None:
        self.stream = stream
        self.link = link
        self.peer = peer
        self.stored: list[str] = []

    async def make(self) -> None:
        self.stored = []
        await ensure_stream(self.peer, stream_config(self.stream))

    async def delete(self) -> None:
        await self.peer.js_request(f"STREAM.DELETE.{self.stream}")

    async def store(self, *topics: str) -> None:
        """Store events of these topics, one after the other."""
        for topic in topics:
            line = await self.peer.ready()
            answer = await line.client.request(f"{self.stream}.event.{topic}", b'{"topic":"x"}', timeout=LIMIT)
            told: dict[str, Any] = json.loads(answer.data)
            self.stored.append(topic)
            assert told["seq"] == len(self.stored), told

    async def consumers(self) -> list[str]:
        return (await self.peer.js_request(f"CONSUMER.NAMES.{self.stream}"))["consumers"] or []

    async def drop_consumers(self) -> None:
        for name in await self.consumers():
            with suppress(StreamError):  # the reader was quicker
                await self.peer.js_request(f"CONSUMER.DELETE.{self.stream}.{name}")

    def break_line(self) -> None:
        """Cut the socket of the link that reads."""
        line = self.link.connection
        if line is not None:
            client: Any = line.client
            client._transport._bare_io_writer.transport.abort()


@asynccontextmanager
async def studio(server: PrivateServer, url: str = "") -> AsyncIterator[Studio]:
    links = [
        ReconnectingClient(NatsOptions((at,), server.user, server.password)) for at in (url or server.url, server.url)
    ]
    for link in links:
        await link.start()
    made = Studio(f"test-{uuid4().hex[:12]}", *links)
    await made.make()
    try:
        yield made
    finally:
        for link in links:
            await link.close()
    assert len(asyncio.all_tasks()) == 1, "nothing is left behind"


class Reader:
    """An ordered reading, and what it has brought.

    Attributes:
        taken: sequences, in the order in which they came.
        filters: topics, as they are read from the next change on.
        held: what was taken is not dealt with.
    """

    def __init__(
        self,
        at: Studio,
        *filters: str,
        start: int | ReadPosition | datetime | None = None,
        ahead: int = 512,
        rewound: Callable[[int], object] | None = None,
    ) -> None:
        self.taken: list[int] = []
        self.messages: list[Message] = []
        self.filters = filters
        self.held = False
        self._undone = 0
        self._stream = at.stream
        self.ordered = OrderedConsumer(at.stream, self._take, self._subjects, start=start, ahead=ahead, rewound=rewound)

    def change(self, *filters: str) -> None:
        self.filters = filters
        self.ordered.update_filters()

    def release(self) -> None:
        self.held = False
        self.ordered.done(self._undone)
        self._undone = 0

    async def has(self, *sequences: int) -> None:
        """Wait until as many have come; they are these."""
        await until(lambda: len(self.taken) >= len(sequences))
        assert self.taken == list(sequences)

    def _subjects(self) -> Sequence[str]:
        return [f"{self._stream}.event.{topic}" for topic in self.filters]

    def _take(self, message: Message) -> None:
        self.taken.append(message.sequence)
        self.messages.append(message)
        if self.held:
            self._undone += 1
        else:
            self.ordered.done()
