"""The protocol of executors, which call handlers in threads or tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from rxhub.transport.nats.processing.job import Job

__all__ = ["Callback", "Executor", "OnResult", "Result"]

Callback = Callable[[], object]
"""A function that runs where handlers run, such as the observers of failures."""


class Result(NamedTuple):
    """The result of a job.

    Attributes:
        run: `job.run` when the job was submitted.
        error: the exception of the handler; `LeaseExpired` if it was not called.
        seconds: the running time of the handler.
    """

    job: Job
    run: int
    error: BaseException | None
    seconds: float


OnResult = Callable[[Result], None]
"""Receives results, in any thread."""


class Executor(Protocol):
    """Calls handlers. All methods are called on the I/O loop and return at once."""

    @property
    def is_alive(self) -> bool:
        """Whether handlers can be called; their event loop may have ended."""
        ...

    def start(self) -> None:
        """Start; raises HubClosed if no thread can be started."""
        ...

    def submit(self, job: Job) -> None:
        """Call the handler as soon as there is room."""
        ...

    def call(self, callback: Callback) -> None:
        """Run a callback between two handlers."""
        ...

    def take_pending(self) -> list[Job]:
        """Remove and return the jobs that have not started, in order."""
        ...

    def overdue(self, timeout: float) -> list[Job]:
        """The jobs that have run for more than `timeout` seconds and that the executor cannot end itself."""
        ...

    def abandon(self, job: Job) -> None:
        """Stop waiting for a job; another one may run in its place."""
        ...

    def cancel(self) -> None:
        """Cancel running handlers, if that is possible."""
        ...

    def stop(self) -> None:
        """Start no further jobs. Running handlers may finish."""
        ...
