"""Events that the stream deletes before they are handled: by its age or size limit, or by hand.

The server does not report that a message to be redelivered was deleted. An event that will be deleted before its next
attempt therefore becomes a dead letter at once. For others, each process compares the attempt records with the first
sequence of the stream. A process that still holds such an event renews its record at each check, so an event is lost if
its message was deleted and its record did not change between three checks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.processing import group as group_times
from rxhub.transport.nats.processing.delivery_state import AttemptStore
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.streams import server_time

__all__ = ["Expiry"]

_NANOSECONDS = 1_000_000_000
# The server may delete a message somewhat earlier or later than it is due.
_MARGIN_S = 1.0
_CHECKS = 2  # further checks in which a record has not changed before its event counts as lost

logger = logging.getLogger("rxhub")


class Expiry:
    """Knows the limits of the stream, and reports lost events."""

    def __init__(
        self, group: Group, attempts: AttemptStore, jobs: Mapping[int, Job], on_lost: Callable[[], object]
    ) -> None:
        self._group = group
        self._attempts = attempts
        self._jobs = jobs
        self._on_lost = on_lost
        self._max_age_s = 0.0
        self._first = 0
        # Records of events that may be lost: the number of checks since then, by key and revision.
        self._suspects: dict[tuple[str, int], int] = {}
        # Server time minus `monotonic()`.
        self._clock_offset = 0.0

    def is_deleted_within(self, message: Message, seconds: float) -> bool:
        """Whether the stream has deleted a message, or will within so many seconds."""
        if message.sequence < self._first:
            return True
        if not self._max_age_s:
            return False
        return monotonic() + self._clock_offset + seconds + _MARGIN_S >= message.time + self._max_age_s

    async def watch(self) -> None:
        """Check repeatedly, until cancelled."""
        while True:
            await asyncio.sleep(group_times.ACK_WAIT_S * group_times.CHECK_SHARE)
            try:
                await self.check()
            except (HubConnectionError, StreamError) as error:
                logger.debug("Could not read the state of the stream %s: %s", self._group.stream, error)

    async def check(self) -> None:
        """Read the limits and the first sequence of the stream, and report lost events."""
        info = await self._group.link.js_request(f"STREAM.INFO.{self._group.stream}")
        self._max_age_s = info["config"].get("max_age", 0) / _NANOSECONDS
        self._clock_offset = server_time(info).timestamp() - monotonic()
        before, self._first = self._first, info["state"]["first_seq"]
        is_held = any(job.has_record and job.message.sequence < self._first for job in self._jobs.values())
        if self._first > before or self._suspects or is_held:
            await self._check_records()

    async def _check_records(self) -> None:
        suspects: dict[tuple[str, int], int] = {}
        for entry in await self._attempts.before(self._first):
            checks = self._suspects.get((entry.key, entry.revision), 0)
            if entry.sequence in self._jobs:
                await self._attempts.renew(entry)
            elif checks < _CHECKS:
                suspects[entry.key, entry.revision] = checks + 1
            else:
                await self._attempts.delete_entry(entry)
                logger.error(
                    "%s: the stream %s has deleted %s before its next attempt, and it is lost. The last attempt failed "
                    "with: %s",
                    self._group.name,
                    self._group.stream,
                    entry.record.name or f"the message {entry.sequence}",
                    entry.record.reason,
                )
                self._on_lost()
        self._suspects = suspects
