"""Streams that are there again after their server has lost them; a part of a link."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.streams import ensure_stream

__all__ = ["StreamRestorer"]


class StreamRestorer:
    """Makes streams that a server which is there again does not have.

    Args:
        wanted: their configurations; one that is there stays as it is.
    """

    def __init__(self, *wanted: Mapping[str, Any]) -> None:
        self._wanted = wanted

    async def run(self, line: NatsConnection) -> None:
        """Once for each line: a stream that somebody deletes while it stands is not made again by us."""
        for each in self._wanted:
            await ensure_stream(line, each)
        # Until cancelled, and not until the line is gone: a part that comes back is done, and none of the next line's.
        await asyncio.get_running_loop().create_future()
