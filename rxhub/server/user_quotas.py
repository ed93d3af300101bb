"""What all subscriptions of one user may contain together."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rxhub.errors import Refused
from rxhub.server.limits import Limits
from rxhub.server.subscription import RoutedSubscription

__all__ = ["UserQuotas", "metadata_too_large"]


class UserQuotas:
    """Conditions and bytes of metadata, by user.

    Args:
        limits: of one subscription and of one user.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._conditions: Counter[str] = Counter()
        self._metadata: Counter[str] = Counter()

    def check(self, new: RoutedSubscription[Any], replaced: RoutedSubscription[Any] | None) -> None:
        """Check the limits for a subscription that replaces another one.

        Raises:
            Refused: if the user would exceed a limit.
        """
        limits, user = self._limits, new.user
        if new.metadata_bytes > limits.metadata:
            raise metadata_too_large(limits)
        if self._conditions[user] + new.conditions - (replaced.conditions if replaced else 0) > (
            limits.conditions_per_user
        ):
            raise Refused(
                f"The subscriptions of one user may have at most {limits.conditions_per_user} conditions together. Use "
                "fewer, or raise Limits.conditions_per_user of the server (rxhub.server.Limits)."
            )
        if self._metadata[user] + new.metadata_bytes - (replaced.metadata_bytes if replaced else 0) > (
            limits.metadata_per_user
        ):
            raise Refused(
                f"The metadata of all subscribers of one user may have at most {limits.metadata_per_user} bytes. Use "
                "less, or raise Limits.metadata_per_user of the server (rxhub.server.Limits)."
            )

    def add(self, subscription: RoutedSubscription[Any]) -> None:
        """Count a subscription."""
        self._conditions[subscription.user] += subscription.conditions
        self._metadata[subscription.user] += subscription.metadata_bytes

    def remove(self, subscription: RoutedSubscription[Any]) -> None:
        """Stop counting a subscription."""
        user = subscription.user
        self._conditions[user] -= subscription.conditions
        self._metadata[user] -= subscription.metadata_bytes
        if not self._metadata[user]:
            del self._conditions[user], self._metadata[user]


def metadata_too_large(limits: Limits) -> Refused:
    """The error for a subscriber with too much metadata."""
    return Refused(
        f"The metadata of a subscriber may have at most {limits.metadata} bytes. Use less, or raise Limits.metadata of "
        "the server (rxhub.server.Limits)."
    )
