"""Finds the connections that receive an event: the subscriptions of all connections, and how they are matched.

- A connection receives an event once, even if several of its subscriptions match.
- A target that names one id (`id=…`, the address of a reply) is tested against the subscriptions of this id only. An id
  belongs to one user while it is subscribed. Several connections of this user may use it: a client may reconnect before
  the server detects that its old connection is dead, and ftrack's clients do not retry a rejected subscription.
- An event is rejected because of the work of reading, decoding and its target, never because of subscriptions. If the
  common index exceeds the limit, its subscriptions are tested user by user (`match_by_user`). Expensive ones move to
  the indexes of their users, so that the next event is not tested twice.
- If events come from a stream, a subscription receives events above a sequence that is known once it is active. A
  replaced subscription passes its sequence on. If the stream numbers its events again from a lower sequence, `rewind`
  lowers these sequences. Otherwise clients would receive nothing until the stream had its former length.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from sys import maxsize
from typing import Any, Final, Generic, Protocol

from rxhub.errors import Refused
from rxhub.expression import Expression, parse
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded
from rxhub.server.acl import Topics
from rxhub.server.envelope import Envelope, decode_all, decoding_steps, reading_steps
from rxhub.server.indexes import CommonIndex, UserIndexes
from rxhub.server.limits import Limits
from rxhub.server.rate_limit import TokenBuckets
from rxhub.server.subscription import P, RoutedSubscription, UserQuotas, parse_limited
from rxhub.server.targets import STEPS_PER_RECEIVER, Targets
from rxhub.server.work import WorkMeter, match_by_user

__all__ = ["Router", "SubscriptionListener"]

_STEPS_PER_CHANGE: Final = 300
_STEPS_PER_CHANGED_CONDITION: Final = 50
# A subscription leaves the common index if its test takes more than this part of the limit.
_EXPENSIVE_FRACTION: Final = 64
_MOVES_PER_EVENT: Final = 100
_NO_SUBSCRIPTIONS: Final[Mapping[Any, Any]] = {}


class SubscriptionListener(Protocol):
    """Is informed about all subscriptions of a router."""

    def add(self, id: object, expression: Expression, key: object = None) -> object: ...

    def remove(self, key: object) -> object: ...


class Router(Generic[P]):
    """The subscriptions of a server.

    Args:
        limits: of connections and users.
        listener: informed about subscriptions, if events come from a stream.
        rates: the event rates of users, which pay for tests in the indexes of users.

    Attributes:
        meter: counts the work, and the subscriptions that did not receive an event because of it.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        listener: SubscriptionListener | None = None,
        rates: TokenBuckets | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._listener = listener
        self._subscriptions: dict[P, dict[str, RoutedSubscription[P]]] = {}
        self._by_id: dict[str, dict[P, RoutedSubscription[P]]] = {}
        self.meter = WorkMeter(self._limits.work)
        self._quotas = UserQuotas(self._limits)
        self._targets: Targets[P] = Targets(self._limits, self.meter)
        self._common: CommonIndex[P] = CommonIndex()
        self._user_indexes: UserIndexes[P] = UserIndexes(self.meter, rates)
        # The parser of nested expressions is built on first use, which takes longer than an event may.
        parse("(a=1 or b=1) and c=1")

    def __len__(self) -> int:
        return len(self._common) + len(self._user_indexes)

    @property
    def active(self) -> int:
        """The number of active subscriptions. Without a stream, all are."""
        return sum(each.begin < maxsize for own in self._subscriptions.values() for each in own.values())

    def subscribe(
        self, peer: P, metadata: dict[str, Any], text: str, topics: Topics | None = None
    ) -> Callable[[int], None]:
        """Add a subscription, or replace the one with the same id on the same connection.

        Args:
            peer: the connection.
            metadata: of the subscriber; its `id` is a string.
            text: the expression.
            topics: what the user may receive; None is everything.

        Returns:
            Activates the subscription for events of the stream above a sequence.

        Raises:
            Refused: if the expression or the id is invalid, another user has the id, or a limit is reached.
        """
        identifier = _identifier(metadata)
        own = self._subscriptions.get(peer, {})
        replaced = own.get(identifier)
        if replaced is not None and replaced.text == text and replaced.metadata == metadata:
            return replaced.activate
        if replaced is None and len(own) >= self._limits.subscriptions:
            raise Refused(
                f"A client may have {self._limits.subscriptions} subscriptions at most. Remove some, or raise "
                "Limits.subscriptions of the server (rxhub.server.Limits)."
            )
        if self.owner(identifier) not in {None, peer.user}:
            raise Refused(f"The id {identifier!r} is subscribed by another user. Use a different id.")
        with self.meter.limited("subscription"):
            begin = -1 if self._listener is None else maxsize if replaced is None else replaced.begin
            subscription = self._parsed(peer, metadata, text, topics, begin)
            self._quotas.check(subscription, replaced)
            self._add(identifier, subscription, replaced)
        return subscription.activate

    def parsed(self, peer: P, metadata: dict[str, Any], text: str, topics: Topics) -> RoutedSubscription[P]:
        """A subscription that is not added, for `accepts`. See `subscribe`."""
        with self.meter.limited("subscription"):
            subscription = self._parsed(peer, metadata, text, topics, -1)
            subscription.prepare()
            return subscription

    def _parsed(
        self, peer: P, metadata: dict[str, Any], text: str, topics: Topics | None, begin: int
    ) -> RoutedSubscription[P]:
        tree = parse_limited(text, "subscription", self._limits)
        allowed = tree if topics is None else topics.narrow(tree)
        if allowed is None:
            raise Refused(f"The user {peer.user!r} may not receive any event that matches {text!r}.")
        return RoutedSubscription(peer, metadata, text, allowed, begin)

    def accepts(self, subscription: RoutedSubscription[P], envelope: Envelope, text: str) -> bool:
        """Whether a subscription that may not be added receives an event.

        Raises:
            Refused: if the target is invalid, or the test exceeds the limit.
            EventError: if the data cannot be decoded.
        """
        with self.meter.limited("event") as work:
            work.spend(reading_steps(text) + subscription.weight)
            is_decoded = subscription.envelope_part is not None
            if not subscription.matches(_decode(text, work) if is_decoded else envelope.candidate()):
                return False
        return not envelope.target or bool(self._targets.select(envelope.target, [subscription], subscription.user))

    def subscriptions_of(self, peer: P) -> Collection[RoutedSubscription[P]]:
        """The subscriptions of a connection."""
        return self._subscriptions.get(peer, {}).values()

    def owner(self, identifier: str) -> str | None:
        """The user who has subscribed with an id, or None."""
        holders = self._by_id.get(identifier)
        return next(iter(holders)).user if holders else None

    def unsubscribe(self, peer: P, metadata: Mapping[str, Any]) -> None:
        """Remove the subscription of a connection with the id of `metadata`, if there is one.

        Raises:
            Refused: if `metadata` has no valid id.
        """
        subscription = self._subscriptions.get(peer, {}).get(_identifier(metadata))
        if subscription is not None:
            self._remove(subscription)
            self.meter.spend(_STEPS_PER_CHANGE)

    def remove_peer(self, peer: P, limit: int | None = None) -> int:
        """Remove the subscriptions of a closed connection.

        Args:
            peer: the connection.
            limit: maximum number to remove in this call; None removes all.

        Returns:
            The number of removed subscriptions; fewer than `limit` if none is left.
        """
        subscriptions = list(islice(self._subscriptions.get(peer, {}).values(), limit))
        for subscription in subscriptions:
            self._remove(subscription)
        return len(subscriptions)

    def rewind(self, last: int) -> None:
        """The stream reuses the sequences above `last`: deliver these events to all active subscriptions."""
        for own in self._subscriptions.values():
            for subscription in own.values():
                if subscription.begin < maxsize:
                    subscription.activate(last)

    def check(self, envelope: Envelope) -> None:
        """Check the target of an event before it is stored. Raises Refused if the target is invalid."""
        if envelope.target:
            with self.meter.limited("target"):
                self._targets[envelope.target]

    def route(self, envelope: Envelope, text: str, sequence: int = 0, publisher: str | None = None) -> Collection[P]:
        """The connections that receive an event.

        Args:
            envelope: of the event.
            text: the payload that the envelope was read from, which contains `data`.
            sequence: of the event in the stream, if it comes from one.
            publisher: the user who published the event, if known.

        Raises:
            Refused: if the target is invalid, or reading, decoding or the target exceeds the limit.
            EventError: if the data cannot be decoded.
        """
        found = self.match(envelope, text, sequence, publisher)
        if len(found) == 1:
            return (found[0].peer,)
        return {subscription.peer: None for subscription in found}.keys()

    def match(
        self, envelope: Envelope, text: str, sequence: int = maxsize, publisher: str | None = None
    ) -> Sequence[RoutedSubscription[P]]:
        """The subscriptions that an event matches, in the order in which it is delivered. See `route`."""
        # Like `WorkMeter.limited`, without the cost of a generator per event.
        work = StepBudget(self._limits.work)
        target = envelope.target
        identifier = None
        try:
            with work:
                identifier = self._targets[target].identifier if target else None
                found = self._match(envelope, text, work, identifier)
        except StepBudgetExceeded:
            found = None
        finally:
            self.meter.steps += work.steps
        own: Sequence[RoutedSubscription[P]] = ()
        if self._user_indexes and identifier is None:
            # Half of what the common index has left, but never nothing.
            share = max(self._limits.work // 8, (self._limits.work - work.steps) // 2)
            own = self._match_user_indexes(envelope, text, publisher, share)
        if found is None:
            found = self._match_by_user(envelope, text, identifier)
        if own:
            found = [*found, *own]
        if target:
            found = self._targets.select(target, found, publisher)
        if self._listener is not None:
            found = [subscription for subscription in found if subscription.begin < sequence]
        return found

    def _match(
        self, envelope: Envelope, text: str, work: StepBudget, identifier: str | None
    ) -> Sequence[RoutedSubscription[P]]:
        """The matches in the common index or, if the target allows one id, among the subscriptions of this id."""
        work.spend(reading_steps(text))
        candidate = envelope.candidate()
        if identifier is None:
            if self._common.needs_data(candidate):
                candidate = _decode(text, work)
            found = self._common.match(candidate)
        else:
            addressed = self._by_id.get(identifier, _NO_SUBSCRIPTIONS).values()
            if any(subscription.envelope_part is not None for subscription in addressed):
                candidate = _decode(text, work)
            work.spend(sum([subscription.weight for subscription in addressed]))
            found = [subscription for subscription in addressed if subscription.matches(candidate)]
        work.spend(STEPS_PER_RECEIVER * len(found))
        return found

    def _match_by_user(self, envelope: Envelope, text: str, identifier: str | None) -> Sequence[RoutedSubscription[P]]:
        """The matches in the common index when testing all of it exceeds the limit: each user has a share."""
        if envelope.target:
            # Parsing the target may be what exceeded the limit.
            with self.meter.limited("event"):
                identifier = self._targets[envelope.target].identifier
        candidate = envelope.candidate()
        if identifier is not None:
            subscriptions = list(self._by_id.get(identifier, _NO_SUBSCRIPTIONS).values())
        else:
            topic = candidate.get("topic")
            subscriptions = [
                subscription
                for own in self._subscriptions.values()
                for subscription in own.values()
                if subscription.is_common and (subscription.topic is None or subscription.topic == topic)
            ]
        with self.meter.limited("event") as work:
            work.spend(reading_steps(text))
            if any(subscription.envelope_part is not None for subscription in subscriptions):
                candidate = _decode(text, work)
        found, skipped = match_by_user(subscriptions, candidate, self.meter)
        if identifier is None:
            limit = self._limits.work // _EXPENSIVE_FRACTION
            expensive = [subscription for subscription in subscriptions if subscription.cost > limit]
            expensive += [subscription for subscription in skipped if subscription.cost <= limit]
            self._move_to_user_indexes(expensive[:_MOVES_PER_EVENT])
        return found

    def _match_user_indexes(
        self, envelope: Envelope, text: str, publisher: str | None, limit: int
    ) -> Sequence[RoutedSubscription[P]]:
        """The matches in the indexes of users."""
        candidate = envelope.candidate()
        if self._user_indexes.needs_data(candidate.get("topic")):
            with self.meter.limited("event") as work:
                candidate = _decode(text, work)
        return self._user_indexes.match(candidate, publisher, limit)

    def _move_to_user_indexes(self, subscriptions: Sequence[RoutedSubscription[P]]) -> None:
        compiling = StepBudget(self._limits.work // 4)
        for subscription in subscriptions:
            if subscription.is_common:
                self._common.remove(subscription)
                subscription.is_common = False
                self._user_indexes.add(subscription)
                self.meter.spend(2 * _STEPS_PER_CHANGE)
            with compiling:
                subscription.token.prepare()
        self.meter.spend(compiling.steps, for_others=True)

    def _add(
        self, identifier: str, subscription: RoutedSubscription[P], replaced: RoutedSubscription[P] | None
    ) -> None:
        peer = subscription.peer
        if self._listener is not None:
            self._listener.add(identifier, subscription.tree, subscription)
        if replaced is not None:
            self._remove(replaced)
        self._quotas.add(subscription)
        self._subscriptions.setdefault(peer, {})[identifier] = subscription
        self._by_id.setdefault(identifier, {})[peer] = subscription
        subscription.is_common = self._common.add(subscription)
        if not subscription.is_common:
            self._user_indexes.add(subscription)
        # Otherwise, the next event would pay for compiling it.
        subscription.token.prepare()
        self.meter.spend(_STEPS_PER_CHANGE + _STEPS_PER_CHANGED_CONDITION * subscription.conditions)

    def _remove(self, subscription: RoutedSubscription[P]) -> None:
        peer, identifier = subscription.peer, subscription.metadata["id"]
        self._quotas.remove(subscription)
        if self._listener is not None:
            self._listener.remove(subscription)
        if subscription.is_common:
            self._common.remove(subscription)
        else:
            self._user_indexes.remove(subscription)
        # The token refers to the subscription. Without the cycle, both are freed without the garbage collector.
        subscription.token = None
        own = self._subscriptions[peer]
        del own[identifier]
        if not own:
            del self._subscriptions[peer]
        holders = self._by_id[identifier]
        del holders[peer]
        if not holders:
            del self._by_id[identifier]


def _decode(text: str, work: StepBudget) -> dict[str, Any]:
    work.spend(decoding_steps(text))
    return decode_all(text)


def _identifier(metadata: Mapping[str, Any]) -> str:
    identifier = metadata.get("id")
    # A target matches a list if it matches an element, so a list of ids would receive the replies to all of them.
    if not isinstance(identifier, str) or not identifier:
        raise Refused('A subscriber needs an "id", a string that is not empty.')
    return identifier
