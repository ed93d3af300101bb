"""Which subjects a subscription needs, so that the server sends little else.

Conditions on the topic become subjects: an equality one subject, a prefix all subjects below its whole tokens. All
other conditions widen, so the subjects are a superset, and the hub tests the whole expression.

A filter is either one subject or `head.>`. Two filters are disjoint, or one lies in the other. So a filter lies in a
set of filters exactly if the set contains it or a `head.>` of one of its heads; the intersection of two sets (`and`)
are those filters of either that lie in the other; and a set has no overlaps, which the server demands (its error
10138), if none of its filters lies in another.
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

MAX_FILTERS = 200  # filters of one consumer: a server compares each message of the stream with all of them
_Set: TypeAlias = frozenset[str]


def subjects_of(subjects: Subjects, expression: Expression, replies: str | None = None) -> frozenset[str]:
    """The subjects of all events that can match an expression, and perhaps of more; none lies in another.

    `replies` are the subjects of replies to include if the subscription lets replies through: `subjects.reply(id)` or
    `subjects.replies`.
    """
    found = _outer(_topics(subjects, expression))
    if replies is not None and covers(found, subjects.event(REPLY)):
        return found | {replies}
    return found


def merge(filters: Iterable[str], most: int = MAX_FILTERS) -> list[str]:
    """The same subjects, and perhaps more, by few filters that do not overlap, in alphabetical order.

    `most` are wanted; each kind of subject (events, replies, retries) keeps one in any case. An empty result means
    nothing here, but everything to a server.
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
        with self._lock:
            self._take_out_gone()
            return len(self._of)

    def add(self, id: object, expression: Expression, key: object = None) -> bool:
        """Add a subscriber, or replace that of the same key; whether the adopted filters do not suffice for it.

        Replies are addressed to `id`. `key` removes it, where several may have the same id.
        """
        wanted = subjects_of(self._topics, expression, self._replies_to(id))
        key = id if key is None else key
        with self._lock:
            self._take_out_gone()
            before = self._of.get(key)
            self._of[key] = wanted
            if before != wanted:
                self._change(wanted, before or ())
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
        """The merged filters, with which `add` compares from now on."""
        with self._lock:
            present = self._present()
            self._adopted = frozenset(present)
            return present

    def _take_out_gone(self) -> None:
        while self._gone:
            self._change((), self._of.pop(self._gone.popleft(), ()))

    def _present(self) -> list[str]:
        self._take_out_gone()
        if self._merged is None:
            self._merged = self._tree.reduce(self._most)
        return self._merged

    def _change(self, added: Iterable[str], removed: Iterable[str]) -> None:
        changes = [self._tree.add(filter) for filter in added] + [self._tree.remove(filter) for filter in removed]
        if any(changes):
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
