"""What a stream holds, read by nats-py itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import nats
from nats.js.errors import NotFoundError

from rxhub.testing import Nats

__all__ = ["stored"]


def stored(where: Nats) -> list[dict[str, Any]]:
    """The events of a stream, in order; none if there is no such stream."""
    return asyncio.run(_stored(where))


async def _stored(where: Nats) -> list[dict[str, Any]]:
    hosts = where.url.removeprefix("nats://").split(",")
    client = await nats.connect([f"nats://{host}" for host in hosts], user=where.user, password=where.password)
    try:
        js = client.jetstream()
        try:
            state = (await js.stream_info(where.stream)).state
        except NotFoundError:
            return []
        events: list[dict[str, Any]] = []
        if state.messages:
            reader = await js.subscribe(f"{where.stream}.>", stream=where.stream, ordered_consumer=True)
            while len(events) < state.messages:
                events.append(json.loads((await reader.next_msg(20)).data))
        return events
    finally:
        await client.close()
