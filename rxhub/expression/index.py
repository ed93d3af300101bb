"""The index: which of many subscriptions match one event, at about the cost of one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain, count
from typing import Any, Generic, TypeVar

from rxhub.concurrency.fork import ForkSafeLock
from rxhub.errors import NotFoundError
from rxhub.event import Event
from rxhub.expression.ast import And, Condition, Expression, Not, Or
from rxhub.expression.dialect import Dialect
from rxhub.expression.index_tree import Bucket, Node, Row, Token, in_order, leave
from rxhub.expression.parser import parse
from rxhub.expression.residual import Residuals
from rxhub.expression.step_budget import current_budget

__all__ = ["Index"]

E = TypeVar("E")

_type: Callable[[object], type] = type  # what `type` says of Any is unknown to a type checker


class Index(Generic[E]):
    """Many subscriptions, each with an entry; for one event, the entries of those that match it.

    Matching takes time in proportion to what matches, and hardly grows with the number of subscriptions, as
    long as they have an equality, a prefix or a range that few events meet: first of all a topic. What only a
    `not`, `!=`, `*` or a containment could find is tested one after the other, some 100 ns each.

    Adding and removing are serialised by a lock. Matching takes none and never waits: it works on what was there
    when it began, and may be called from any number of threads, and from callbacks that subscribe and unsubscribe.
    """

    __slots__ = (
        "__weakref__",
        "_changes",
        "_is_changing",
        "_lock",
        "_order",
        "_reads_id",
        "_root",
        "_size",
        "_topic",
        "_topics",
    )

    def __init__(self) -> None:
        self._root = Node(Residuals())
        self._topic = self._root.pin("topic")
        # The buckets of topics, as long as there is nothing else; then empty.
        self._topics: dict[str, Bucket] = {}
        self._order = count()
        self._reads_id = False  # whether an event must have made its id before it is looked at
        self._size = 0
        self._lock = ForkSafeLock(self)
        self._changes: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._is_changing = False

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._size}>"

    def add(
        self, expression: Expression | str, entry: E, priority: float = 100, *, dialect: Dialect = Dialect.RXHUB
    ) -> Token:
        """Add an entry.

        Args:
            expression: what it subscribes to, as a tree or as text.
            entry: what `match` is to return; anything, it is never compared or hashed.
            priority: the lowest comes first.
            dialect: how an expression given as text is to be read.

        Returns:
            The token with which it is removed.

        Raises:
            ExpressionError: if the text is no subscription.
            TypeError: if the priority is no number, which could not be ordered.
        """
        if not isinstance(priority, (int, float)) or priority != priority:
            raise TypeError(f"A priority is a number (the lowest comes first), but {priority!r} was found.")
        tree = parse(expression, dialect) if isinstance(expression, str) else expression
        if not self._reads_id:
            self._reads_id = _reads_id(tree)
        token = Token(self, (priority, next(self._order), entry))
        self._change(self._add, token, tree)
        return token

    def remove(self, token: Token) -> None:
        """Remove what `add` returned this token for.

        Raises:
            NotFoundError: if it has been removed, or was added to another index.
        """
        with self._lock:
            if not isinstance(token, Token) or token.index is not self:
                raise NotFoundError(f"{token!r} is not, or no longer, in this index of {self._size} subscriptions.")
            token.index = None
            self._change(self._remove, token)

    def match(self, candidate: Any) -> Sequence[E]:
        """The entries whose expressions hold for a candidate, by priority, then in order of adding.

        Args:
            candidate: usually an `Event` or a dict; anything else that `Expression.matches` takes.

        Returns:
            An immutable snapshot, which later changes leave as it is. It never raises.
        """
        kind = _type(candidate)
        if kind is not dict:
            if kind is not Event and not issubclass(kind, Event):
                return self._search(candidate)
            candidate = candidate.fields if self._reads_id else candidate._fields
        # Most indexes hold topics only: one look-up, then what is left to test behind it.
        try:
            topic = candidate["topic"]
        except Exception:  # missing, or a key of the candidate that refuses to be compared
            return self._search(candidate)
        if _type(topic) is not str:
            return self._search(candidate)
        topics = self._topics
        bucket = topics.get(topic)
        if bucket is None:
            return () if topics else self._search(candidate)
        state = bucket.state
        row = state.only_row
        if row is not None:
            return row[1] if row[0](candidate) else ()
        rows = state.ordered_rows
        if rows is None:
            hits: list[Row] = []
            bucket.search(candidate, hits)
            return in_order(hits)
        if (budget := current_budget()) is not None:
            budget.spend(state.weight)
        found: list[tuple[E, ...]] = []
        for test, entries, _ in rows:
            if test(candidate):
                found.append(entries)
        return found[0] if len(found) == 1 else tuple(chain.from_iterable(found))

    def reach(self, candidate: object, rows: list[Row]) -> None:
        """Add the rows that match to a list, in no order; some are there as well if the work that is counted ends it.

        Args:
            candidate: a dict, or anything else but an `Event` that `match` takes.
            rows: tests that hold, the entries that match, and the same ranked. An entry may be in several rows.
        """
        self._root.search(candidate, rows)

    def after_fork(self) -> None:
        """Forget a change of another thread, which is not in the forked child."""
        self._is_changing = False

    def _search(self, candidate: object) -> tuple[E, ...]:
        hits: list[Row] = []
        self._root.search(candidate, hits)
        return in_order(hits)

    def _change(self, change: Callable[..., None], *arguments: Any) -> None:
        """Make one change at a time.

        A garbage collection may run a finaliser, and a signal its handler, in the middle of a change; if
        that adds or removes in turn, in this same thread, it can neither wait for the lock nor find the tables in
        order. So changes queue, and a nested one is left for the loop below it, which goes on to it.
        """
        self._changes.append((change, arguments))
        with self._lock:
            # Asked again after the flag is down: a change may be queued just before that.
            while self._changes and not self._is_changing:
                self._is_changing = True
                try:
                    while self._changes:
                        change, arguments = self._changes.popleft()
                        change(*arguments)
                finally:
                    self._is_changing = False

    def _add(self, token: Token, tree: Expression) -> None:
        self._root.insert(token, (tree,))
        self._changed(1)

    def _remove(self, token: Token) -> None:
        leave(token)
        self._changed(-1)

    def _changed(self, difference: int) -> None:
        root = self._root
        self._size += difference
        has_more = self._topic.has_more or len(root.scan) > 1 or not root.rest.is_empty
        self._topics = {} if has_more else self._topic.texts


def _reads_id(tree: Expression) -> bool:
    """Whether the id of an event decides, which an event makes when it is first asked for."""
    match tree:
        case And(children) | Or(children):
            return any(map(_reads_id, children))
        case Not(child):
            return _reads_id(child)
        case Condition(key):
            return key == "id" or key.startswith("id.")
        case _:
            return False
