"""A message in flight, and the errors that are not failures of its handler."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from rxhub.errors import RxHubError
from rxhub.event import Event
from rxhub.telemetry.log_fields import event_fields
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


@dataclass(slots=True, eq=False)
class Job:
    """One message and its state in this process. Times are those of `monotonic()`."""

    message: Message
    lease_until: float  # until then no other process gets the message
    reply: str = field(init=False)  # where the latest delivery is acknowledged
    event: Event | None = None  # None before it is read, if it is not valid, and while the job is parked
    id_digest: bytes = b""  # of the event's id, if the ids of handled events are stored
    keys: tuple[Hashable, ...] = ()  # the values that it shares with events for which it has to wait
    is_parked: bool = False  # its data is in the stream only
    attempt: int = 1  # the number of the next or running attempt
    has_record: bool = False  # the group has a record of its attempts
    is_counted: bool = False  # its record counts an attempt that has not ended, or not even begun
    run: int = 0  # changes when it is submitted or taken back; results of earlier runs are ignored
    is_batched: bool = False  # its id is looked up and stored together with others
    is_started: bool = False  # it was submitted to the executor, and is settled when its handler ends
    started_at: float = 0.0  # when its handler was called
    task: asyncio.Task[Any] | None = None  # of `Retries`
    waiter: asyncio.Future[BaseException | None] | None = None  # of `HandlerRunner.run`
    trace_id: str = ""  # of the span of its latest attempt; empty if there is none

    def __post_init__(self) -> None:
        self.reply = self.message.reply

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

    def log_fields(self, group: str) -> dict[str, Any]:
        """The attributes of log records about it."""
        return event_fields(self.event, group, self.attempt, self.trace_id)
