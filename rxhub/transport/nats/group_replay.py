"""Deliver stored events to one group again.

Each is stored again in the subject of the group's retries, like a retried dead letter, so no other group receives it.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from typing import NamedTuple

from rxhub.errors import EventError, NotFoundError, ProtocolError, StreamError
from rxhub.expression import Expression
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.transport.json_payload import read_stored
from rxhub.transport.nats.dead_letter import tokens_of
from rxhub.transport.nats.positions import first_since, message_at
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import NO_CONSUMER, NO_STREAM
from rxhub.transport.nats.subjects import Subjects, consumer_name

__all__ = ["GroupReplay", "Replayed"]


class Replayed(NamedTuple):
    """A part of a replay.

    Attributes:
        events: the number of events that will be handled again.
        next: the sequence to continue with; None at the end of the range.
    """

    events: int
    next: int | None


class GroupReplay:
    """A replay of a range of a stream into a group.

    Args:
        link: the connection.
        subjects: of the stream.
        group: its name.
        expression: selects events. The group handles them even if its own subscription does not match.
        until: the end of the range, which is included.
        work: steps that testing one event may take; beyond, it is not replayed.
    """

    def __init__(
        self,
        link: ReconnectingClient,
        subjects: Subjects,
        group: str,
        expression: Expression,
        until: datetime,
        work: int,
    ) -> None:
        self._link = link
        self._subjects = subjects
        self._group = group
        self._consumer = consumer_name(group)
        self._expression = expression
        self._until = until
        self._work = work

    async def first(self, since: datetime) -> int:
        """The sequence of the first event since a time.

        Raises:
            StreamError: if JetStream rejects a request, as the other method.
            HubConnectionError: if it does not answer, as the other method.
        """
        return await first_since(self._link, self._subjects.stream, since, self._subjects.events)

    async def run(self, sequence: int, most: int) -> Replayed:
        """Replay a part of the range.

        Args:
            sequence: of the first event.
            most: number of events to read.

        Raises:
            NotFoundError: if the group does not exist.
        """
        try:
            await self._link.js_request(f"CONSUMER.INFO.{self._subjects.stream}.{self._consumer}")
        except StreamError as error:
            if error.number not in (NO_CONSUMER, NO_STREAM):
                raise
            raise NotFoundError(f"There is no group {self._group!r}. Start a process of the group first.") from error
        count = 0
        for _ in range(most):
            message = await message_at(self._link, self._subjects.stream, sequence, self._subjects.events)
            if message is None or datetime.fromisoformat(message["time"]) > self._until:
                return Replayed(count, None)
            sequence = message["seq"] + 1
            data = b64decode(message.get("data") or b"")
            if self._is_selected(data):
                retry = ".".join([self._subjects.stream, "retry", self._consumer, *tokens_of(message["subject"])])
                await self._link.publish_and_wait(retry, data)
                count += 1
        return Replayed(count, sequence)

    def _is_selected(self, data: bytes) -> bool:
        try:
            with StepBudget(self._work):
                return self._expression.matches(read_stored(data))
        except (EventError, ProtocolError, StepBudgetExceeded):
            return False
