"""Who gets an event: all subscriptions of all connections, in one index.

Theory of operation.

- A connection gets an event once, however many of its subscriptions match: its own hub tells them apart.
- `data` is decoded only for an event that some subscription looks into. Of each subscription that reads `data`, or a
  field that the envelope has not, the part that does not is kept, with everything else in it taken to be true
  (`_envelope_part`). An event that meets such a part is decoded, and no other. A subscription to
  `topic=ftrack.action.launch and data.host=a` costs the other topics nothing.
- A target is an expression over the metadata of subscribers. Nearly all are `id=…`, the address of a reply, and every
  hub has subscribed to replies; so ids have a table of their own, and a reply to one of a thousand hubs is tested
  against that one.
- The router counts its work for an event, a subscription or a target in steps (`StepBudget`) and refuses the request
  at the limit, so that one request cannot block the others for minutes. `steps` is charged to the sender's rate, except
  for `steps_of_others`, which the publisher does not pay for.
- An event is refused for what reading, decoding and its target take, never for what others subscribe to. The common
  index takes a quota of each user; further subscriptions stand in an index of the user's own, which has a share of the
  work of each event (`UserIndexes`). Where the tests in the common index exceed the limit all the same, all are tested
  again, one by one, each user with a share (`match_by_user`), and what was expensive moves to the indexes of its
  users, so that
  the next event is not tested twice. A user who exceeds the share does not get this event.
- A target is compared with the metadata of each user's subscribers within a share as well.
- Where events come from a stream, a subscriber gets those behind the one that was the last when the subscription
  began to hold (`admit`), though earlier ones are still being read. One that replaces another has no such beginning:
  it gets what the other would have got. A stream that numbers its events anew, since it was made anew or has lost its
  end, takes those beginnings back with it (`rewind`): else nothing would come until it is as long as it was.
- An id belongs to a user while it is subscribed. The same user may subscribe under it on other connections as well: a
  client that lost its connection is back long before a server can know that the old one is dead, and ftrack's clients
  never try again what was refused. Another user is refused, since replies go to ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from sys import maxsize
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from rxhub.errors import ExpressionError, Refused
from rxhub.expression import And, Condition, Everything, Expression, Index, Not, Or, compile, parse
from rxhub.expression.residual import Residual, weight
from rxhub.expression.step_budget import StepBudget, StepBudgetExceeded, current_budget
from rxhub.server.acl import Topics
from rxhub.server.envelope import Envelope, decode_all
from rxhub.server.limits import Limits
from rxhub.server.rate_limit import TokenBuckets
from rxhub.server.skipped_subscriptions import SkippedSubscriptions
from rxhub.server.user_indexes import QUOTA, UserIndexes
from rxhub.server.work_shares import match_by_user

__all__ = ["Peer", "Router", "SubscriptionListener"]

_ENVELOPE: Final = frozenset({"topic", "id", "target", "source", "sent", "in_reply_to_event"})
# Characters of a target that is remembered.
_LONGEST_REMEMBERED: Final = 1_024
# Characters of an event of which it is counted what reading it took.
_LARGE: Final = 4_096
# Steps of work: to look at who gets an event, to parse and compile a condition, to change the index.
_RECEIVER: Final = 4
_PARSED: Final = 150
_SUBSCRIBED: Final = 300
_CHANGED_CONDITION: Final = 50
_TESTED: Final = 15
# Of the limit, the part that the test of one subscription takes at most while it stays in the common index; and how
# many leave it for one event.
_EXPENSIVE: Final = 64
_MOVED_AT_ONCE: Final = 100
# Subscribers of each user that a publisher pays for when they are compared with a target.
_PAID_FOR: Final = 100
_NO_IDS: Final[Mapping[str, Any]] = {}

_REMEDIES: Final = {
    "event": (
        "This event was not routed: that takes more than {limit} steps of work, the server's limit `work`. It is too "
        "large, or its target is compared with too much. Publish less data in one event, or name the subscriber in the "
        "target (id=…); else the server needs a higher limit."
    ),
    "subscription": (
        "This subscription was not added: to read it takes more than {limit} steps of work, the server's limit "
        "`work`. Use fewer conditions, or several subscriptions."
    ),
    "target": (
        "This target was not read: that takes more than {limit} steps of work, the server's limit `work`. Use fewer "
        "conditions."
    ),
}

Test = Callable[[Mapping[str, Any]], bool]


class _Target(NamedTuple):
    """What is known of a target: the one id that it allows, if there is one, its test, and the steps of that."""

    identifier: str | None
    test: Test
    weight: int


class SubscriptionListener(Protocol):
    """Who wants to know what all subscriptions of a router are about."""

    def add(self, id: object, expression: Expression, key: object = None) -> object:
        """There is a subscriber."""
        ...

    def remove(self, key: object) -> object:
        """There is one less."""
        ...


class Peer(Protocol):
    """What a router asks of a connection."""

    @property
    def user(self) -> str:
        """Who is connected."""
        ...


P = TypeVar("P", bound=Peer)


class _Subscriber(Generic[P]):
    """One subscription of one connection."""

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
        self.begin = begin
        self.conditions = _conditions(tree)
        self.metadata_bytes = len(msgspec.json.encode(metadata))
        self.peer = peer
        self.metadata = metadata
        self.text = text
        self._residual = Residual((tree,))
        self.envelope_part = _envelope_part(tree) if _needs_data(tree) else None
        self.token = None
        self.is_common = True
        self.topic = _topic(tree)
        self.tree = tree
        self.weight = self.cost = weight(tree)

    @property
    def user(self) -> str:
        """Whose it is."""
        return self.peer.user

    def prepare(self) -> None:
        """Compile the test, as far as the work that is counted now allows."""
        self._residual.test()

    def matches(self, candidate: Mapping[str, Any]) -> bool:
        """Whether it subscribes to an event."""
        return self._residual.test()(candidate)

    def admit(self, last: int) -> None:
        """Let it have every event of the stream behind this one."""
        self.begin = min(self.begin, last)


class Router(Generic[P]):
    """The subscriptions of a server.

    Args:
        limits: how many a connection may have, and how large they may be.
        listener: told of each subscription, where events come from a stream.
        rates: the rates of users, which pay for testing what exceeds their quota of the common index.

    Attributes:
        steps: of work that was done so far, see `Limits.work`.
        steps_of_others: the part of them that publishers do not pay for.
        passed_over: subscriptions that did not get an event since testing them takes too much work.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        listener: SubscriptionListener | None = None,
        rates: TokenBuckets | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._listener = listener
        self._index: Index[_Subscriber[P]] = Index()
        self._subscribers: dict[P, dict[str, _Subscriber[P]]] = {}
        self._by_id: dict[str, dict[P, _Subscriber[P]]] = {}
        self._conditions_of: Counter[str] = Counter()
        self._metadata_of: Counter[str] = Counter()
        self._decoding: Index[Expression] = Index()
        self._decoding_tokens: dict[Expression, Any] = {}
        self._decoding_uses: Counter[Expression] = Counter()
        # A stranger's target costs a parse; one that is used again and again does not.
        self._remembered_target = lru_cache(maxsize=1_024)(self._parsed_target)
        # Steps of testing what stands in the common index, by user and topic.
        self._tested: Counter[tuple[str, str | None]] = Counter()
        self.skipped = SkippedSubscriptions()
        self._own: UserIndexes[_Subscriber[P]] = UserIndexes(self.skipped, self._limits.work, rates)
        self.steps = 0
        self.steps_of_others = 0
        # What reads nested expressions is made on first use, and takes longer than any event may.
        parse("(a=1 or b=1) and c=1")

    def __len__(self) -> int:
        return len(self._index) + len(self._own)

    @property
    def in_force(self) -> int:
        """How many subscriptions hold; all do that need not be let in first."""
        return sum(held.begin < maxsize for own in self._subscribers.values() for held in own.values())

    def subscribe(
        self, peer: P, metadata: dict[str, Any], subscription: str, topics: Topics | None = None
    ) -> Callable[[int], None]:
        """Add a subscription, or replace the one that this connection has under the same id.

        Args:
            peer: the connection.
            metadata: who subscribes there; its `id` is a text.
            subscription: to what.
            topics: what the user may receive; all if it is not given.

        Returns:
            What lets the subscriber have what comes from a stream, from some event on.

        Raises:
            Refused: if there is no such expression, no id, the id is another user's, or a limit is reached.
        """
        identifier = _identifier(metadata)
        own = self._subscribers.get(peer, {})
        known = own.get(identifier)
        if known is not None and known.text == subscription and known.metadata == metadata:
            return known.admit
        if known is None and len(own) >= self._limits.subscriptions:
            raise Refused(
                f"A client has {self._limits.subscriptions} subscriptions at most. Subscribe to less, or raise "
                "Limits.subscriptions of the server (rxhub.server.Limits)."
            )
        if self.owner(identifier) not in {None, peer.user}:
            raise Refused(f"The id {identifier!r} is subscribed by another user; make one of your own.")
        with self._counting("subscription"):
            tree = self._parsed(subscription, "subscription")
            narrowed = tree if topics is None else topics.narrow(tree)
            if narrowed is None:
                raise Refused(f"The user {peer.user!r} may not receive what {subscription!r} asks for.")
            begin = -1 if self._listener is None else maxsize if known is None else known.begin
            subscriber = _Subscriber(peer, metadata, subscription, narrowed, begin)
            self._check_sizes(subscriber, known)
            self._add(identifier, subscriber, known)
        return subscriber.admit

    def _add(self, identifier: str, subscriber: _Subscriber[P], known: _Subscriber[P] | None) -> None:
        """Put a subscriber into all tables, in place of the one that is known. It is never refused any more."""
        peer, narrowed = subscriber.peer, subscriber.tree
        if self._listener is not None:
            self._listener.add(identifier, narrowed, subscriber)
        if known is not None:
            self._remove(known)
        self._conditions_of[peer.user] += subscriber.conditions
        self._metadata_of[peer.user] += subscriber.metadata_bytes
        self._subscribers.setdefault(peer, {})[identifier] = subscriber
        self._by_id.setdefault(identifier, {})[peer] = subscriber
        tested = self._tested[peer.user, subscriber.topic] + _TESTED + subscriber.weight
        if tested <= QUOTA:
            self._tested[peer.user, subscriber.topic] = tested
            subscriber.token = self._index.add(narrowed, subscriber)
            self._decode_for(subscriber)
        else:
            subscriber.is_common = False
            self._own.add(subscriber)
        # Else whoever publishes next would have to wait for it.
        subscriber.token.prepare()
        self.steps += _SUBSCRIBED + _CHANGED_CONDITION * subscriber.conditions

    def owner(self, identifier: str) -> str | None:
        """The user who has subscribed under an id; None if nobody has."""
        holders = self._by_id.get(identifier)
        return next(iter(holders)).user if holders else None

    def unsubscribe(self, peer: P, metadata: Mapping[str, Any]) -> None:
        """Remove what a connection has under the id of `metadata`, if there is anything.

        Raises:
            Refused: if there is no id in it.
        """
        subscriber = self._subscribers.get(peer, {}).get(_identifier(metadata))
        if subscriber is not None:
            self._remove(subscriber)
            self.steps += _SUBSCRIBED

    def remove_peer(self, peer: P, most: int | None = None) -> int:
        """Remove everything of a connection that is gone.

        Args:
            peer: the connection.
            most: how many subscriptions to remove at most now; all if it is not given.

        Returns:
            How many were removed; fewer than `most` if nothing is left.
        """
        own = self._subscribers.get(peer)
        if own is None:
            return 0
        subscribers = list(islice(own.values(), most))
        for subscriber in subscribers:
            self._remove(subscriber)
        return len(subscribers)

    def rewind(self, last: int) -> None:
        """Let all that hold have what comes behind an event of the stream, which numbers its events anew from there."""
        for own in self._subscribers.values():
            for subscriber in own.values():
                if subscriber.begin < maxsize:
                    subscriber.admit(last)

    def check(self, envelope: Envelope) -> None:
        """Refuse what no router could route.

        Raises:
            Refused: if its target cannot be read.
        """
        if envelope.target:
            with self._counting("target"):
                self._target(envelope.target)

    def route(self, envelope: Envelope, text: str, sequence: int = 0, publisher: str | None = None) -> Collection[P]:
        """The connections that get an event.

        Args:
            envelope: what was read of it.
            text: the payload that it was read of, in which `data` stands.
            sequence: its number in the stream, if it comes from one.
            publisher: the user who has published it; None if that is not known.

        Raises:
            Refused: if its target cannot be read, or reading it or its target takes more work than the limit allows.
            EventError: if its data has to be decoded, and cannot be.
        """
        # As in `_counting`, without what a generator costs each event.
        work = StepBudget(self._limits.work)
        target = envelope.target
        identifier = None
        try:
            with work:
                identifier = self._target(target).identifier if target else None
                found = self._found(envelope, text, work, identifier)
        except StepBudgetExceeded:
            found = None
        finally:
            self.steps += work.steps
        own: Sequence[_Subscriber[P]] = ()
        if self._own and identifier is None:
            # Half of what the common index has left, and not nothing.
            share = max(self._limits.work // 8, (self._limits.work - work.steps) // 2)
            own = self._found_in_own_indexes(envelope, text, publisher, share)
        if found is None:
            found = self._found_one_by_one(envelope, text, identifier)
        found = [*found, *own] if own else found
        if target:
            found = self._meant(target, found, publisher)
        if self._listener is not None:
            found = [subscriber for subscriber in found if subscriber.begin < sequence]
        if len(found) == 1:
            return (found[0].peer,)
        return {subscriber.peer: None for subscriber in found}.keys()

    def _found(
        self, envelope: Envelope, text: str, work: StepBudget, identifier: str | None
    ) -> Sequence[_Subscriber[P]]:
        """What matches of all that is in the index, or, where the target names an id, of all that has it."""
        self._spend_reading(text, work)
        if identifier is None:
            found = self._index.match(self._candidate(envelope, text, work))
        else:
            # Of the others, nothing is tested: what they subscribe to is no burden on a reply that is not theirs.
            held = self._by_id.get(identifier, _NO_IDS).values()
            needs_data = any(subscriber.envelope_part is not None for subscriber in held)
            candidate = self._decoded(text, work) if needs_data else envelope.candidate()
            work.spend(sum([subscriber.weight for subscriber in held]))
            found = [subscriber for subscriber in held if subscriber.matches(candidate)]
        # Each is looked at once more, and gets a place in a queue.
        work.spend(_RECEIVER * len(found))
        return found

    def _spend_reading(self, text: str, work: StepBudget) -> None:
        if len(text) > _LARGE:
            # It was read already, and that is part of what it takes.
            work.spend(len(text) // 16 + (text.count("[") + text.count("{")) // 4)

    def _found_one_by_one(self, envelope: Envelope, text: str, identifier: str | None) -> Sequence[_Subscriber[P]]:
        """What matches of the common index, though testing all of it takes too much: each user has a share."""
        if envelope.target:
            # It may be the target that could not be read.
            with self._counting("event"):
                identifier = self._target(envelope.target).identifier
        candidate = envelope.candidate()
        if identifier is not None:
            subscribers = list(self._by_id.get(identifier, _NO_IDS).values())
        else:
            topic = candidate.get("topic")
            subscribers = [
                subscriber
                for own in self._subscribers.values()
                for subscriber in own.values()
                if subscriber.is_common and (subscriber.topic is None or subscriber.topic == topic)
            ]
        with self._counting("event") as work:
            self._spend_reading(text, work)
            if any(subscriber.envelope_part is not None for subscriber in subscribers):
                candidate = self._decoded(text, work)
        shared = match_by_user(subscribers, candidate, self._limits.work // 4)
        self.steps += shared.steps
        self.steps_of_others += shared.steps
        for user, own in shared.passed_over.items():
            self.skipped.add(user, len(own), self._limits.work)
        if identifier is None:
            most = self._limits.work // _EXPENSIVE
            expensive = [subscriber for subscriber in subscribers if subscriber.cost > most]
            expensive += [each for own in shared.passed_over.values() for each in own if each.cost <= most]
            compiling = StepBudget(self._limits.work // 4)
            for subscriber in expensive[:_MOVED_AT_ONCE]:
                self._move(subscriber)
                with compiling:
                    subscriber.token.prepare()
            self.steps += compiling.steps
            self.steps_of_others += compiling.steps
        return shared.found

    def _found_in_own_indexes(
        self, envelope: Envelope, text: str, publisher: str | None, most: int
    ) -> Sequence[_Subscriber[P]]:
        """What matches of all that is in the indexes of users."""
        candidate = envelope.candidate()
        work = StepBudget(self._limits.work)
        if self._own.needs_data(candidate.get("topic")):
            try:
                with work:
                    candidate = self._decoded(text, work)
            except StepBudgetExceeded:
                raise self._too_much("event") from None
        found, steps = self._own.match(candidate, publisher, most)
        self.steps += work.steps + steps
        self.steps_of_others += steps
        return found

    def _meant(self, target: str, found: Sequence[_Subscriber[P]], publisher: str | None) -> Sequence[_Subscriber[P]]:
        """Of these, the ones that a target names."""
        _, is_meant, weight = self._target(target)
        each = _RECEIVER + weight
        users: dict[str, list[_Subscriber[P]]] = {}
        for subscriber in found:
            users.setdefault(subscriber.user, []).append(subscriber)
        paid = each * sum([min(len(own), _PAID_FOR) for own in users.values()])
        if paid > self._limits.work:
            raise self._too_much("event")
        most = paid + self._limits.work // 4
        meant: list[_Subscriber[P]] = []
        spent = 0
        for left, (user, own) in zip(
            range(len(users), 0, -1), sorted(users.items(), key=lambda item: _metadata_bytes(item[1])), strict=True
        ):
            work = StepBudget((most - spent) // left)
            try:
                with work:
                    work.spend(each * len(own))
                    meant += [subscriber for subscriber in own if is_meant(subscriber.metadata)]
            except StepBudgetExceeded:
                if user == publisher:
                    raise self._too_much("event") from None
                self.skipped.add(user, len(own), self._limits.work)
            finally:
                spent += work.steps
                self.steps += work.steps
                if user != publisher:
                    self.steps_of_others += max(0, work.steps - each * _PAID_FOR)
        return meant

    def _move(self, subscriber: _Subscriber[P]) -> None:
        """Move a subscription from the common index to that of its user."""
        if subscriber.is_common:
            self._remove_from_index(subscriber)
            subscriber.is_common = False
            self._own.add(subscriber)
            self.steps += 2 * _SUBSCRIBED

    def _remove_from_index(self, subscriber: _Subscriber[P]) -> None:
        if not subscriber.is_common:
            self._own.remove(subscriber)
        else:
            self._index.remove(subscriber.token)
            place = subscriber.user, subscriber.topic
            self._tested[place] -= _TESTED + subscriber.weight
            if not self._tested[place]:
                del self._tested[place]
            self._decode_no_more_for(subscriber)
        # It refers to the subscriber: without this, the garbage collector would have to find both.
        subscriber.token = None

    def _candidate(self, envelope: Envelope, text: str, work: StepBudget) -> dict[str, Any]:
        """What subscriptions are tested against; decoded whole, if one of them may look into its data."""
        candidate = envelope.candidate()
        if self._decoding_uses and self._decoding.match(candidate):
            return self._decoded(text, work)
        return candidate

    def _decoded(self, text: str, work: StepBudget) -> dict[str, Any]:
        work.spend(len(text) // 8 + text.count(",") + 3 * (text.count("[") + text.count("{")))
        return decode_all(text)

    @contextmanager
    def _counting(self, what: str) -> Generator[StepBudget]:
        """Count the work of what is done meanwhile, and refuse it beyond the limit."""
        work = StepBudget(self._limits.work)
        try:
            with work:
                yield work
        except StepBudgetExceeded:
            raise self._too_much(what) from None
        finally:
            self.steps += work.steps

    def _too_much(self, what: str) -> Refused:
        return Refused(_REMEDIES[what].format(limit=self._limits.work))

    def _target(self, target: str) -> _Target:
        """What is known of a target. A long one is not remembered: a thousand of them would take much memory."""
        return self._remembered_target(target) if len(target) <= _LONGEST_REMEMBERED else self._parsed_target(target)

    def _parsed_target(self, target: str) -> _Target:
        tree = self._parsed(target, "target")
        parts = tree.children if isinstance(tree, And) else (tree,)
        for part in parts:
            if (
                isinstance(part, Condition)
                and part.key == "id"
                and part.operator == "="
                and "*" not in {part.value[:1], part.value[-1:]}
            ):
                return _Target(part.value, compile(tree), weight(tree))
        return _Target(None, compile(tree), weight(tree))

    def _parsed(self, text: str, role: str) -> Expression:
        limits = self._limits
        if (work := current_budget()) is not None:
            # Before it is read: each condition has one of these signs before it.
            signs = text.count("=") + text.count("<") + text.count(">") + text.count(",")
            work.spend(len(text) // 4 + _PARSED * signs)
        try:
            return parse(text, max_length=limits.expression, max_conditions=limits.conditions)
        except ExpressionError as error:
            raise Refused(f"This {role} cannot be used: {error}") from None

    def _check_sizes(self, subscriber: _Subscriber[P], known: _Subscriber[P] | None) -> None:
        """Refuse a subscription with which its user would have too much, now without the one that it replaces."""
        limits, user = self._limits, subscriber.peer.user
        if subscriber.metadata_bytes > limits.metadata:
            raise Refused(
                f"A subscriber's metadata has {limits.metadata} bytes at most. Use less, or raise Limits.metadata of "
                "the server (rxhub.server.Limits)."
            )
        conditions = self._conditions_of[user] + subscriber.conditions - (known.conditions if known else 0)
        if conditions > limits.conditions_per_user:
            raise Refused(
                f"All subscriptions of a user have {limits.conditions_per_user} conditions at most. Use fewer, or "
                "raise Limits.conditions_per_user of the server (rxhub.server.Limits)."
            )
        metadata = self._metadata_of[user] + subscriber.metadata_bytes - (known.metadata_bytes if known else 0)
        if metadata > limits.metadata_per_user:
            raise Refused(
                f"The metadata of all subscribers of a user has {limits.metadata_per_user} bytes at most. Use less, or "
                "raise Limits.metadata_per_user of the server (rxhub.server.Limits)."
            )

    def _remove(self, subscriber: _Subscriber[P]) -> None:
        peer, identifier = subscriber.peer, subscriber.metadata["id"]
        for held, size in (
            (self._conditions_of, subscriber.conditions),
            (self._metadata_of, subscriber.metadata_bytes),
        ):
            held[peer.user] -= size
            if not held[peer.user]:
                del held[peer.user]
        if self._listener is not None:
            self._listener.remove(subscriber)
        self._remove_from_index(subscriber)
        own = self._subscribers[peer]
        del own[identifier]
        if not own:
            del self._subscribers[peer]
        holders = self._by_id[identifier]
        del holders[peer]
        if not holders:
            del self._by_id[identifier]

    def _decode_for(self, subscriber: _Subscriber[P]) -> None:
        envelope_part = subscriber.envelope_part
        if envelope_part is None:
            return
        self._decoding_uses[envelope_part] += 1
        if envelope_part not in self._decoding_tokens:
            token = self._decoding_tokens[envelope_part] = self._decoding.add(envelope_part, envelope_part)
            token.prepare()

    def _decode_no_more_for(self, subscriber: _Subscriber[P]) -> None:
        envelope_part = subscriber.envelope_part
        if envelope_part is None:
            return
        self._decoding_uses[envelope_part] -= 1
        if not self._decoding_uses[envelope_part]:
            del self._decoding_uses[envelope_part]
            self._decoding.remove(self._decoding_tokens.pop(envelope_part))


def _identifier(metadata: Mapping[str, Any]) -> str:
    identifier = metadata.get("id")
    # A list of texts would be met by each of them in a target: one subscriber would get everybody's replies.
    if not isinstance(identifier, str) or not identifier:
        raise Refused('A subscriber needs a text as its "id".')
    return identifier


def _metadata_bytes(subscribers: list[_Subscriber[Any]]) -> int:
    return sum([subscriber.metadata_bytes for subscriber in subscribers])


def _conditions(tree: Expression) -> int:
    """How many tests a subscription may take."""
    match tree:
        case And(children) | Or(children):
            return sum(map(_conditions, children))
        case Not(child):
            return _conditions(child)
        case _:
            return 1


def _topic(tree: Expression) -> str | None:
    """The only topic that a subscription can match, as far as it is easily seen."""
    for part in tree.children if isinstance(tree, And) else (tree,):
        if isinstance(part, Condition) and part.key == "topic" and part.operator == "=" and "*" not in part.value:
            return part.value
    return None


def _needs_data(tree: Expression) -> bool:
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
    """The same with everything true that reads beyond the envelope: it holds wherever the tree could hold."""
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
