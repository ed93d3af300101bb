"""Which subjects a subscription is about, so that the server sends little else.

The part of an expression that is about the topic is pushed down: an equality becomes a subject, a prefix becomes
all subjects below the tokens that it surely has. Whatever else is written widens, so the subjects are a superset of
what can match, and the whole expression is tested again on what has come.

Theory of operation. A filter is either one subject or `head.>`, all subjects below a head. Two such filters are
disjoint, or one lies in the other; there is no third case, as there would be with a `*` in the middle. Hence

- a filter lies in a set of filters exactly if it is there itself, or a `head.>` of one of its own heads is: as many
  look-ups as it has tokens, however large the set;
- of two sets, what lies in both is made of those filters of either that lie in the other: this is `and`, where a
  contradiction leaves nothing;
- a set without filters that lie in others of it has no overlaps, which is what the server demands (its error 10138).

When there are more filters than a consumer should have, we begin with one `head.>` for each kind of subject and narrow
as far as there is room: the widest first, and among equally wide ones the one that costs fewest further filters. What
cannot be afforded stays wide. So a thousand topics `ftrack.update.…` become one `ftrack.update.>`, and a few others
stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import takewhile
from threading import Lock
from typing import NamedTuple, TypeAlias

from rxhub.errors import EventError
from rxhub.expression import And, Condition, Expression, Or
from rxhub.expression.access import Way, way
from rxhub.transport.nats.subjects import REPLY, Subjects

__all__ = ["Filters", "filters", "merged"]

MOST = 200
"""Filters of one consumer: a server compares each message of the stream with all of them."""

_MOST_NARROWED = 5_000

_Set: TypeAlias = frozenset[str]


def filters(subjects: Subjects, expression: Expression, replies: str | None = None) -> frozenset[str]:
    """The subjects of all events that can match an expression, and perhaps of more.

    Args:
        subjects: of the stream.
        expression: a subscription.
        replies: which subjects of replies are meant, if the subscription lets replies through: those to one
            subscriber, `subjects.reply(id)`, or all, `subjects.replies`. None is none.

    Returns:
        Subjects and `head.>`, none of which lies in another; none at all if no event can match.
    """
    found = _outer(_topics(subjects, expression))
    if replies is not None and _lies_in(subjects.event(REPLY), found):
        return found | {replies}
    return found


def merged(filters: Iterable[str], most: int = MOST) -> list[str]:
    """The same subjects, and perhaps more, by few filters that do not overlap, as a consumer may have them.

    Args:
        filters: each one subject or `head.>`; of one stream.
        most: how many are wanted; each kind of subject (events, replies, retries) keeps one in any case.

    Returns:
        Filters in the order of the alphabet. To a server an empty list means everything, but here it means nothing:
        whoever gets one makes no consumer.
    """
    outer = _outer(frozenset(filters))
    return sorted(outer if len(outer) <= most else _widened(outer, most))


class Filters:
    """The filters of subscribers who come and go. Thread-safe.

    Args:
        subjects: of the stream.
        most: how many filters are wanted, see `merged`.
    """

    def __init__(self, subjects: Subjects, most: int = MOST) -> None:
        self._topics = subjects
        self._most = most
        self._of: dict[object, _Set] = {}
        self._counts: Counter[str] = Counter()
        self._merged: list[str] | None = []
        self._lock = Lock()

    def __len__(self) -> int:
        """How many subscribers there are."""
        return len(self._of)

    def add(self, id: object, expression: Expression, key: object = None) -> None:
        """There is a subscriber; one with the same key is replaced.

        Args:
            id: which replies are addressed to.
            expression: what it wants.
            key: by which it is removed, where several may have the same id; the id if it is not given.
        """
        wanted = filters(self._topics, expression, self._replies_to(id))
        key = id if key is None else key
        with self._lock:
            before = self._of.get(key)
            self._of[key] = wanted
            if before != wanted:
                self._count(wanted)
                self._discount(before or ())

    def remove(self, key: object) -> None:
        """There is one less."""
        with self._lock:
            self._discount(self._of.pop(key, ()))

    @property
    def subjects(self) -> list[str]:
        """The merged filters of all; an empty list if nobody wants anything. The same list until something changes."""
        with self._lock:
            if self._merged is None:
                # Strangers may subscribe to any number of topics, and to narrow them takes time.
                narrowed = self._counts if len(self._counts) <= _MOST_NARROWED else self._kinds()
                self._merged = merged(narrowed, self._most)
            return self._merged

    def forked(self) -> None:
        """Have a new lock; for a child process, where a thread that held the old one is gone."""
        self._lock = Lock()

    def _count(self, wanted: Iterable[str]) -> None:
        for filter in wanted:
            if filter not in self._counts:
                self._merged = None
            self._counts[filter] += 1

    def _discount(self, wanted: Iterable[str]) -> None:
        for filter in wanted:
            if self._counts[filter] > 1:
                self._counts[filter] -= 1
            else:
                del self._counts[filter]
                self._merged = None

    def _kinds(self) -> list[str]:
        return [self._topics.events, self._topics.replies]

    def _replies_to(self, id: object) -> str | None:
        if type(id) is not str:
            # The text of a target may denote it in several ways.
            return self._topics.replies
        try:
            return self._topics.reply(id)
        except EventError:
            return None  # nobody can publish such a reply either


def _topics(subjects: Subjects, expression: Expression) -> _Set:
    match expression:
        case Condition("topic"):
            return _of_condition(subjects, expression)
        case And(children):
            wanted = frozenset({subjects.events})
            for child in children:
                wanted = _in_both(wanted, _topics(subjects, child))
            return wanted
        case Or(children):
            return frozenset([filter for child in children for filter in _topics(subjects, child)])
        case _:
            return frozenset({subjects.events})


def _of_condition(subjects: Subjects, condition: Condition) -> _Set:
    try:
        match way(condition):
            case Way.EQUALITY:
                return frozenset({subjects.event(condition.value)})
            case Way.PREFIX:
                # The last token may go on, the ones before it are whole.
                head, dot, _ = condition.value[:-1].rpartition(".")
                return frozenset({f"{subjects.event(head)}.>" if dot else subjects.events})
            case _:
                return frozenset({subjects.events})
    except EventError:
        return frozenset()  # no event can be published under such a topic


def _in_both(one: _Set, other: _Set) -> _Set:
    return frozenset(
        [filter for filter in one if _lies_in(filter, other)] + [filter for filter in other if _lies_in(filter, one)]
    )


def _outer(filters: _Set) -> _Set:
    """Those that lie in no other."""
    return frozenset([filter for filter in filters if not any(wide in filters for wide in _wider(filter))])


def _lies_in(filter: str, others: _Set) -> bool:
    return filter in others or any(wide in others for wide in _wider(filter))


def _wider(filter: str) -> Iterator[str]:
    """All `head.>` in which a filter lies, the narrowest first, without itself."""
    end = len(filter.removesuffix(".>"))
    while (end := filter.rfind(".", 0, end)) >= 0:
        yield f"{filter[:end]}.>"


def _widened(filters: _Set, most: int) -> list[str]:
    """At most `most` filters (or one for each kind of subject) around those given, none of which lies in another."""
    chosen: list[str] = []
    wide: list[_Wide] = []
    _sort_out([filter.split(".") for filter in filters], 2, chosen, wide)
    count = len(chosen) + len(wide)
    heapify(wide)
    while wide:
        widest = heappop(wide)
        if count + widest.cost > most:
            chosen.append(".".join([*widest.head, ">"]))
            continue
        narrower: list[_Wide] = []
        _sort_out(widest.members, len(widest.head) + 1, chosen, narrower)
        for one in narrower:
            heappush(wide, one)
        count += widest.cost
    return chosen


class _Wide(NamedTuple):
    """Filters for which one `head.>` may stand. In order of what is narrowed first.

    Attributes:
        of_replies: whether it is about replies, which are narrowed last: there are few of them.
        breadth: tokens of the head.
        cost: how many filters more it takes to narrow it.
        head: the tokens that all of them begin with.
        members: the tokens of each.
    """

    of_replies: bool
    breadth: int
    cost: int
    head: list[str]
    members: list[list[str]]


def _sort_out(members: list[list[str]], length: int, chosen: list[str], wide: list[_Wide]) -> None:
    """Put filters that share their first `length` tokens together, and those that are alone where they are chosen."""
    for together in _groups(members, length):
        if len(together) == 1:
            chosen.append(".".join(together[0]))
            continue
        # What the first and the last in order share, all between them share too. And a subject that the others only
        # begin with is not below itself.
        shared = takewhile(lambda pair: pair[0] == pair[1], zip(min(together), max(together), strict=False))
        head = [token for token, _ in shared][: min(map(len, together)) - 1]
        cost = len(_groups(together, len(head) + 1)) - 1
        wide.append(_Wide(head[1:2] == ["reply"], len(head), cost, head, together))


def _groups(members: list[list[str]], length: int) -> list[list[list[str]]]:
    groups: dict[tuple[bool, tuple[str, ...]], list[list[str]]] = {}
    for tokens in members:
        groups.setdefault((len(tokens) > length, tuple(tokens[:length])), []).append(tokens)
    return [*groups.values()]
