"""A message that this process has been given and has not settled."""

from __future__ import annotations

import asyncio
from typing import Any

from rxhub.errors import RxHubError
from rxhub.event import Event
from rxhub.transport.nats.pulling import Message

__all__ = ["Expired", "Job", "TimedOut"]


class Expired(RxHubError):
    """A job was not begun, since the server may have given it to somebody else by then."""


class TimedOut(RxHubError, TimeoutError):
    """A handler took longer than it may."""


class Job:
    """One message on its way through a process.

    Attributes:
        message: what came.
        reply: where it is acknowledged: of the latest copy that came.
        until: by the monotonic clock, how long nobody else gets it.
        event: what the message holds; None as long as it was not read, or if it cannot be.
        attempt: which attempt is due or under way; 1 is the first.
        is_noted: whether the group has a note of its attempts.
        run: how often it was handed to workers or taken from them again; a result of an earlier run is late.
        is_begun: whether it was handed to workers, and is to be settled as its handler ends.
        began: by the monotonic clock, when its handler was called.
        task: what takes special care of it.
        waiter: what waits for its handler.
    """

    __slots__ = (
        "attempt",
        "began",
        "event",
        "is_begun",
        "is_noted",
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
        self.attempt = 1
        self.is_noted = False
        self.run = 0
        self.is_begun = False
        self.began = 0.0
        self.task: asyncio.Task[Any] | None = None
        self.waiter: asyncio.Future[BaseException | None] | None = None

    @property
    def name(self) -> str:
        """What people know it by."""
        event, message = self.event, self.message
        if event is None:
            return f"the message {message.sequence} ({message.subject})"
        return f"{event.topic} {event.id} (message {message.sequence})"
