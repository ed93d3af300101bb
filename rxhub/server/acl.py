"""The topics that a user may publish and receive.

A rule is a topic, or a prefix of topics followed by `*`. The topics that a user may receive are combined with each
subscription of the user: a subscription to `topic=*` receives only the allowed topics. A subscription that cannot match
any allowed topic is rejected, because it would never receive anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rxhub.expression import And, Condition, Everything, Expression, Or
from rxhub.expression.access_path import access_to, conjuncts
from rxhub.expression.comparisons import AccessMethod

__all__ = ["REPLY", "Topics"]

REPLY: Final = "ftrack.meta.reply"
"""The topic of replies. All users may publish and receive it."""


class Topics:
    """A set of topics: exact topics, prefixes followed by `*`, or `*` for all topics.

    Args:
        patterns: the rules, as in a users file.
    """

    __slots__ = ("_exact", "_prefixes", "patterns")

    def __init__(self, patterns: Iterable[str] = ("*",)) -> None:
        self.patterns = tuple(patterns)
        self._exact = frozenset({REPLY, *(each for each in self.patterns if not each.endswith("*"))})
        self._prefixes = tuple(each[:-1] for each in self.patterns if each.endswith("*"))

    def __contains__(self, topic: str) -> bool:
        return topic in self._exact or topic.startswith(self._prefixes)

    @property
    def are_all(self) -> bool:
        """Whether the set contains all topics."""
        return "" in self._prefixes

    def narrow(self, subscription: Expression) -> Expression | None:
        """A subscription restricted to these topics; None if it cannot match any."""
        if self.are_all:
            return subscription
        if not self._overlap(subscription):
            return None
        allowed = self._expression()
        return allowed if isinstance(subscription, Everything) else And((allowed, subscription))

    def _expression(self) -> Expression:
        topics = [*sorted(self._exact), *(f"{prefix}*" for prefix in self._prefixes)]
        conditions = [Condition("topic", "=", topic, quoted=True) for topic in topics]
        return Or(conditions) if len(conditions) > 1 else conditions[0]

    def _overlap(self, subscription: Expression) -> bool:
        """Whether a subscription can match a topic of the set. Only considers top-level conditions."""
        return all(
            self._overlap_condition(part)
            for part in conjuncts((subscription,))
            if isinstance(part, Condition) and part.key == "topic"
        )

    def _overlap_condition(self, condition: Condition) -> bool:
        match access_to(condition):
            case AccessMethod.EQUALITY:
                return condition.value in self
            case AccessMethod.PREFIX:
                wanted = condition.value[:-1]
                return any(topic.startswith(wanted) for topic in self._exact) or any(
                    prefix.startswith(wanted) or wanted.startswith(prefix) for prefix in self._prefixes
                )
            case AccessMethod.RANGE | AccessMethod.SCAN:
                return True
