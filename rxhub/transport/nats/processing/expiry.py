"""Events that the stream deletes before they were handled: by its age or size limit, or by hand.

The server says nothing of a message that it cannot redeliver since it is gone. So an event that will be too old for its
next attempt is a dead letter at once, while its data is there. For whatever else deletes events, the notes of their
attempts are compared with the beginning of the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.processing import group as grouping
from rxhub.transport.nats.processing.delivery_state import Attempts
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.reconnecting import Link
from rxhub.transport.nats.streams import server_time

__all__ = ["Expiry"]

_NANOSECONDS = 1_000_000_000
# Between the time when a message is due and the time when it is deleted.
_MARGIN_S = 1.0

logger = logging.getLogger("rxhub")


class Expiry:
    """What one process knows of the deletion of its group's events.

    Args:
        link: to the servers.
        stream: which.
        group: its name.
        attempts: what the group knows of its events.
        expired: called for each event that is gone.
    """

    def __init__(self, link: Link, stream: str, group: str, attempts: Attempts, expired: Callable[[], object]) -> None:
        self._link = link
        self._stream = stream
        self._group = group
        self._attempts = attempts
        self._expired = expired
        self._max_age = 0.0
        self._first = 0
        # The server's clock, by our monotonic one.
        self._offset = 0.0

    def is_gone_in(self, message: Message, seconds: float) -> bool:
        """Whether the stream will have deleted a message by then."""
        if not self._max_age:
            return False
        return monotonic() + self._offset + seconds + _MARGIN_S >= message.time + self._max_age

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except (HubConnectionError, StreamError) as error:
                logger.debug("The beginning of the stream %s is not known at present: %s", self._stream, error)
            await asyncio.sleep(grouping.ACK_WAIT * grouping.CHECK_SHARE)

    async def look(self) -> None:
        """Learn the stream's limits and beginning, and report events that are gone.

        Raises:
            StreamError: if JetStream does not tell.
            HubConnectionError: if nobody answers.
        """
        info = await self._link.ask(f"STREAM.INFO.{self._stream}")
        self._max_age = info["config"].get("max_age", 0) / _NANOSECONDS
        self._offset = server_time(info).timestamp() - monotonic()
        first: int = info["state"]["first_seq"]
        if first > self._first:
            for name, reason in await self._attempts.take_lost(self._first, first):
                logger.error(
                    "%s: the stream %s has deleted %s before its next attempt, and it is lost. It failed with: %s",
                    self._group,
                    self._stream,
                    name,
                    reason,
                )
                self._expired()
        self._first = first
