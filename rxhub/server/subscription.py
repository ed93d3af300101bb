"""One subscription of one client: what the router knows of its expression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from rxhub.errors import ExpressionError, Refused
from rxhub.expression import And, Condition, Everything, Expression, Not, Or, parse
from rxhub.expression.residual import Residual, weight
from rxhub.expression.step_budget import current_budget
from rxhub.server.limits import Limits

__all__ = ["P", "Peer", "RoutedSubscription", "parse_limited"]

_ENVELOPE: Final = frozenset({"topic", "id", "target", "source", "sent", "in_reply_to_event"})
_STEPS_PER_CONDITION: Final = 150


class Peer(Protocol):
    """A connection, as the router sees it."""

    @property
    def user(self) -> str:
        """The name of the connected user."""
        ...


P = TypeVar("P", bound=Peer)


class RoutedSubscription(Generic[P]):
    """One subscription of one connection.

    Args:
        peer: the connection.
        metadata: of the subscriber.
        text: the expression as the client sent it.
        tree: the expression, restricted to the topics that the user may receive.
        begin: the subscription gets events of the stream with a sequence above this one.

    Attributes:
        conditions: number of conditions in the expression.
        cost: measured steps of the last test, at first `weight`.
        envelope_part: the condition on the envelope under which an event's data is needed; None if it never is.
        is_common: whether it is in the common index.
        metadata_bytes: size of the metadata as JSON.
        token: its token in an index; None if it is in none.
        topic: the only topic that it can match; None if there may be several.
        weight: estimated steps of a test in which no condition iterates over a list.
    """

    __slots__ = (
        "_residual",
        "begin",
        "conditions",
        "cost",
        "envelope_part",
        "is_common",
        "metadata",
        "metadata_bytes",
        "peer",
        "text",
        "token",
        "topic",
        "tree",
        "weight",
    )

    token: Any

    def __init__(self, peer: P, metadata: dict[str, Any], text: str, tree: Expression, begin: int) -> None:
        self.peer = peer
        self.metadata = metadata
        self.metadata_bytes = len(msgspec.json.encode(metadata))
        self.text = text
        self.tree = tree
        self.begin = begin
        self.conditions = _count_conditions(tree)
        self.envelope_part = _envelope_part(tree) if _needs_data(tree) else None
        self.is_common = True
        self.token = None
        self.topic = _only_topic(tree)
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


def _count_conditions(tree: Expression) -> int:
    match tree:
        case And(children) | Or(children):
            return sum(map(_count_conditions, children))
        case Not(child):
            return _count_conditions(child)
        case _:
            return 1


def _only_topic(tree: Expression) -> str | None:
    """The only topic that an expression can match, if a top-level condition states it."""
    for part in tree.children if isinstance(tree, And) else (tree,):
        if isinstance(part, Condition) and part.key == "topic" and part.operator == "=" and "*" not in part.value:
            return part.value
    return None


def _needs_data(tree: Expression) -> bool:
    """Whether an expression reads fields outside the envelope."""
    match tree:
        case And(children) | Or(children):
            return any(map(_needs_data, children))
        case Not(child):
            return _needs_data(child)
        case Condition(key):
            return key.partition(".")[0] not in _ENVELOPE
        case _:
            return False


def _envelope_part(tree: Expression) -> Expression:
    """The expression with every condition outside the envelope replaced by true. It matches whatever `tree` can."""
    if not _needs_data(tree):
        return tree
    match tree:
        case And(children):
            parts = [part for part in map(_envelope_part, children) if not isinstance(part, Everything)]
            if len(parts) > 1:
                return And(parts)
            return parts[0] if parts else Everything()
        case Or(children):
            parts = list(map(_envelope_part, children))
            return Everything() if any(isinstance(part, Everything) for part in parts) else Or(parts)
        case _:
            return Everything()
