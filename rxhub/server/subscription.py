"""One subscription of one client: what the router knows of its expression, and what a user may subscribe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import is_
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from rxhub.errors import ExpressionError, Refused
from rxhub.expression import And, Condition, Everything, Expression, Not, Or, parse
from rxhub.expression.access_path import access_to, conjuncts
from rxhub.expression.comparisons import AccessMethod
from rxhub.expression.residual import Residual, weight
from rxhub.expression.step_budget import current_budget
from rxhub.server.limits import Limits

__all__ = ["P", "Peer", "RoutedSubscription", "UserQuotas", "metadata_too_large", "parse_limited", "required_value"]

_ENVELOPE: Final = frozenset({"topic", "id", "target", "source", "sent", "in_reply_to_event"})
_STEPS_PER_CONDITION: Final = 150


class Peer(Protocol):
    """A connection, as the router sees it."""

    @property
    def user(self) -> str: ...


P = TypeVar("P", bound=Peer)


@dataclass(slots=True, eq=False)
class RoutedSubscription(Generic[P]):
    """One subscription of one connection.

    Attributes:
        peer: the connection.
        metadata: of the subscriber.
        text: the expression as the client sent it.
        tree: the expression, restricted to the topics that the user may receive.
        begin: the subscription gets events of the stream with a sequence above this one.
        conditions: number of conditions in the expression.
        cost: measured steps of the last test, at first `weight`.
        envelope_part: the condition on the envelope under which an event's data is needed; None if it never is.
        is_common: whether it is in the common index.
        metadata_bytes: size of the metadata as JSON.
        token: its token in an index; None if it is in none.
        topic: the only topic that it can match; None if there may be several.
        weight: estimated steps of a test in which no condition iterates over a list.
    """

    peer: P
    metadata: dict[str, Any]
    text: str
    tree: Expression
    begin: int
    conditions: int = field(init=False)
    cost: int = field(init=False)
    envelope_part: Expression | None = field(init=False)
    is_common: bool = True
    metadata_bytes: int = field(init=False)
    token: Any = None
    topic: str | None = field(init=False)
    weight: int = field(init=False)
    _residual: Residual = field(init=False)

    def __post_init__(self) -> None:
        tree = self.tree
        part = _envelope_part(tree)
        self.conditions = _count_conditions(tree)
        self.envelope_part = None if part is tree else part
        self.metadata_bytes = len(msgspec.json.encode(self.metadata))
        self.topic = required_value(tree, "topic")
        self.weight = self.cost = weight(tree)
        self._residual = Residual((tree,))

    @property
    def user(self) -> str:
        """The name of the user who subscribed."""
        return self.peer.user

    def prepare(self) -> None:
        """Compile the test, within the current step budget."""
        self._residual.test()

    def matches(self, candidate: Mapping[str, Any]) -> bool:
        """Whether the expression matches an event."""
        return self._residual.test()(candidate)

    def activate(self, last: int) -> None:
        """Deliver all events of the stream with a sequence above `last`."""
        self.begin = min(self.begin, last)


class UserQuotas:
    """Limits the conditions and the bytes of metadata of all subscriptions of one user together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._conditions: Counter[str] = Counter()
        self._metadata: Counter[str] = Counter()

    def check(self, new: RoutedSubscription[Any], replaced: RoutedSubscription[Any] | None) -> None:
        """Check the limits for a subscription that replaces another one. Raises Refused if one would be exceeded."""
        limits, user = self._limits, new.user
        if new.metadata_bytes > limits.metadata:
            raise metadata_too_large(limits)
        conditions, metadata = self._conditions[user] + new.conditions, self._metadata[user] + new.metadata_bytes
        if replaced is not None:
            conditions, metadata = conditions - replaced.conditions, metadata - replaced.metadata_bytes
        if conditions > limits.conditions_per_user:
            raise Refused(
                f"The subscriptions of one user may have at most {limits.conditions_per_user} conditions together. Use "
                "fewer, or raise Limits.conditions_per_user of the server (rxhub.server.Limits)."
            )
        if metadata > limits.metadata_per_user:
            raise Refused(
                f"The metadata of all subscribers of one user may have at most {limits.metadata_per_user} bytes. Use "
                "less, or raise Limits.metadata_per_user of the server (rxhub.server.Limits)."
            )

    def add(self, subscription: RoutedSubscription[Any]) -> None:
        self._conditions[subscription.user] += subscription.conditions
        self._metadata[subscription.user] += subscription.metadata_bytes

    def remove(self, subscription: RoutedSubscription[Any]) -> None:
        user = subscription.user
        self._conditions[user] -= subscription.conditions
        self._metadata[user] -= subscription.metadata_bytes
        if not self._metadata[user]:
            del self._conditions[user], self._metadata[user]


def metadata_too_large(limits: Limits) -> Refused:
    """The error for a subscriber with too much metadata."""
    return Refused(
        f"The metadata of a subscriber may have at most {limits.metadata} bytes. Use less, or raise Limits.metadata of "
        "the server (rxhub.server.Limits)."
    )


def parse_limited(text: str, role: str, limits: Limits) -> Expression:
    """Parse an expression of a client, within the current step budget.

    Raises:
        Refused: if the expression is invalid, too long, or has too many conditions.
    """
    if (work := current_budget()) is not None:
        # Charged before parsing. Each condition contains one of these characters.
        signs = text.count("=") + text.count("<") + text.count(">") + text.count(",")
        work.spend(len(text) // 4 + _STEPS_PER_CONDITION * signs)
    try:
        return parse(text, max_length=limits.expression, max_conditions=limits.conditions)
    except ExpressionError as error:
        raise Refused(f"This {role} cannot be used: {error}") from None


def required_value(tree: Expression, key: str) -> str | None:
    """The only string at a key that an expression can match, if a top-level condition states it."""
    for part in conjuncts((tree,)):
        if isinstance(part, Condition) and part.key == key and access_to(part) is AccessMethod.EQUALITY:
            return part.value
    return None


def _count_conditions(tree: Expression) -> int:
    match tree:
        case And(children) | Or(children):
            return sum(map(_count_conditions, children))
        case Not(child):
            return _count_conditions(child)
        case _:
            return 1


def _envelope_part(tree: Expression) -> Expression:
    """The expression with every condition outside the envelope replaced by true; `tree` itself if there is none.

    It matches whatever `tree` can.
    """
    match tree:
        case And(children) | Or(children):
            parts = list(map(_envelope_part, children))
            if all(map(is_, parts, children)):
                return tree
            if isinstance(tree, Or):
                return Everything() if any(isinstance(part, Everything) for part in parts) else Or(parts)
            parts = [part for part in parts if not isinstance(part, Everything)]
            return And(parts) if len(parts) > 1 else parts[0] if parts else Everything()
        case Not(child):
            return tree if _envelope_part(child) is child else Everything()
        case Condition(key) if key.partition(".")[0] not in _ENVELOPE:
            return Everything()
        case _:
            return tree
