"""A message that this process has been given and has not settled."""

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
    """A job was not begun, since the server may have given it to somebody else by then."""


class HandlerInterrupted(RxHubError):
    """A handler was cancelled since its process stops, or its loop ends; whatever it made of that is no failure."""


class MessageDeleted(RxHubError):
    """The stream does not hold a job's message any more: its age was up, or it was deleted."""


class HandlerTimeout(RxHubError, TimeoutError):
    """A handler took longer than it may."""


class Job:
    """One message on its way through a process.

    Attributes:
        message: what came.
        reply: where it is acknowledged: of the latest copy that came.
        until: by the monotonic clock, how long nobody else gets it.
        event: what the message holds; None as long as it was not read, or if it cannot be, or while it is parked.
        digest: of its event's id, where ids of handled events are stored.
        keys: what it shares with the events that it has to wait for.
        is_parked: whether its data is in the stream only.
        attempt: which attempt is due or under way; 1 is the first.
        is_noted: whether the group has a note of its attempts.
        run: how often it was handed to workers or taken from them again; a result of an earlier run is late.
        is_new: whether its event's id is looked up and stored together with others.
        is_begun: whether it was handed to workers, and is to be settled as its handler ends.
        began: by the monotonic clock, when its handler was called.
        task: what takes special care of it.
        waiter: what waits for its handler.
    """

    __slots__ = (
        "attempt",
        "began",
        "digest",
        "event",
        "is_begun",
        "is_new",
        "is_noted",
        "is_parked",
        "keys",
        "message",
        "reply",
        "run",
        "task",
        "until",
        "waiter",
    )

    def __init__(self, message: Message, until: float) -> None:
        self.message = message
        self.reply = message.reply
        self.until = until
        self.event: Event | None = None
        self.digest = b""
        self.keys: tuple[Hashable, ...] = ()
        self.is_parked = False
        self.attempt = 1
        self.is_noted = False
        self.run = 0
        self.is_begun = False
        self.is_new = False
        self.began = 0.0
        self.task: asyncio.Task[Any] | None = None
        self.waiter: asyncio.Future[BaseException | None] | None = None

    def park(self) -> None:
        """Drop what can be read from the stream again."""
        self.is_parked = True
        self.event = None
        self.message.drop_data()

    def unpark(self, data: bytes) -> None:
        """Have the data again; raises what `read_stored` raises."""
        self.is_parked = False
        self.message.data = data
        self.event = read_stored(data)

    @property
    def name(self) -> str:
        """What people know it by."""
        event, message = self.event, self.message
        if event is None:
            return f"the message {message.sequence} ({message.subject})"
        return f"{event.topic} {event.id} (message {message.sequence})"
