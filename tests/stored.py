"""What a stream holds, read by nats-py itself."""

from __future__ import annotations

import asyncio
import json
from time import monotonic
from typing import Any

import nats
import nats.errors
from nats.js.errors import APIError, NotFoundError

from rxhub.testing import Nats
from tests.threads import LIMIT

__all__ = ["limit", "stored"]


def stored(where: Nats) -> list[dict[str, Any]]:
    """The events of a stream, in order; none if there is no such stream. A cluster that elects is asked again."""
    end = monotonic() + LIMIT
    while True:
        try:
            return asyncio.run(_stored(where))
        except (APIError, nats.errors.Error):
            if monotonic() > end:
                raise


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


def limit(where: Nats, max_bytes: int) -> None:
    """Bound a stream that is there, or take its bound away with -1; it refuses what finds no room."""

    async def update() -> None:
        client = await nats.connect(where.url, user=where.user, password=where.password)
        try:
            js = client.jetstream()
            config = (await js.stream_info(where.stream)).config
            await js.update_stream(config, max_bytes=max_bytes)
        finally:
            await client.close()

    asyncio.run(update())
