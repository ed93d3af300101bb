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

Of more filters than a consumer should have, `rxhub.transport.nats.subject_merge` makes few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import TypeAlias, assert_never

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import EventError
from rxhub.expression import And, Condition, Expression, Or
from rxhub.expression.access_path import access_to
from rxhub.expression.comparisons import AccessMethod
from rxhub.transport.nats.subject_merge import SubjectTree
from rxhub.transport.nats.subjects import REPLY, Subjects

__all__ = ["SubjectFilters", "covers", "merge", "subjects_of"]

MAX_FILTERS = 200
"""Filters of one consumer: a server compares each message of the stream with all of them."""

_Set: TypeAlias = frozenset[str]


def subjects_of(subjects: Subjects, expression: Expression, replies: str | None = None) -> frozenset[str]:
    """The subjects of all events that can match an expression, and perhaps of more.

    `replies`: which subjects of replies are meant, if the subscription lets replies through: those to one subscriber,
    `subjects.reply(id)`, or all, `subjects.replies`. None is none. Returns subjects and `head.>`, none of which lies in
    another; none at all if no event can match.
    """
    found = _outer(_topics(subjects, expression))
    if replies is not None and covers(found, subjects.event(REPLY)):
        return found | {replies}
    return found


def merge(filters: Iterable[str], most: int = MAX_FILTERS) -> list[str]:
    """The same subjects, and perhaps more, by few filters that do not overlap, as a consumer may have them.

    `most`: how many are wanted; each kind of subject (events, replies, retries) keeps one in any case. Returns filters
    in the order of the alphabet. To a server an empty list means everything, but here it means nothing: whoever gets
    one makes no consumer.
    """
    tree = SubjectTree()
    for filter in filters:
        tree.add(filter)
    return tree.reduce(most)


def covers(filters: AbstractSet[str], subject: str) -> bool:
    """Whether a subject, or all subjects below a head, lie in one of the filters."""
    return subject in filters or any(wide in filters for wide in _wider(subject))


class SubjectFilters:
    """The filters of subscribers who come and go. Thread-safe."""

    def __init__(self, subjects: Subjects, most: int = MAX_FILTERS) -> None:
        self._topics = subjects
        self._most = most
        self._of: dict[object, _Set] = {}
        # Removed subscribers that are still counted: a finalizer may add one while this thread changes the tree.
        self._gone: deque[object] = deque()
        self._tree = SubjectTree()
        self._merged: list[str] | None = []
        self._adopted: _Set = frozenset()
        self._lock = ForkSafeLock()

    def __len__(self) -> int:
        """How many subscribers there are."""
        with self._lock:
            self._take_out_gone()
            return len(self._of)

    def add(self, id: object, expression: Expression, key: object = None) -> bool:
        """There is a subscriber; one with the same key is replaced.

        `key`: by which it is removed, where several may have the same id; the id if it is not given. Returns whether it
        wants what the adopted filters do not let through.
        """
        wanted = subjects_of(self._topics, expression, self._replies_to(id))
        key = id if key is None else key
        with self._lock:
            self._take_out_gone()
            before = self._of.get(key)
            self._of[key] = wanted
            if before != wanted:
                self._put_in(wanted)
                self._take_out(before or ())
            adopted = self._adopted
            return any(not covers(adopted, filter) for filter in wanted)

    def remove(self, key: object) -> None:
        """There is one less, so fewer filters may do. Takes no lock."""
        self._gone.append(key)

    @property
    def subjects(self) -> list[str]:
        """The merged filters of all; an empty list if nobody wants anything. The same list until something changes."""
        with self._lock:
            return self._present()

    def adopt(self) -> list[str]:
        """The merged filters, adopted by the reader.

        `add` returns whether a subscriber needs others than the adopted ones.
        """
        with self._lock:
            present = self._present()
            self._adopted = frozenset(present)
            return present

    def _take_out_gone(self) -> None:
        while self._gone:
            self._take_out(self._of.pop(self._gone.popleft(), ()))

    def _present(self) -> list[str]:
        self._take_out_gone()
        if self._merged is None:
            self._merged = self._tree.reduce(self._most)
        return self._merged

    def _put_in(self, wanted: Iterable[str]) -> None:
        for filter in wanted:
            if self._tree.add(filter):
                self._merged = None

    def _take_out(self, wanted: Iterable[str]) -> None:
        for filter in wanted:
            if self._tree.remove(filter):
                self._merged = None

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
        access = access_to(condition)
        match access:
            case AccessMethod.EQUALITY:
                return frozenset({subjects.event(condition.value)})
            case AccessMethod.PREFIX:
                # The last token may go on, the ones before it are whole.
                head, dot, _ = condition.value[:-1].rpartition(".")
                return frozenset({f"{subjects.event(head)}.>" if dot else subjects.events})
            case AccessMethod.RANGE | AccessMethod.SCAN:
                return frozenset({subjects.events})
            case _:
                assert_never(access)
    except EventError:
        return frozenset()  # no event can be published under such a topic


def _in_both(one: _Set, other: _Set) -> _Set:
    inner = [filter for filter in one if covers(other, filter)]
    return frozenset(inner + [filter for filter in other if covers(one, filter)])


def _outer(filters: _Set) -> _Set:
    """Those that lie in no other."""
    return frozenset([filter for filter in filters if not any(wide in filters for wide in _wider(filter))])


def _wider(filter: str) -> Iterator[str]:
    """All `head.>` in which a filter lies, the narrowest first, without itself."""
    end = len(filter.removesuffix(".>"))
    while (end := filter.rfind(".", 0, end)) >= 0:
        yield f"{filter[:end]}.>"
