"""Acknowledgements of messages, sent in order.

Acknowledgements that cannot be sent wait for the next connection, because JetStream accepts one for any delivery of a
message. At most as many wait as messages were received. If a connection breaks while it sends one, the message is
redelivered, and `InFlight` acknowledges it again.
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
    """A negative acknowledgement that requests redelivery after a delay."""
    return NAK + b" " + msgspec.json.encode({"delay": max(1, int(seconds * _NANOSECONDS))})


class AckSender:
    """Sends acknowledgements; a `ConnectionTask`."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._has_waiting = asyncio.Event()

    def put(self, reply: str, ack: bytes) -> None:
        """Send an acknowledgement to a reply subject, now or after the next connect."""
        self._waiting.append((reply, ack))
        self._has_waiting.set()

    async def run(self, line: NatsConnection) -> None:
        """Send until cancelled."""
        waiting, publish = self._waiting, line.client.publish
        while True:
            while waiting:
                await publish(*waiting[0])
                waiting.popleft()
            self._has_waiting.clear()
            await self._has_waiting.wait()

    async def send_in_progress(self, line: NatsConnection, replies: list[str], timeout: float) -> bool:
        """Report messages as in progress; whether the server has received it within `timeout` seconds."""
        with suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(timeout):
                for reply in replies:
                    await line.client.publish(reply, IN_PROGRESS)
                await line.flush()
            return True
        return False

    async def flush(self, line: NatsConnection | None, timeout: float) -> None:
        """Wait until the server has received everything, for up to `timeout` seconds."""
        with suppress(TimeoutError, nats.errors.Error, OSError):
            async with asyncio.timeout(timeout):
                while self._waiting:
                    await asyncio.sleep(0.005)
                if line is not None:
                    await line.flush()
