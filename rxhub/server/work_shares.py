"""Tests of subscriptions one by one, each user with a share of the work.

The subscriptions of one user may cost more than all others together. Here such a user loses events, not everybody: the
users whose tests were cheapest come first, and each may spend an equal part of what is left then. What one does not
spend is left to the next. So nobody is passed over unless all together take too much, and then only who takes most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from rxhub.expression import Expression
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded

__all__ = ["SharedMatches", "match_by_user"]

_TESTED = 15


class Subscribed(Protocol):
    """What is asked of a subscription."""

    cost: int

    @property
    def tree(self) -> Expression:
        """What it subscribes to."""
        ...

    @property
    def user(self) -> str:
        """Whose it is."""
        ...

    @property
    def weight(self) -> int:
        """The steps of its test, where nothing walks a list."""
        ...

    def prepare(self) -> None:
        """Compile the test, as far as the work that is counted now allows."""
        ...

    def matches(self, candidate: Mapping[str, Any]) -> bool:
        """Whether it subscribes to an event."""
        ...


S = TypeVar("S", bound=Subscribed)


@dataclass(slots=True)
class SharedMatches(Generic[S]):
    """What came of it.

    Attributes:
        found: the subscriptions that match.
        passed_over: those that were not tested to the end, by user.
        steps: of work.
    """

    found: list[S] = field(default_factory=list[S])
    passed_over: dict[str, list[S]] = field(default_factory=dict[str, list[S]])
    steps: int = 0


def match_by_user(subscriptions: Iterable[S], candidate: Mapping[str, Any], limit: int) -> SharedMatches[S]:
    """Test subscriptions against an event, and note in each what that cost.

    Args:
        subscriptions: of all users.
        candidate: the event.
        limit: steps of work for all of them.
    """
    users: defaultdict[str, list[S]] = defaultdict(list)
    for subscription in subscriptions:
        users[subscription.user].append(subscription)
    shared: SharedMatches[S] = SharedMatches()
    # Equal subscriptions are tested once.
    known: dict[Expression, bool] = {}
    left = len(users)
    # Is done once, so it is no part of the shares. What there is no time for is compiled with a later event.
    compiling = StepBudget(limit // 4)
    for user, own in sorted(users.items(), key=lambda item: sum([each.cost for each in item[1]])):
        own.sort(key=lambda each: each.cost)
        work = StepBudget(max(0, limit - shared.steps) // left)
        tested = 0
        before = 0
        try:
            with work:
                for subscription in own:
                    before = work.steps
                    work.spend(_TESTED)
                    holds = known.get(subscription.tree)
                    if holds is None:
                        with compiling:
                            subscription.prepare()
                        work.spend(subscription.weight)
                        holds = known[subscription.tree] = subscription.matches(candidate)
                        subscription.cost = work.steps - before
                    if holds:
                        shared.found.append(subscription)
                    tested += 1
        except StepBudgetExceeded:
            own[tested].cost = max(own[tested].cost, work.steps - before)
            shared.passed_over[user] = own[tested:]
        shared.steps += work.steps
        left -= 1
    shared.steps += compiling.steps
    return shared
