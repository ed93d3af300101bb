"""A log that strangers cannot fill: so many warnings at once, so many over time."""

from __future__ import annotations

import logging

from rxhub.server.rate_limit import TokenBucket

__all__ = ["LimitedLog"]

_WARNINGS_PER_S = 1.0
_BURST = 100


class LimitedLog:
    """Warnings about requests of clients that are not known.

    Args:
        logger: where they go.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._bucket = TokenBucket(_WARNINGS_PER_S, _BURST)
        self._suppressed = 0

    def warning(self, message: str, *arguments: object) -> None:
        """Log a warning, or count it as left out; the next one that is logged says how many were."""
        if not self._bucket.take():
            self._suppressed += 1
            return
        if self._suppressed:
            self._logger.warning("%d warnings about requests were left out.", self._suppressed)
            self._suppressed = 0
        self._logger.warning(message, *arguments)
