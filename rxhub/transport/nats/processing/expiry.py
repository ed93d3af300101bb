"""Events that the stream deletes before they were handled: by its age or size limit, or by hand.

The server does not tell that a message it should redeliver was deleted. So an event that will be gone at its next
attempt becomes a dead letter at once, while its data is there. For events that are deleted while they wait, the notes
of their attempts are compared with the beginning of the stream.

A process may still hold such an event, and handle it or try it again. It renews the note at each look, as long as it
holds the event. So an event is lost if its message was deleted and its note was not renewed between three looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.processing import group as grouping
from rxhub.transport.nats.processing.delivery_state import AttemptStore
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import server_time

__all__ = ["Expiry"]

_NANOSECONDS = 1_000_000_000
# Between the time when a message is due and the time when it is deleted.
_MARGIN_S = 1.0
# Looks at which a note has not changed, after the first one.
_LOOKS = 2

logger = logging.getLogger("rxhub")


class Expiry:
    """What one process knows of the deletion of its group's events.

    Args:
        link: to the servers.
        stream: which.
        group: its name.
        attempts: what the group knows of its events.
        holding: what this process holds, by its sequence in the stream.
        expired: called for each event that is gone.
    """

    def __init__(
        self,
        link: ReconnectingClient,
        stream: str,
        group: str,
        attempts: AttemptStore,
        holding: Mapping[int, Job],
        expired: Callable[[], object],
    ) -> None:
        self._link = link
        self._stream = stream
        self._group = group
        self._attempts = attempts
        self._holding = holding
        self._expired = expired
        self._max_age = 0.0
        self._first = 0
        # Notes of events that may be lost: how many looks ago they were found, by key and revision.
        self._suspects: dict[tuple[str, int], int] = {}
        # The server's clock, by our monotonic one.
        self._offset = 0.0

    def is_gone_in(self, message: Message, seconds: float) -> bool:
        """Whether the stream has deleted a message, or will have by then."""
        if message.sequence < self._first:
            return True
        if not self._max_age:
            return False
        return monotonic() + self._offset + seconds + _MARGIN_S >= message.time + self._max_age

    async def watch(self) -> None:
        """Look until cancelled, for the first time after a while."""
        while True:
            await asyncio.sleep(grouping.ACK_WAIT * grouping.CHECK_SHARE)
            try:
                await self.look()
            except (HubConnectionError, StreamError) as error:
                logger.debug("The beginning of the stream %s is not known at present: %s", self._stream, error)

    async def look(self) -> None:
        """Learn the stream's limits and beginning, and report events that are gone.

        Raises:
            StreamError: if JetStream does not tell.
            HubConnectionError: if nobody answers.
        """
        info = await self._link.js_request(f"STREAM.INFO.{self._stream}")
        self._max_age = info["config"].get("max_age", 0) / _NANOSECONDS
        self._offset = server_time(info).timestamp() - monotonic()
        before, self._first = self._first, info["state"]["first_seq"]
        if self._first > before or self._suspects or any(map(self._is_deleted, self._holding.values())):
            await self._look_at_notes()

    def _is_deleted(self, job: Job) -> bool:
        return job.is_noted and job.message.sequence < self._first

    async def _look_at_notes(self) -> None:
        suspects: dict[tuple[str, int], int] = {}
        for note in await self._attempts.before(self._first):
            looks = self._suspects.get((note.key, note.revision), 0)
            if note.sequence in self._holding:
                await self._attempts.renew(note)
            elif looks < _LOOKS:
                suspects[note.key, note.revision] = looks + 1
            else:
                await self._attempts.drop(note)
                logger.error(
                    "%s: the stream %s has deleted %s before its next attempt, and it is lost. It failed with: %s",
                    self._group,
                    self._stream,
                    note.tried.name or f"the message {note.sequence}",
                    note.tried.reason,
                )
                self._expired()
        self._suspects = suspects
