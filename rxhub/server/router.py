"""Who gets an event: all subscriptions of all connections, in one index.

Theory of operation.

- A connection gets an event once, however many of its subscriptions match: its own hub tells them apart.
- `data` is decoded only for an event that some subscription looks into. Of each subscription that reads `data`, or a
  field that the envelope has not, the part that does not is kept, with everything else in it taken to be true
  (`_widened`). An event that meets such a part is decoded, and no other. `topic=ftrack.action.launch and data.host=a`
  costs the other topics nothing.
- A target is an expression over the metadata of subscribers. Nearly all are `id=…`, the address of a reply, and every
  hub has subscribed to replies; so ids have a table of their own, and a reply to one of a thousand hubs is tested
  against that one.
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
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from sys import maxsize
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from rxhub.errors import EventError, ExpressionError, NotFoundError, Refused
from rxhub.expression import And, Condition, Everything, Expression, Index, Not, Or, compile, parse
from rxhub.expression.access import Way, way
from rxhub.server.envelope import Envelope, everything
from rxhub.server.limits import Limits
from rxhub.server.rules import Topics

__all__ = ["Interests", "Peer", "Router"]

_ENVELOPE: Final = frozenset({"topic", "id", "target", "source", "sent", "in_reply_to_event"})
# Values of an event times conditions that look into them: some seconds at worst, and a thousandth of that as a rule.
_MOST_LOOKS: Final = 20_000_000
_NO_IDS: Final[Mapping[str, Any]] = {}

Test = Callable[[Mapping[str, Any]], bool]


class Interests(Protocol):
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
        "begin",
        "conditions",
        "looks",
        "matches",
        "metadata",
        "metadata_bytes",
        "peer",
        "text",
        "token",
        "widened",
    )

    def __init__(self, peer: P, metadata: dict[str, Any], text: str, tree: Expression, begin: int) -> None:
        self.begin = begin
        self.conditions = _conditions(tree)
        self.metadata_bytes = len(msgspec.json.encode(metadata))
        self.peer = peer
        self.metadata = metadata
        self.text = text
        self.matches: Test = compile(tree)
        self.widened = _widened(tree) if _reads_beyond_envelope(tree) else None
        self.looks = _looks(tree)
        self.token: Any = None

    def admit(self, last: int) -> None:
        """Let it have every event of the stream behind this one."""
        self.begin = min(self.begin, last)


class Router(Generic[P]):
    """The subscriptions of a server.

    Args:
        limits: how many a connection may have, and how large they may be.
        interests: told of each subscription, where events come from a stream.
    """

    def __init__(self, limits: Limits | None = None, interests: Interests | None = None) -> None:
        self._limits = limits or Limits()
        self._interests = interests
        self._index: Index[_Subscriber[P]] = Index()
        self._subscribers: dict[P, dict[str, _Subscriber[P]]] = {}
        self._by_id: dict[str, dict[P, _Subscriber[P]]] = {}
        self._conditions_of: Counter[str] = Counter()
        self._metadata_of: Counter[str] = Counter()
        self._decoding: Index[Expression] = Index()
        self._decoding_tokens: dict[Expression, Any] = {}
        self._decoding_uses: Counter[Expression] = Counter()
        self._looks: Counter[Expression] = Counter()
        # A stranger's target costs a parse; one that is used again and again does not.
        self._target = lru_cache(maxsize=1_024)(self._parsed_target)

    def __len__(self) -> int:
        return len(self._index)

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
        tree = self._parsed(subscription, "subscription")
        narrowed = tree if topics is None else topics.narrow(tree)
        if narrowed is None:
            raise Refused(f"The user {peer.user!r} may not receive what {subscription!r} asks for.")
        begin = -1 if self._interests is None else maxsize if known is None else known.begin
        subscriber = _Subscriber(peer, metadata, subscription, narrowed, begin)
        self._check_sizes(subscriber, known)
        if self._interests is not None:
            self._interests.add(identifier, narrowed, subscriber)
        if known is not None:
            self._remove(known)
        self._conditions_of[peer.user] += subscriber.conditions
        self._metadata_of[peer.user] += subscriber.metadata_bytes
        subscriber.token = self._index.add(narrowed, subscriber)
        self._subscribers.setdefault(peer, {})[identifier] = subscriber
        self._by_id.setdefault(identifier, {})[peer] = subscriber
        self._decode_for(subscriber)
        return subscriber.admit

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

    def leave(self, peer: P) -> None:
        """Remove everything of a connection that is gone."""
        for subscriber in list(self._subscribers.get(peer, {}).values()):
            self._remove(subscriber)

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
            self._target(envelope.target)

    def route(self, envelope: Envelope, text: str, sequence: int = 0) -> Collection[P]:
        """The connections that get an event.

        Args:
            envelope: what was read of it.
            text: the payload that it was read of, in which `data` stands.
            sequence: its number in the stream, if it comes from one.

        Raises:
            Refused: if its target cannot be read.
            EventError: if its data has to be decoded, and cannot be, or would take too long to look into.
        """
        candidate = envelope.candidate()
        if self._decoding_uses and (looking := self._decoding.match(candidate)):
            self._check_looks(looking, text)
            candidate = everything(text)
        if envelope.target:
            return self._targeted(envelope.target, candidate, sequence)
        found = self._index.match(candidate)
        if self._interests is not None:
            found = [subscriber for subscriber in found if subscriber.begin < sequence]
        if len(found) == 1:
            return (found[0].peer,)
        return {subscriber.peer: None for subscriber in found}.keys()

    def _check_looks(self, looking: Iterable[Expression], text: str) -> None:
        """Refuse an event that so many conditions look into that everybody would have to wait."""
        looks = sum(map(self._looks.__getitem__, looking))
        # Each value has a comma before it, or a bracket around it; of a long text, some may be searched.
        if looks and looks * (text.count(",") + text.count("[") + len(text) // 1_000) > _MOST_LOOKS:
            raise EventError(
                f"An event of {len(text)} characters, with {text.count(',')} commas, is too large for the {looks} "
                "conditions of subscriptions that look into its data."
            )

    def _targeted(self, target: str, candidate: dict[str, Any], sequence: int) -> Collection[P]:
        identifier, is_meant = self._target(target)
        if identifier is None:
            hits: Iterable[_Subscriber[P]] = self._index.match(candidate)
        else:
            subscribers = self._by_id.get(identifier, _NO_IDS).values()
            hits = [subscriber for subscriber in subscribers if subscriber.matches(candidate)]
        return {
            subscriber.peer: None
            for subscriber in hits
            if subscriber.begin < sequence and is_meant(subscriber.metadata)
        }.keys()

    def _parsed_target(self, target: str) -> tuple[str | None, Test]:
        """The one id that a target allows, if there is one, and its test."""
        tree = self._parsed(target, "target")
        parts = tree.children if isinstance(tree, And) else (tree,)
        for part in parts:
            if (
                isinstance(part, Condition)
                and part.key == "id"
                and part.operator == "="
                and "*" not in {part.value[:1], part.value[-1:]}
            ):
                return part.value, compile(tree)
        return None, compile(tree)

    def _parsed(self, text: str, role: str) -> Expression:
        limits = self._limits
        try:
            return parse(text, max_length=limits.expression, max_conditions=limits.conditions)
        except ExpressionError as error:
            raise Refused(f"This {role} cannot be used: {error}") from None

    def _check_sizes(self, subscriber: _Subscriber[P], known: _Subscriber[P] | None) -> None:
        """Refuse a subscription with which its user would have too much, now without the one that it replaces."""
        limits, user = self._limits, subscriber.peer.user
        if subscriber.metadata_bytes > limits.metadata:
            raise Refused(f"A subscriber's metadata has {limits.metadata} bytes at most.")
        conditions = self._conditions_of[user] + subscriber.conditions - (known.conditions if known else 0)
        if conditions > limits.conditions_per_user:
            raise Refused(f"All subscriptions of a user have {limits.conditions_per_user} conditions at most.")
        metadata = self._metadata_of[user] + subscriber.metadata_bytes - (known.metadata_bytes if known else 0)
        if metadata > limits.metadata_per_user:
            raise Refused(f"The metadata of all subscribers of a user has {limits.metadata_per_user} bytes at most.")

    def _remove(self, subscriber: _Subscriber[P]) -> None:
        peer, identifier = subscriber.peer, subscriber.metadata["id"]
        for held, size in (
            (self._conditions_of, subscriber.conditions),
            (self._metadata_of, subscriber.metadata_bytes),
        ):
            held[peer.user] -= size
            if not held[peer.user]:
                del held[peer.user]
        if self._interests is not None:
            self._interests.remove(subscriber)
        try:
            self._index.remove(subscriber.token)
        except NotFoundError:  # pragma: no cover  # it cannot be, and nothing of it may stay behind
            pass
        own = self._subscribers[peer]
        del own[identifier]
        if not own:
            del self._subscribers[peer]
        holders = self._by_id[identifier]
        del holders[peer]
        if not holders:
            del self._by_id[identifier]
        self._decode_no_more_for(subscriber)

    def _decode_for(self, subscriber: _Subscriber[P]) -> None:
        widened = subscriber.widened
        if widened is None:
            return
        self._decoding_uses[widened] += 1
        self._looks[widened] += subscriber.looks
        if widened not in self._decoding_tokens:
            self._decoding_tokens[widened] = self._decoding.add(widened, widened)

    def _decode_no_more_for(self, subscriber: _Subscriber[P]) -> None:
        widened = subscriber.widened
        if widened is None:
            return
        self._decoding_uses[widened] -= 1
        self._looks[widened] -= subscriber.looks
        if not self._decoding_uses[widened]:
            del self._decoding_uses[widened], self._looks[widened]
            self._decoding.remove(self._decoding_tokens.pop(widened))


def _identifier(metadata: Mapping[str, Any]) -> str:
    identifier = metadata.get("id")
    # A list of texts would be met by each of them in a target: one subscriber would get everybody's replies.
    if not isinstance(identifier, str) or not identifier:
        raise Refused('A subscriber needs a text as its "id".')
    return identifier


def _conditions(tree: Expression, only_data: bool = False) -> int:
    """How many tests a subscription may take."""
    match tree:
        case And(children) | Or(children):
            return sum(_conditions(child, only_data) for child in children)
        case Not(child):
            return _conditions(child, only_data)
        case _:
            return 1 if not only_data or _reads_beyond_envelope(tree) else 0


def _looks(tree: Expression) -> int:
    """How many conditions look into data one by one: an equality that all of the tree needs is looked up instead."""
    parts = tree.children if isinstance(tree, And) else (tree,)
    looked_up = any(
        isinstance(part, Condition) and _reads_beyond_envelope(part) and way(part) is Way.EQUALITY for part in parts
    )
    return _conditions(tree, only_data=True) - looked_up


def _reads_beyond_envelope(tree: Expression) -> bool:
    match tree:
        case And(children) | Or(children):
            return any(map(_reads_beyond_envelope, children))
        case Not(child):
            return _reads_beyond_envelope(child)
        case Condition(key):
            return key.partition(".")[0] not in _ENVELOPE
        case _:
            return False


def _widened(tree: Expression) -> Expression:
    """The same with everything true that reads beyond the envelope: it holds wherever the tree could hold."""
    if not _reads_beyond_envelope(tree):
        return tree
    match tree:
        case And(children):
            parts = [part for part in map(_widened, children) if not isinstance(part, Everything)]
            if len(parts) > 1:
                return And(parts)
            return parts[0] if parts else Everything()
        case Or(children):
            parts = list(map(_widened, children))
            return Everything() if any(isinstance(part, Everything) for part in parts) else Or(parts)
        case _:
            return Everything()
