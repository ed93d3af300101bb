"""The subscriptions beyond a user's quota of the common index, in one index for each user.

A user with many subscriptions that are tested one by one would make the events of all users expensive. So the common
index accepts a quota of each user, and further subscriptions go here. Each user has a share of the work of an event.
Subscriptions that exceed the share are skipped, and the publisher is not affected.

The subscriber pays for this work, not the publisher: it is taken from the rate at which the server reads the user's own
events. A user whose rate is exhausted has a minimal share (`_MIN_SHARE_STEPS`) of the events of others. It suffices
for subscriptions that the index finds by topic or equality.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any, Final, Generic

from rxhub.expression import Index
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.server.rate_limit import STEPS_PER_EVENT, TokenBuckets
from rxhub.server.skipped_subscriptions import SkippedSubscriptions
from rxhub.server.subscription import P, RoutedSubscription

__all__ = ["UserIndexes"]

_MIN_SHARE_STEPS: Final = 500
_STEPS_PER_MATCH: Final = 3
# A step costs twice its rate, so that these tests take at most a quarter of the processor.
_RATE_FACTOR: Final = 2


class _UserIndex(Generic[P]):
    """The index of one user.

    Attributes:
        index: the subscriptions.
        topics: number of subscriptions by topic; None counts those that can match several.
        decoding: number of those that read `data`, by topic.
        steps: work for the last event.
    """

    __slots__ = ("decoding", "index", "steps", "topics")

    def __init__(self) -> None:
        self.index: Index[RoutedSubscription[P]] = Index()
        self.topics: Counter[str | None] = Counter()
        self.decoding: Counter[str | None] = Counter()
        self.steps = 0

    def counters(self, subscription: RoutedSubscription[P]) -> tuple[Counter[str | None], ...]:
        """The counters that include a subscription."""
        return (self.topics,) if subscription.envelope_part is None else (self.topics, self.decoding)


class UserIndexes(Generic[P]):
    """The indexes of all users.

    Args:
        skipped: counts the subscriptions that are not tested.
        limit: steps of work of one event, for the log.
        rates: the rates of users, which pay for the work; None charges nobody.
    """

    __slots__ = ("_indexes", "_limit", "_rates", "_skipped")

    def __init__(self, skipped: SkippedSubscriptions, limit: int, rates: TokenBuckets | None) -> None:
        self._indexes: dict[str, _UserIndex[P]] = {}
        self._limit = limit
        self._skipped = skipped
        self._rates = rates

    def __bool__(self) -> bool:
        return bool(self._indexes)

    def __len__(self) -> int:
        return sum(len(own.index) for own in self._indexes.values())

    def add(self, subscription: RoutedSubscription[P]) -> None:
        """Add a subscription, and set its token."""
        own = self._indexes.get(subscription.user)
        if own is None:
            own = self._indexes[subscription.user] = _UserIndex()
        subscription.token = own.index.add(subscription.tree, subscription)
        for counter in own.counters(subscription):
            counter[subscription.topic] += 1

    def remove(self, subscription: RoutedSubscription[P]) -> None:
        """Remove a subscription that was added."""
        own = self._indexes[subscription.user]
        own.index.remove(subscription.token)
        for counter in own.counters(subscription):
            counter[subscription.topic] -= 1
            if not counter[subscription.topic]:
                del counter[subscription.topic]
        if not own.topics:
            del self._indexes[subscription.user]

    def needs_data(self, topic: object) -> bool:
        """Whether a subscription may read the data of an event with this topic."""
        return any(_count(own.decoding, topic) for own in self._indexes.values())

    def match(
        self, candidate: Mapping[str, Any], publisher: str | None, limit: int
    ) -> tuple[list[RoutedSubscription[P]], int]:
        """Test an event.

        Args:
            candidate: the event, decoded if `needs_data`.
            publisher: the user who published it, if known.
            limit: steps of work for all users.

        Returns:
            The subscriptions that match, in no order, and the steps of work.
        """
        topic = candidate.get("topic")
        concerned = [(user, own) for user, own in self._indexes.items() if _count(own.topics, topic)]
        # The cheapest users come first. What they do not use is left for the others.
        concerned.sort(key=lambda item: item[1].steps)
        found: list[RoutedSubscription[P]] = []
        spent = 0
        for left, (user, own) in zip(range(len(concerned), 0, -1), concerned, strict=True):
            share = max(0, limit - spent) // left
            rate = None if self._rates is None else self._rates[user]
            if rate is not None and user != publisher and not rate.is_ready:
                share = min(share, _MIN_SHARE_STEPS)
            work = StepBudget(share)
            rows: list[tuple[Any, tuple[RoutedSubscription[P], ...], Any]] = []
            try:
                with work:
                    own.index.reach(candidate, rows)
            except StepBudgetExceeded:
                missed = _count(own.topics, topic) - sum([len(row[1]) for row in rows])
                self._skipped.add(user, max(1, missed), self._limit)
            before = len(found)
            found += chain.from_iterable([row[1] for row in rows])
            own.steps = work.steps + _STEPS_PER_MATCH * (len(found) - before)
            if rate is not None:
                rate.reserve(_RATE_FACTOR * own.steps / STEPS_PER_EVENT)
            spent += own.steps
        return found, spent


def _count(counter: Counter[str | None], topic: object) -> int:
    return counter[None] + (counter[topic] if isinstance(topic, str) else 0)
