"""Streams that are kept up from line to line."""

from __future__ import annotations

import asyncio

from rxhub.testing import Nats
from rxhub.transport.nats.cancellation import cancel_and_wait
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.streams import StreamRestorer, ensure_stream, stream_config
from tests.threads import LIMIT


def test_the_upkeep_of_a_stream_does_not_end_with_a_line_since_there_will_be_others(nats: Nats) -> None:
    async def run() -> None:
        address = NatsOptions((nats.url,), nats.user, nats.password)
        line = await NatsConnection.open(nats.url, address, "test")
        wanted = stream_config(nats.stream)
        await ensure_stream(line, wanted)
        upkeep = asyncio.create_task(StreamRestorer(wanted).run(line))
        await line.js_request(f"STREAM.INFO.{nats.stream}")
        await line.close()
        await asyncio.wait_for(line.closed, LIMIT)
        ended, _ = await asyncio.wait([upkeep], timeout=0.05)
        assert not ended
        await cancel_and_wait(upkeep)

    asyncio.run(run())
