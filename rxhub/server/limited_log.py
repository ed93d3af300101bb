"""A log with a limited rate, so that unauthenticated clients cannot fill it."""

from __future__ import annotations

import logging

from rxhub.server.rate_limit import TokenBucket

__all__ = ["LimitedLog"]

_WARNINGS_PER_S = 1.0
_BURST = 100


class LimitedLog:
    """Warnings about requests of clients that are not known.

    Args:
        logger: for the warnings.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._bucket = TokenBucket(_WARNINGS_PER_S, _BURST)
        self._suppressed = 0

    def warning(self, message: str, *arguments: object) -> None:
        """Log a warning, or suppress it. Before the next one, the number of suppressed warnings is logged."""
        if not self._bucket.take():
            self._suppressed += 1
            return
        if self._suppressed:
            self._logger.warning("Suppressed %d warnings about requests.", self._suppressed)
            self._suppressed = 0
        self._logger.warning(message, *arguments)
