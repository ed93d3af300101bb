"""How many messages a stream stores over time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import NamedTuple

from rxhub.transport.nats.positions import count_from
from rxhub.transport.nats.streams import JetStreamApi

__all__ = ["EventCount", "event_counts"]

_CONCURRENT_REQUESTS = 8


class EventCount(NamedTuple):
    """The number of messages that were stored in a span of time.

    Attributes:
        since: the begin of the span.
        until: its end, which is not included.
        events: the number.
    """

    since: datetime
    until: datetime
    events: int


async def event_counts(asking: JetStreamApi, stream: str, number: int) -> list[EventCount]:
    """The messages of a stream in spans of equal length, from the first to the last.

    Args:
        asking: the connection.
        stream: its name.
        number: of spans.

    Returns:
        The counts in order; none if the stream is empty.

    Raises:
        StreamError: if JetStream rejects a request.
        HubConnectionError: if it does not answer.
    """
    state = (await asking.js_request(f"STREAM.INFO.{stream}"))["state"]
    if not state["messages"]:
        return []
    first, last = datetime.fromisoformat(state["first_ts"]), datetime.fromisoformat(state["last_ts"])
    step = max((last - first) / number, timedelta(milliseconds=1))
    edges = [first + step * index for index in range(number)] + [
        max(last, first + step * number) + timedelta(seconds=1)
    ]
    slots = asyncio.Semaphore(_CONCURRENT_REQUESTS)

    async def stored_since(time: datetime) -> int:
        async with slots:
            return await count_from(asking, stream, time)

    left = [state["messages"], *await asyncio.gather(*map(stored_since, edges[1:-1])), 0]
    spans = zip(edges, edges[1:], left, left[1:], strict=False)
    # Messages are deleted and stored meanwhile.
    return [EventCount(since, until, max(0, begin - end)) for since, until, begin, end in spans]
