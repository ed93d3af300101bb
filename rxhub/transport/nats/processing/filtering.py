"""Selection of messages for the handler.

The server delivers more messages than the subscription matches. The others are acknowledged without being handled. A
process whose settings were replaced must not do that, since the new settings may select these messages, so it reads the
group's settings before, with one request for all waiting messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from rxhub.errors import ExpressionError, HubConnectionError, StreamError
from rxhub.event import Event
from rxhub.expression import compile, parse
from rxhub.telemetry.log_fields import event_fields
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.pull_consumer import Message

__all__ = ["MessageFilter"]

_CONFIRM_INTERVAL_S = 0.01
_RETRY_DELAY_S = 1.0

logger = logging.getLogger("rxhub")


class MessageFilter:
    """Selects the messages of one process."""

    def __init__(self, group: Group, on_skipped: Callable[[Job], object]) -> None:
        self._matches = compile(group.options.subscription)
        self._retry_prefix = group.subjects.retries_of(group.name).removesuffix(">")
        self._group = group
        self._on_skipped = on_skipped
        self._waiting: list[Job] = []

    def matches(self, message: Message, event: Event) -> bool:
        """Whether the handler receives an event: a retried one always, others if subscription and target match."""
        return self._is_selected(event) or self.is_retried(message)

    def is_retried(self, message: Message) -> bool:
        """Whether a message is a dead letter that a user retries."""
        return message.subject.startswith(self._retry_prefix)

    def skip(self, job: Job) -> bool:
        """Skip a job after `confirm`; whether that has to be called."""
        self._waiting.append(job)
        return len(self._waiting) == 1

    async def confirm(self) -> None:
        """Confirm the group's settings, and skip the waiting jobs.

        Raises GroupError if the group has other settings.
        """
        waiting = self._waiting
        while waiting:
            count = len(waiting)
            try:
                await self._group.confirm()
            except (HubConnectionError, StreamError) as error:
                logger.debug("Could not read the settings of the group %s: %s", self._group.name, error)
                await asyncio.sleep(_RETRY_DELAY_S)
                continue
            jobs, waiting[:count] = waiting[:count], []
            for job in jobs:
                self._on_skipped(job)
            if waiting:
                await asyncio.sleep(_CONFIRM_INTERVAL_S)

    def _is_selected(self, event: Event) -> bool:
        if not self._matches(event.fields):
            return False
        target = event.get("target")
        if not target:
            return True
        try:
            return parse(target).matches({"id": self._group.name})
        except (ExpressionError, TypeError):
            fields = event_fields(event, self._group.name)
            logger.warning("No group handles %s, because its target is not a valid expression.", event.id, extra=fields)
            return False
