"""A message that this process has been given and has not settled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from rxhub.errors import RxHubError
from rxhub.event import Event
from rxhub.transport.nats.pulling import Message

if TYPE_CHECKING:
    from rxhub.transport.nats.processing.workers import Returned

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
        is_counted: whether this attempt is known to the group.
        is_begun: whether it was handed to the workers, and not taken back.
        is_over: whether nobody waits for its handler any more, though it may still run.
        began: by the monotonic clock, when its handler was called.
        task: what takes special care of it.
        waiter: what waits for its handler.
    """

    __slots__ = (
        "attempt",
        "began",
        "event",
        "is_begun",
        "is_counted",
        "is_over",
        "message",
        "reply",
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
        self.is_counted = False
        self.is_begun = False
        self.is_over = False
        self.began = 0.0
        self.task: asyncio.Task[Any] | None = None
        self.waiter: asyncio.Future[Returned] | None = None
