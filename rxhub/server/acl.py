"""Which topics a user may publish and subscribe to.

A rule is a topic, or a prefix of topics with a `*` behind it. What a user may subscribe to is joined to each of the
user's subscriptions, and tested with it: a subscription to `topic=*` then gets what is allowed, and nothing else. One
that could never get anything is refused, since nobody would understand its silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rxhub.expression import And, Condition, Everything, Expression, Or

__all__ = ["REPLY", "Topics"]

REPLY: Final = "ftrack.meta.reply"
"""The topic of replies. Whoever may take part at all may answer, and be answered."""


class Topics:
    """Some topics: each exact, or a prefix and `*`; `*` alone is all of them.

    Args:
        patterns: the rules, as they are written in a users file.
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
        """Whether there is no topic that is not among them."""
        return "" in self._prefixes

    def narrow(self, subscription: Expression) -> Expression | None:
        """What a subscription may get; None if that is nothing."""
        if self.are_all:
            return subscription
        if not self._overlap(subscription):
            return None
        allowed = self._expression()
        return allowed if isinstance(subscription, Everything) else And((allowed, subscription))

    def _expression(self) -> Expression:
        conditions = [Condition("topic", "=", topic, quoted=True) for topic in sorted(self._exact)]
        conditions += [Condition("topic", "=", f"{prefix}*", quoted=True) for prefix in self._prefixes]
        return Or(conditions) if len(conditions) > 1 else conditions[0]

    def _overlap(self, subscription: Expression) -> bool:
        """Whether some topic could be both here and there; the subscription's topic is only seen in plain places."""
        parts = subscription.children if isinstance(subscription, And) else (subscription,)
        return all(self._overlap_condition(part) for part in parts if isinstance(part, Condition))

    def _overlap_condition(self, condition: Condition) -> bool:
        if condition.key != "topic" or condition.operator != "=" or condition.value[:1] == "*":
            return True
        if not condition.value.endswith("*"):
            return condition.value in self
        wanted = condition.value[:-1]
        return any(topic.startswith(wanted) for topic in self._exact) or any(
            prefix.startswith(wanted) or wanted.startswith(prefix) for prefix in self._prefixes
        )
