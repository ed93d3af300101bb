"""Failures of handlers, for observers and, limited in number, for the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from rxhub.errors import as_exception, error_text
from rxhub.event import Event
from rxhub.transport.nats.processing.job import Job

__all__ = ["Failure", "FailureLog", "run_callback"]

# Only this many failures of a group are logged with their traceback in each period. The others are counted.
_MAX_LOGGED = 10
_PERIOD_S = 60.0

logger = logging.getLogger("rxhub")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt to handle an event.

    Attributes:
        event: the event; None if the stored message is not a valid event.
        error: the exception of the handler, or another reason. An exception that is not an `Exception`, such as
            `SystemExit`, is the cause of a `CallbackInterrupted`.
        attempt: the number of the attempt, from 1.
        is_final: whether the event is now a dead letter, without further attempts.
    """

    event: Event | None
    error: Exception
    attempt: int
    is_final: bool


class FailureLog:
    """Logs the failures of one group."""

    def __init__(self, group: str, retries: int) -> None:
        self._group = group
        self._attempts = retries + 1
        self._logged = 0
        self._unlogged = 0
        self._period_start = float("-inf")

    def log(self, job: Job, error: BaseException, consequence: str) -> None:
        """Log a failure and its consequence for the event, or count it if there were many in this period."""
        now = monotonic()
        if now - self._period_start > _PERIOD_S:
            self.flush()
            self._period_start, self._logged = now, 0
        if self._logged >= _MAX_LOGGED:
            self._unlogged += 1
            return
        self._logged += 1
        logger.error(
            "%s: attempt %d of %d at %s failed; %s: %s",
            self._group,
            job.attempt,
            self._attempts,
            job.name,
            consequence,
            error_text(error) or type(error).__name__,
            exc_info=error,
            extra=job.log_fields(self._group),
        )
        if self._logged == _MAX_LOGGED:
            left = now + _PERIOD_S - self._period_start
            logger.error("%s: failures of the next %g s are only counted.", self._group, left)

    def flush(self) -> None:
        if self._unlogged:
            logger.error("%s: %d more attempts failed.", self._group, self._unlogged)
            self._unlogged = 0


def run_callback(callback: Callable[[], object]) -> None:
    """Run a callback of observers, and log its exception."""
    try:
        callback()
    except BaseException as error:
        raised = as_exception(error)
        logger.error("An observer of failures raised; this has no effect: %s", raised, exc_info=raised)
