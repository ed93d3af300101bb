"""Jobs for executors, without a server."""

from __future__ import annotations

from contextvars import copy_context
from threading import Event as Flag
from time import monotonic

from rxhub import Event
from rxhub.transport.nats.processing.executor import Result
from rxhub.transport.nats.processing.job import Job
from rxhub.transport.nats.pull_consumer import Message
from tests.threads import LIMIT, until

__all__ = ["Results", "hold", "job"]


def job(number: int = 1, seconds: float = 1000.0) -> Job:
    """A job of an event whose data is its number, with a lease of so many seconds."""
    reply = f"$JS.ACK.stream.consumer.1.{number}.{number}.0.0"
    made = Job(Message("stream.event.t", reply, b"", b""), monotonic() + seconds)
    made.event = Event("t", data=number)
    return made


class Results:
    """Collects the results of an executor."""

    def __init__(self) -> None:
        self.all: list[Result] = []
        self.context = copy_context()

    def take(self, returned: Result) -> None:
        self.all.append(returned)

    def wait(self, count: int) -> list[Result]:
        until(lambda: len(self.all) >= count)
        return self.all

    @property
    def numbers(self) -> list[int]:
        return [returned.job.message.sequence for returned in self.all]


def hold(flag: Flag) -> None:
    assert flag.wait(LIMIT)
