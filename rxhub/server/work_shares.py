"""Tests subscriptions one by one, with a share of the work for each user.

The users whose last tests were cheapest come first. Each may use an equal part of the work that is left, and what one
does not use is left for the others. So subscriptions are skipped only if all of them exceed the limit, and only those
of the most expensive users.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic

from rxhub.expression import Expression
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.server.subscription import P, RoutedSubscription

__all__ = ["SharedMatches", "match_by_user"]

_STEPS_PER_TEST: Final = 15


@dataclass(slots=True)
class SharedMatches(Generic[P]):
    """The result of `match_by_user`.

    Attributes:
        found: the subscriptions that match.
        skipped: those that were not tested completely, by user.
        steps: of work.
    """

    found: list[RoutedSubscription[P]] = field(default_factory=list[RoutedSubscription[P]])
    skipped: dict[str, list[RoutedSubscription[P]]] = field(default_factory=dict[str, list[RoutedSubscription[P]]])
    steps: int = 0


def match_by_user(
    subscriptions: Iterable[RoutedSubscription[P]], candidate: Mapping[str, Any], limit: int
) -> SharedMatches[P]:
    """Test subscriptions against an event, and store the cost of each test in the subscription.

    Args:
        subscriptions: of all users.
        candidate: the event.
        limit: steps of work for all users.
    """
    users: defaultdict[str, list[RoutedSubscription[P]]] = defaultdict(list)
    for subscription in subscriptions:
        users[subscription.user].append(subscription)
    matches: SharedMatches[P] = SharedMatches()
    # Equal subscriptions are tested once.
    known: dict[Expression, bool] = {}
    left = len(users)
    # Compiling happens once for each subscription, so it does not count towards the shares.
    compiling = StepBudget(limit // 4)
    for user, own in sorted(users.items(), key=lambda item: sum([each.cost for each in item[1]])):
        own.sort(key=lambda each: each.cost)
        work = StepBudget(max(0, limit - matches.steps) // left)
        tested = 0
        before = 0
        try:
            with work:
                for subscription in own:
                    before = work.steps
                    work.spend(_STEPS_PER_TEST)
                    holds = known.get(subscription.tree)
                    if holds is None:
                        with compiling:
                            subscription.prepare()
                        work.spend(subscription.weight)
                        holds = known[subscription.tree] = subscription.matches(candidate)
                        subscription.cost = work.steps - before
                    if holds:
                        matches.found.append(subscription)
                    tested += 1
        except StepBudgetExceeded:
            own[tested].cost = max(own[tested].cost, work.steps - before)
            matches.skipped[user] = own[tested:]
        matches.steps += work.steps
        left -= 1
    matches.steps += compiling.steps
    return matches
