"""Counts and logs subscriptions that did not receive an event because their tests take too much work."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

__all__ = ["SkippedSubscriptions"]

# Between two warnings about one user.
_LOG_INTERVAL_S: Final = 60.0

_logger = logging.getLogger("rxhub.server")


class SkippedSubscriptions:
    """The count of skipped subscriptions.

    Attributes:
        total: skipped tests so far; a subscription counts once for each event.
    """

    def __init__(self) -> None:
        self.total = 0
        self._logged: dict[str, float] = {}

    def add(self, user: str, count: int, limit: float) -> None:
        """Count subscriptions, and log a warning at most once a minute for each user.

        Args:
            user: who subscribed.
            count: number of subscriptions.
            limit: steps of work of one event.
        """
        self.total += count
        now = monotonic()
        if now - self._logged.get(user, -_LOG_INTERVAL_S) < _LOG_INTERVAL_S:
            return
        self._logged = {name: then for name, then in self._logged.items() if now - then < _LOG_INTERVAL_S}
        self._logged[user] = now
        _logger.warning(
            "%d subscriptions of %r did not receive an event: testing them takes more than this user's share of the "
            "server's limit work=%d. Use fewer conditions on lists in data, or more specific topics.",
            count,
            user,
            limit,
        )
