"""Subscriptions that did not get an event since testing them takes too much work: counted, and logged now and then."""

from __future__ import annotations

import logging
from time import monotonic

__all__ = ["SkippedSubscriptions"]

# Seconds between two warnings about one user.
_LOG_INTERVAL_S = 60.0

_logger = logging.getLogger("rxhub.server")


class SkippedSubscriptions:
    """Counts them.

    Attributes:
        total: how many there were; one subscription counts once an event.
    """

    def __init__(self) -> None:
        self.total = 0
        self._logged: dict[str, float] = {}

    def add(self, user: str, count: int, limit: float) -> None:
        """Count subscriptions of a user, and log a warning if there was none about this user in the last minute.

        Args:
            user: whose they are.
            count: how many.
            limit: the steps of work that one event may take.
        """
        self.total += count
        now = monotonic()
        if now - self._logged.get(user, -_LOG_INTERVAL_S) < _LOG_INTERVAL_S:
            return
        self._logged = {name: then for name, then in self._logged.items() if now - then < _LOG_INTERVAL_S}
        self._logged[user] = now
        _logger.warning(
            "%d subscriptions of %r did not get an event: testing them takes more than this user's share of the "
            "server's limit work=%d. Use fewer conditions on lists in data, or more specific topics.",
            count,
            user,
            limit,
        )
