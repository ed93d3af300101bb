"""The index that all users share, within a quota for each user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic

from rxhub.expression import Expression, Index
from rxhub.server.subscription import P, RoutedSubscription

__all__ = ["CommonIndex"]

# Steps of testing all subscriptions of one user to one topic.
_USER_QUOTA: Final = 2_500
_STEPS_PER_TEST: Final = 15


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
        steps = self._test_steps[key] + _STEPS_PER_TEST + subscription.weight
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
        self._test_steps[key] -= _STEPS_PER_TEST + subscription.weight
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
