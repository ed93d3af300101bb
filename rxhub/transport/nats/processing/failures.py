"""What is told of failures: to observers, and to the log, which a handler that always fails must not flood."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from rxhub.errors import as_exception, error_text
from rxhub.event import Event

__all__ = ["Failure", "FailureLog", "run_callback"]

# So many failures a group are logged whole in such a time; of the others it is told how many there were.
_MOST = 10
_PERIOD = 60.0

logger = logging.getLogger("rxhub")


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that was not handled.

    Attributes:
        event: which; None if what the stream holds is no event.
        error: what the handler raised, or what else was found. What is no `Exception`, as `SystemExit`, is the
            cause of a `CallbackInterrupted`.
        attempt: which attempt it was; 1 is the first.
        is_final: whether there will be no further one, and the event is a dead letter.
    """

    event: Event | None
    error: Exception
    attempt: int
    is_final: bool


class FailureLog:
    """Logs the failures of one group.

    Args:
        group: its name.
        retries: how many attempts may follow the first.
    """

    def __init__(self, group: str, retries: int) -> None:
        self._group = group
        self._attempts = retries + 1
        self._logged = 0
        self._kept_back = 0
        self._began = float("-inf")

    def failed(self, job_name: str, attempt: int, error: BaseException, then: str) -> None:
        """Log a failure with its traceback, unless there were many of them lately.

        Args:
            job_name: what failed.
            attempt: which attempt it was.
            error: why.
            then: what becomes of it.
        """
        now = monotonic()
        if now - self._began > _PERIOD:
            self.rest()
            self._began, self._logged = now, 0
        if self._logged >= _MOST:
            self._kept_back += 1
            return
        self._logged += 1
        what = error_text(error) or type(error).__name__
        logger.error(
            "%s: attempt %d of %d at %s failed, and %s: %s",
            self._group,
            attempt,
            self._attempts,
            job_name,
            then,
            what,
            exc_info=error,
        )
        if self._logged == _MOST:
            logger.error("%s: failures of the next %g s are counted only.", self._group, now + _PERIOD - self._began)

    def rest(self) -> None:
        """Log how many failures were not logged."""
        if self._kept_back:
            logger.error("%s: %d more attempts failed.", self._group, self._kept_back)
            self._kept_back = 0


def run_callback(errand: Callable[[], object]) -> None:
    """Do what observers want to do, and log what they raise."""
    try:
        errand()
    except BaseException as error:
        raised = as_exception(error)
        logger.error("An observer of failures raised, which changes nothing: %s", raised, exc_info=raised)
