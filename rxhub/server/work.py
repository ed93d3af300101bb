"""The work of a server: counted, limited for each request, and shared between users.

Where the subscriptions or subscribers of several users are tested one by one (`shares`), the users whose tests are
cheapest come first. Each may use an equal part of the work that is left, and what one does not use is left for the
others. So a user is skipped only if all users together exceed the limit, and the most expensive users are skipped.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from math import inf
from typing import Any, Final, Literal, TypeVar

from rxhub.errors import Refused
from rxhub.expression import Expression
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.server.rate_limit import TokenBuckets
from rxhub.server.subscription import P, RoutedSubscription

__all__ = ["STEPS_PER_TEST", "Request", "WorkMeter", "match_by_user", "shares"]

Request = Literal["event", "subscription", "target"]
U = TypeVar("U")

_WARNINGS_PER_S: Final = 1 / 60
"""Of one user."""

STEPS_PER_TEST: Final = 15

_ERRORS: Final[dict[Request, str]] = {
    "event": (
        "This event was not routed: that takes more than {limit} steps of work, the server's limit `work`. The event "
        "is too large, or its target is compared with too many values. Publish less data in one event, or name the "
        "subscriber in the target (id=…). Otherwise, raise Limits.work of the server (rxhub.server.Limits)."
    ),
    "subscription": (
        "This subscription was not added: parsing it takes more than {limit} steps of work, the server's limit "
        "`work`. Use fewer conditions, or several subscriptions."
    ),
    "target": (
        "This target was not parsed: that takes more than {limit} steps of work, the server's limit `work`. Use fewer "
        "conditions."
    ),
}

_logger = logging.getLogger("rxhub.server")


class WorkMeter:
    """The steps of work that a server has done, see `rxhub.server.limits.Limits.work`.

    Attributes:
        limit: maximum steps of one request.
        steps: all steps so far. The difference between two readings is charged to the publisher's rate.
        steps_of_others: the steps among them that the publisher does not pay for.
        skipped: subscriptions that were not tested because that takes too much work, once for each event.
    """

    __slots__ = ("_warnings", "limit", "skipped", "steps", "steps_of_others")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.steps = 0
        self.steps_of_others = 0
        self.skipped = 0
        self._warnings = TokenBuckets(_WARNINGS_PER_S, 1)

    def spend(self, steps: int, for_others: bool = False) -> None:
        self.steps += steps
        if for_others:
            self.steps_of_others += steps

    def skip(self, user: str, count: int) -> None:
        """Count skipped subscriptions of a user, and log a warning at most once a minute for each user."""
        self.skipped += count
        if self._warnings[user].take():
            _logger.warning(
                "%d subscriptions of %r did not receive an event: testing them takes more than this user's share of "
                "the server's limit work=%d. Use fewer conditions on lists in data, or more specific topics.",
                count,
                user,
                self.limit,
            )

    @contextmanager
    def limited(self, request: Request) -> Generator[StepBudget]:
        """Count the work of a `with` block. Raises Refused if it exceeds the limit."""
        work = StepBudget(self.limit)
        try:
            with work:
                yield work
        except StepBudgetExceeded:
            raise self.exceeded(request) from None
        finally:
            self.steps += work.steps

    def exceeded(self, request: Request) -> Refused:
        """The error for a request that exceeds the limit."""
        return Refused(_ERRORS[request].format(limit=self.limit))


def shares(
    users: Iterable[tuple[str, U]], cost: Callable[[U], float], limit: int, cap: Callable[[str], float] = lambda _: inf
) -> Generator[tuple[str, U, StepBudget]]:
    """The users, the cheapest first, and what each may spend before the next one is requested.

    Args:
        users: names, and what is tested for each.
        cost: what the tests of a user cost, to sort the users.
        limit: steps of work for all users.
        cap: maximum steps of one user.
    """
    in_order = sorted(users, key=lambda item: cost(item[1]))
    for position, (user, own) in enumerate(in_order):
        work = StepBudget(min(cap(user), max(0, limit) // (len(in_order) - position)))
        yield user, own, work
        limit -= work.steps


def match_by_user(
    subscriptions: Iterable[RoutedSubscription[P]], candidate: Mapping[str, Any], meter: WorkMeter
) -> tuple[list[RoutedSubscription[P]], list[RoutedSubscription[P]]]:
    """Test subscriptions against an event one by one, and store the cost of each test in the subscription.

    All users together may use a quarter of the limit of `meter`.

    Returns:
        The subscriptions that match, and those that were skipped.
    """
    users: defaultdict[str, list[RoutedSubscription[P]]] = defaultdict(list)
    for subscription in subscriptions:
        users[subscription.user].append(subscription)
    found: list[RoutedSubscription[P]] = []
    skipped: list[RoutedSubscription[P]] = []
    # Equal subscriptions are tested once.
    known: dict[Expression, bool] = {}
    limit = meter.limit // 4
    # Compiling happens once for each subscription, so it does not count towards the shares.
    compiling = StepBudget(limit // 4)
    for user, own, work in shares(users.items(), lambda own: sum([each.cost for each in own]), limit):
        own.sort(key=lambda each: each.cost)
        tested = before = 0
        try:
            with work:
                for subscription in own:
                    before = work.steps
                    work.spend(STEPS_PER_TEST)
                    holds = known.get(subscription.tree)
                    if holds is None:
                        with compiling:
                            subscription.prepare()
                        work.spend(subscription.weight)
                        holds = known[subscription.tree] = subscription.matches(candidate)
                        subscription.cost = work.steps - before
                    if holds:
                        found.append(subscription)
                    tested += 1
        except StepBudgetExceeded:
            own[tested].cost = max(own[tested].cost, work.steps - before)
            skipped += own[tested:]
            meter.skip(user, len(own) - tested)
        meter.spend(work.steps, for_others=True)
    meter.spend(compiling.steps, for_others=True)
    return found, skipped
