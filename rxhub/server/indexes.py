"""The indexes of subscriptions: one that all users share, and one for each user.

A user with many subscriptions that are tested one by one would make the events of all users expensive. So the common
index accepts a quota of each user, and further subscriptions go into the index of the user. Each user has a share of
the work of an event. Subscriptions that exceed the share are skipped, and the publisher is not affected.

The subscriber pays for this work, not the publisher: it is taken from the rate at which the server reads the user's own
events. A user whose rate is exhausted has a minimal share (`_MIN_SHARE_STEPS`) of the events of others. It suffices
for subscriptions that the index finds by topic or equality.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from math import inf
from typing import Any, Final, Generic

from rxhub.expression import Expression, Index
from rxhub.expression.step_budget import StepBudgetExceeded
from rxhub.server.rate_limit import STEPS_PER_EVENT, TokenBuckets
from rxhub.server.subscription import P, RoutedSubscription
from rxhub.server.work import STEPS_PER_TEST, WorkMeter, shares

__all__ = ["CommonIndex", "UserIndexes"]

# Steps of testing all subscriptions of one user to one topic.
_USER_QUOTA: Final = 2_500
_MIN_SHARE_STEPS: Final = 500
_STEPS_PER_MATCH: Final = 3
# A step costs twice its rate, so that these tests take at most a quarter of the processor.
_RATE_FACTOR: Final = 2


class CommonIndex(Generic[P]):
    """Subscriptions within the quotas of their users.

    A second index contains the conditions on the envelope under which subscriptions read `data`. Events that match none
    of them are not decoded: `topic=ftrack.action.launch and data.host=a` does not affect events with other topics.
    """

    def __init__(self) -> None:
        self._index: Index[RoutedSubscription[P]] = Index()
        # By user and topic.
        self._test_steps: Counter[tuple[str, str | None]] = Counter()
        self._decoding: Index[Expression] = Index()
        self._decoding_tokens: dict[Expression, Any] = {}
        self._decoding_uses: Counter[Expression] = Counter()

    def __len__(self) -> int:
        return len(self._index)

    def add(self, subscription: RoutedSubscription[P]) -> bool:
        """Add a subscription, and set its token. False if it exceeds the quota of its user."""
        key = subscription.user, subscription.topic
        steps = self._test_steps[key] + STEPS_PER_TEST + subscription.weight
        if steps > _USER_QUOTA:
            return False
        self._test_steps[key] = steps
        subscription.token = self._index.add(subscription.tree, subscription)
        part = subscription.envelope_part
        if part is not None:
            self._decoding_uses[part] += 1
            if part not in self._decoding_tokens:
                token = self._decoding_tokens[part] = self._decoding.add(part, part)
                token.prepare()
        return True

    def remove(self, subscription: RoutedSubscription[P]) -> None:
        """Remove a subscription that was added."""
        self._index.remove(subscription.token)
        key = subscription.user, subscription.topic
        self._test_steps[key] -= STEPS_PER_TEST + subscription.weight
        if not self._test_steps[key]:
            del self._test_steps[key]
        part = subscription.envelope_part
        if part is not None:
            self._decoding_uses[part] -= 1
            if not self._decoding_uses[part]:
                del self._decoding_uses[part]
                self._decoding.remove(self._decoding_tokens.pop(part))

    def needs_data(self, candidate: Mapping[str, Any]) -> bool:
        """Whether a subscription may read the data of an event, of which `candidate` is the envelope."""
        return bool(self._decoding_uses) and bool(self._decoding.match(candidate))

    def match(self, candidate: Mapping[str, Any]) -> Sequence[RoutedSubscription[P]]:
        """The subscriptions that match an event."""
        return self._index.match(candidate)


class _UserIndex(Generic[P]):
    """The index of one user.

    Attributes:
        index: the subscriptions.
        topics: number of subscriptions by topic; None counts those that can match several.
        decoding: number of those that read `data`, by topic.
        steps: work for the last event.
    """

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
        meter: counts the work, and the subscriptions that are not tested.
        rates: pay for the work, by user; None charges no user.
    """

    def __init__(self, meter: WorkMeter, rates: TokenBuckets | None) -> None:
        self._indexes: dict[str, _UserIndex[P]] = {}
        self._meter = meter
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

    def match(self, candidate: Mapping[str, Any], publisher: str | None, limit: int) -> list[RoutedSubscription[P]]:
        """The subscriptions that match an event, in no order.

        Args:
            candidate: the event, decoded if `needs_data`.
            publisher: the user who published it, if known.
            limit: steps of work for all users.
        """
        rates = self._rates

        def cap(user: str) -> float:
            return inf if rates is None or user == publisher or rates[user].is_ready else _MIN_SHARE_STEPS

        topic = candidate.get("topic")
        concerned = [(user, own) for user, own in self._indexes.items() if _count(own.topics, topic)]
        found: list[RoutedSubscription[P]] = []
        for user, own, work in shares(concerned, lambda own: own.steps, limit, cap):
            rows: list[tuple[Any, tuple[RoutedSubscription[P], ...], Any]] = []
            try:
                with work:
                    own.index.reach(candidate, rows)
            except StepBudgetExceeded:
                missed = _count(own.topics, topic) - sum([len(row[1]) for row in rows])
                self._meter.skip(user, max(1, missed))
            before = len(found)
            found += chain.from_iterable([row[1] for row in rows])
            work.steps += _STEPS_PER_MATCH * (len(found) - before)
            own.steps = work.steps
            self._meter.spend(work.steps, for_others=True)
            if rates is not None:
                rates[user].reserve(_RATE_FACTOR * work.steps / STEPS_PER_EVENT)
        return found


def _count(counter: Counter[str | None], topic: object) -> int:
    return counter[None] + (counter[topic] if isinstance(topic, str) else 0)
