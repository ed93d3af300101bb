"""A message in flight, and the errors that are not failures of its handler."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any

from rxhub.errors import RxHubError
from rxhub.event import Event
from rxhub.transport.json_payload import read_stored
from rxhub.transport.nats.pull_consumer import Message

__all__ = ["HandlerInterrupted", "HandlerTimeout", "Job", "LeaseExpired", "MessageDeleted"]


class LeaseExpired(RxHubError):
    """A job was not started, because the server may have given its message to another process."""


class HandlerInterrupted(RxHubError):
    """A handler was cancelled because its process stops or its loop ends; this is not a failure."""


class MessageDeleted(RxHubError):
    """The message of a job is not in the stream any more: it was too old, or was deleted."""


class HandlerTimeout(RxHubError, TimeoutError):
    """A handler exceeded its timeout."""


class Job:
    """One message and its state in this process.

    Attributes:
        reply: where the latest delivery is acknowledged.
        lease_until: as `monotonic()` counts, the time until which no other process gets the message.
        event: the event of the message; None before it is read, if it is not valid, and while the job is parked.
        id_digest: of the event's id, if the ids of handled events are stored.
        keys: the values that it shares with events for which it has to wait.
        is_parked: whether its data is in the stream only.
        attempt: the number of the next or running attempt, from 1.
        has_record: whether the group has a record of its attempts.
        run: changes when the job is submitted or taken back. Results of earlier runs are ignored.
        is_batched: whether its id is looked up and stored together with others.
        is_started: whether it was submitted to the executor, and is settled when its handler ends.
        started_at: as `monotonic()` counts, when its handler was called; 0 before.
        task: its task in `Retries`.
        waiter: awaited by `HandlerRunner.run`.
    """

    __slots__ = (
        "attempt",
        "event",
        "has_record",
        "id_digest",
        "is_batched",
        "is_parked",
        "is_started",
        "keys",
        "lease_until",
        "message",
        "reply",
        "run",
        "started_at",
        "task",
        "waiter",
    )

    def __init__(self, message: Message, lease_until: float) -> None:
        self.message = message
        self.reply = message.reply
        self.lease_until = lease_until
        self.event: Event | None = None
        self.id_digest = b""
        self.keys: tuple[Hashable, ...] = ()
        self.is_parked = False
        self.attempt = 1
        self.has_record = False
        self.run = 0
        self.is_started = False
        self.is_batched = False
        self.started_at = 0.0
        self.task: asyncio.Task[Any] | None = None
        self.waiter: asyncio.Future[BaseException | None] | None = None

    def park(self) -> None:
        """Drop the data, which can be read from the stream again."""
        self.is_parked = True
        self.event = None
        self.message.drop_data()

    def unpark(self, data: bytes) -> None:
        """Set the data again; raises what `read_stored` raises."""
        self.is_parked = False
        self.message.data = data
        self.event = read_stored(data)

    @property
    def name(self) -> str:
        """The event, for log messages."""
        event, message = self.event, self.message
        if event is None:
            return f"the message {message.sequence} ({message.subject})"
        return f"{event.topic} {event.id} (message {message.sequence})"
