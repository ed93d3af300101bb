"""Targets: expressions over the metadata of the subscribers that an event is meant for.

Most targets are `id=…`, the address of a reply. The router looks up such ids directly. Other targets are compared with
the metadata of all subscriptions that match the event. Each user has a share of the work of these comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple

from rxhub.expression import compile
from rxhub.expression.residual import weight
from rxhub.expression.step_budget import StepBudgetExceeded
from rxhub.server.limits import Limits
from rxhub.server.subscription import P, RoutedSubscription, parse_limited, required_value
from rxhub.server.work import WorkMeter, shares

__all__ = ["STEPS_PER_RECEIVER", "Target", "Targets"]

STEPS_PER_RECEIVER: Final = 4
_CACHED_TARGETS: Final = 1_024
_MAX_CACHED_CHARACTERS: Final = 1_024
# Comparisons with the subscribers of one user that the publisher pays for.
_PAID_COMPARISONS: Final = 100


class Target(NamedTuple):
    """A compiled target.

    Attributes:
        identifier: the only id that it allows; None if there may be several.
        test: whether it matches the metadata of a subscriber.
        weight: estimated steps of the test.
    """

    identifier: str | None
    test: Callable[[Mapping[str, Any]], bool]
    weight: int


class Targets(Generic[P]):
    """Compiles targets, and selects the subscriptions that they allow."""

    def __init__(self, limits: Limits, meter: WorkMeter) -> None:
        self._limits = limits
        self._meter = meter
        self._cached = lru_cache(maxsize=_CACHED_TARGETS)(self._compile)

    def __getitem__(self, target: str) -> Target:
        """The compiled target, within the current step budget. Raises Refused if it is invalid."""
        return self._cached(target) if len(target) <= _MAX_CACHED_CHARACTERS else self._compile(target)

    def select(
        self, target: str, subscriptions: Sequence[RoutedSubscription[P]], publisher: str | None
    ) -> list[RoutedSubscription[P]]:
        """The subscriptions whose metadata a target matches.

        The users with the least metadata come first, so that one user's metadata cannot use the shares of others.

        Raises:
            Refused: if the publisher's part of the work exceeds the limit.
        """
        _, test, weight = self[target]
        meter = self._meter
        steps = STEPS_PER_RECEIVER + weight
        users: dict[str, list[RoutedSubscription[P]]] = {}
        for subscription in subscriptions:
            users.setdefault(subscription.user, []).append(subscription)
        paid = steps * sum([min(len(own), _PAID_COMPARISONS) for own in users.values()])
        if paid > meter.limit:
            raise meter.exceeded("event")
        selected: list[RoutedSubscription[P]] = []
        for user, own, work in shares(users.items(), _metadata_bytes, paid + meter.limit // 4):
            try:
                with work:
                    work.spend(steps * len(own))
                    selected += [subscription for subscription in own if test(subscription.metadata)]
            except StepBudgetExceeded:
                if user == publisher:
                    raise meter.exceeded("event") from None
                meter.skip(user, len(own))
            finally:
                meter.steps += work.steps
                if user != publisher:
                    meter.steps_of_others += max(0, work.steps - steps * _PAID_COMPARISONS)
        return selected

    def _compile(self, target: str) -> Target:
        tree = parse_limited(target, "target", self._limits)
        return Target(required_value(tree, "id"), compile(tree), weight(tree))


def _metadata_bytes(subscriptions: list[RoutedSubscription[P]]) -> int:
    return sum([subscription.metadata_bytes for subscription in subscriptions])
