"""What the server is told of the messages that a process was given; a part of a link.

What cannot be sent, since there is no line, is sent by the next one: an acknowledgement counts for any delivery of its
message. There are never more than messages that were taken. What was written into a line that broke may be lost; then
the message comes again, and whoever took it remembers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

import msgspec
import nats.errors

from rxhub.transport.nats.connection import NatsConnection

__all__ = ["ACK", "IN_PROGRESS", "NAK", "AckSender", "nak_after"]

ACK = b"+ACK"
NAK = b"-NAK"
IN_PROGRESS = b"+WPI"

_NANOSECONDS = 1_000_000_000


def nak_after(seconds: float) -> bytes:
    """Not now, but after so many seconds."""
    return NAK + b" " + msgspec.json.encode({"delay": max(1, int(seconds * _NANOSECONDS))})


class AckSender:
    """Sends acknowledgements, in the order in which they were put."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._due = asyncio.Event()

    def put(self, reply: str, verb: bytes) -> None:
        """Tell what became of a message, now or when there is a line."""
        self._waiting.append((reply, verb))
        self._due.set()

    async def run(self, line: NatsConnection) -> None:
        """Send until cancelled."""
        waiting, publish = self._waiting, line.client.publish
        while True:
            while waiting:
                await publish(*waiting[0])
                waiting.popleft()
            self._due.clear()
            await self._due.wait()

    async def send_in_progress(self, line: NatsConnection, replies: list[str], timeout: float) -> bool:
        """Tell that these are still being worked on; whether the server has heard it within so many seconds."""
        with suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(timeout):
                for reply in replies:
                    await line.client.publish(reply, IN_PROGRESS)
                await line.flush()
            return True
        return False

    async def flush(self, line: NatsConnection | None, timeout: float) -> None:
        """Wait until all is with the server, if it can be within so many seconds."""
        with suppress(TimeoutError, nats.errors.Error, OSError):
            async with asyncio.timeout(timeout):
                while self._waiting:
                    await asyncio.sleep(0.005)
                if line is not None:
                    await line.flush()
