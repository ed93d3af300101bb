"""Subscriptions beyond a user's quota of the common index, each user's in an index of its own.

Most events are tested against few subscriptions. A user who has many that an event must be tested for one by one would
make everybody's events expensive. So the common index takes a quota of each user (`QUOTA`), and the rest stands here,
where each user has a share of the work of an event. What exceeds the share is passed over, and the publisher's event
goes on.

The work done here is paid for by the user who subscribed, not by the publisher: it is taken from the rate at which the
user's own events are read. If nothing is left of it, events of others get a minimal share (`_MIN_SHARE`), which
is enough for subscriptions that a topic or an equality finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from rxhub.expression import Expression, Index
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.server.rate_limit import STEPS_PER_EVENT, TokenBuckets
from rxhub.server.skipped_subscriptions import SkippedSubscriptions

__all__ = ["QUOTA", "UserIndexes"]

QUOTA = 2_500
"""Steps of testing all subscriptions of one user to one topic that the common index takes."""

_MIN_SHARE = 500
_STEPS_PER_MATCH = 3
# Times that a step is paid for, so that tests for others take a quarter of the processor at most.
_RATE_FACTOR = 2


class Subscribed(Protocol):
    """What is asked of a subscription."""

    token: Any

    @property
    def topic(self) -> str | None:
        """The only topic that it can match; None if there is not one."""
        ...

    @property
    def tree(self) -> Expression:
        """What it subscribes to."""
        ...

    @property
    def user(self) -> str:
        """Whose it is."""
        ...

    @property
    def envelope_part(self) -> Expression | None:
        """Its part outside of `data`; None if it does not look into `data`."""
        ...


S = TypeVar("S", bound=Subscribed)


class _UserIndex(Generic[S]):
    """The index of one user.

    Attributes:
        index: the subscriptions.
        topics: how many there are by topic; None stands for those that have not one.
        decoding: of these, how many look into `data`.
        steps: of work for the last event.
    """

    __slots__ = ("decoding", "index", "steps", "topics")

    def __init__(self) -> None:
        self.index: Index[S] = Index()
        self.topics: Counter[str | None] = Counter()
        self.decoding: Counter[str | None] = Counter()
        self.steps = 0


class UserIndexes(Generic[S]):
    """All of them.

    Args:
        passed_over: counts the subscriptions that are not tested.
        limit: steps of work of one event, see `rxhub.server.limits.Limits.work`.
        rates: the users' rates, which pay for the work; nobody pays if it is not given.
    """

    __slots__ = ("_indexes", "_limit", "_passed_over", "_rates")

    def __init__(self, passed_over: SkippedSubscriptions, limit: int, rates: TokenBuckets | None) -> None:
        self._indexes: dict[str, _UserIndex[S]] = {}
        self._limit = limit
        self._passed_over = passed_over
        self._rates = rates

    def __bool__(self) -> bool:
        return bool(self._indexes)

    def __len__(self) -> int:
        return sum(len(own.index) for own in self._indexes.values())

    def add(self, subscription: S) -> None:
        """Add a subscription, and note its token in it."""
        own = self._indexes.get(subscription.user)
        if own is None:
            own = self._indexes[subscription.user] = _UserIndex()
        subscription.token = own.index.add(subscription.tree, subscription)
        own.topics[subscription.topic] += 1
        if subscription.envelope_part is not None:
            own.decoding[subscription.topic] += 1

    def remove(self, subscription: S) -> None:
        """Remove a subscription that was added."""
        own = self._indexes[subscription.user]
        own.index.remove(subscription.token)
        for counter in (own.topics, own.decoding) if subscription.envelope_part is not None else (own.topics,):
            counter[subscription.topic] -= 1
            if not counter[subscription.topic]:
                del counter[subscription.topic]
        if not own.topics:
            del self._indexes[subscription.user]

    def needs_data(self, topic: object) -> bool:
        """Whether a subscription may look into the data of an event with this topic."""
        return any(_count(own.decoding, topic) for own in self._indexes.values())

    def match(self, candidate: Mapping[str, Any], publisher: str | None, most: int) -> tuple[list[S], int]:
        """Test an event.

        Args:
            candidate: the event, decoded if `needs_data`.
            publisher: the user who has published it; None if it is not known.
            most: steps of work for all users.

        Returns:
            The subscriptions that match, in no order, and the steps of work.
        """
        topic = candidate.get("topic")
        concerned = [(user, own) for user, own in self._indexes.items() if _count(own.topics, topic)]
        # Who spends least comes first, and leaves more to the next.
        concerned.sort(key=_last_steps)
        found: list[S] = []
        spent = 0
        left = len(concerned)
        for user, own in concerned:
            share = max(0, most - spent) // left
            rate = None if self._rates is None else self._rates[user]
            if rate is not None and user != publisher and not rate.is_ready:
                share = min(share, _MIN_SHARE)
            work = StepBudget(share)
            rows: list[tuple[Any, tuple[S, ...], Any]] = []
            try:
                with work:
                    own.index.reach(candidate, rows)
            except StepBudgetExceeded:
                missed = _count(own.topics, topic) - sum([len(row[1]) for row in rows])
                self._passed_over.add(user, max(1, missed), self._limit)
            before = len(found)
            found += chain.from_iterable([row[1] for row in rows])
            own.steps = work.steps + _STEPS_PER_MATCH * (len(found) - before)
            if rate is not None:
                rate.reserve(_RATE_FACTOR * own.steps / STEPS_PER_EVENT)
            spent += own.steps
            left -= 1
        return found, spent


def _count(counter: Counter[str | None], topic: object) -> int:
    return counter[None] + (counter[topic] if isinstance(topic, str) else 0)


def _last_steps(item: tuple[str, _UserIndex[Any]]) -> int:
    return item[1].steps
