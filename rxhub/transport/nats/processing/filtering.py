"""Which messages are for the handler, and what becomes of the others.

The server sends more than the subscription matches. What is not for us is acknowledged unhandled, and nobody of the
group will see it again. That must not be done by a process whose terms were replaced meanwhile, as the new ones may
want it; so the terms are read again before, by one question for all that wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from rxhub.errors import ExpressionError, HubConnectionError, StreamError
from rxhub.event import Event
from rxhub.expression import compile, parse
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.processing.options import WorkerOptions
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.subjects import Subjects

__all__ = ["MessageFilter"]

# Between two questions whether the group has the terms that it had.
_BREATH = 0.01
_PAUSE = 1.0

logger = logging.getLogger("rxhub")


class MessageFilter:
    """What is for the handler of one process.

    Args:
        plan: of the process.
        subjects: of the stream.
        group: tells whether its terms are still ours.
        passed_over: called with each job that is surely for nobody of the group.
    """

    def __init__(
        self, plan: WorkerOptions, subjects: Subjects, group: Group, passed_over: Callable[[Job], object]
    ) -> None:
        self._name = plan.group
        self._matches = compile(plan.terms.subscription)
        self._retries = subjects.retries_of(plan.group).removesuffix(">")
        self._group = group
        self._passed_over = passed_over
        self._waiting: list[Job] = []

    def takes(self, message: Message, event: Event) -> bool:
        """Whether the handler gets an event: what is retried always, others if subscription and target match."""
        return self._wants(event) or self.is_retried(message)

    def is_retried(self, message: Message) -> bool:
        """Whether a message is a dead letter that comes back."""
        return message.subject.startswith(self._retries)

    def skip(self, job: Job) -> bool:
        """Have a job wait for `confirm`; whether that has to be called for it."""
        self._waiting.append(job)
        return len(self._waiting) == 1

    async def confirm(self) -> None:
        """Let go of what waits.

        Raises:
            GroupError: if the group has other terms by now.
        """
        waiting = self._waiting
        while waiting:
            count = len(waiting)
            try:
                await self._group.confirm()
            except (HubConnectionError, StreamError) as error:
                logger.debug("The terms of %s are not known at present: %s", self._name, error)
                await asyncio.sleep(_PAUSE)
                continue
            jobs, waiting[:count] = waiting[:count], []
            for job in jobs:
                self._passed_over(job)
            if waiting:
                await asyncio.sleep(_BREATH)

    def _wants(self, event: Event) -> bool:
        if not self._matches(event.fields):
            return False
        target = event.get("target")
        if not target:
            return True
        try:
            return parse(target).matches({"id": self._name})
        except (ExpressionError, TypeError):
            logger.warning("%s is handled by no group: its target cannot be read.", event.id)
            return False
