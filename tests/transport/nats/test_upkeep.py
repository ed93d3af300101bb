"""Streams that are kept up from line to line."""

from __future__ import annotations

import asyncio

from rxhub.testing import Nats
from rxhub.transport.nats.address import Address
from rxhub.transport.nats.cancellation import cancelled
from rxhub.transport.nats.connection import Line
from rxhub.transport.nats.streams import configuration, ensured
from rxhub.transport.nats.upkeep import Upkeep
from tests.threads import LIMIT


def test_the_upkeep_of_a_stream_does_not_end_with_a_line_since_there_will_be_others(nats: Nats) -> None:
    async def run() -> None:
        address = Address((nats.url,), nats.user, nats.password)
        line = await Line.open(nats.url, address, "test")
        wanted = configuration(nats.stream)
        await ensured(line, wanted)
        upkeep = asyncio.create_task(Upkeep(wanted).run(line))
        await line.ask(f"STREAM.INFO.{nats.stream}")
        await line.close()
        await asyncio.wait_for(line.gone, LIMIT)
        ended, _ = await asyncio.wait([upkeep], timeout=0.05)
        assert not ended
        await cancelled(upkeep)

    asyncio.run(run())
