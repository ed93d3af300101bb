"""A log that strangers cannot fill: so many warnings at once, so many over time."""

from __future__ import annotations

import logging

from rxhub.server.rate_limit import Bucket

__all__ = ["LimitedLog"]

_RATE = 1.0
_AT_ONCE = 100


class LimitedLog:
    """Warnings about requests of clients that are not known.

    Args:
        logger: where they go.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._bucket = Bucket(_RATE, _AT_ONCE)
        self._left_out = 0

    def warning(self, message: str, *arguments: object) -> None:
        """Log a warning, or count it as left out; the next one that is logged says how many were."""
        if not self._bucket.take():
            self._left_out += 1
            return
        if self._left_out:
            self._logger.warning("%d warnings about requests were left out.", self._left_out)
            self._left_out = 0
        self._logger.warning(message, *arguments)
