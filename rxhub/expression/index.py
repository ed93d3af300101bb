"""The index: find the subscriptions that match an event, among many, at about the cost of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, count
from typing import Any, Generic, TypeVar

from rxhub.concurrency.ordered_calls import Call, OrderedCalls
from rxhub.errors import NotFoundError
from rxhub.event import Event
from rxhub.expression.ast import And, Condition, Expression, Not, Or
from rxhub.expression.comparisons import Dialect
from rxhub.expression.index_tree import ConditionBucket, Node, Row, Token, in_order, remove
from rxhub.expression.parser import parse
from rxhub.expression.residual import Residuals
from rxhub.expression.step_budget import current_budget

__all__ = ["Index"]

E = TypeVar("E")

_type: Callable[[object], type] = type  # what `type` says of Any is unknown to a type checker


class Index(Generic[E]):
    """Subscriptions with entries; `match` returns the entries of the subscriptions that match an event.

    The time of a match is proportional to the number of matches, and hardly grows with the number of subscriptions
    if each has an equality, a prefix or a range that few events meet, above all a topic. Subscriptions that have only
    `not`, `!=`, `*` or containment are tested one after the other, at about 100 ns each.

    A lock serializes `add` and `remove`. `match` takes no lock and never waits: it sees the subscriptions that existed
    when it began.
    """

    __slots__ = (
        "__weakref__",
        "_changes",
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
        # The buckets of topics if the index has no others, else empty.
        self._topics: dict[str, ConditionBucket] = {}
        self._order = count()
        self._reads_id = False  # whether a subscription reads the id of events
        self._size = 0
        self._changes: OrderedCalls[Any] = OrderedCalls()

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._size}>"

    def add(
        self, expression: Expression | str, entry: E, priority: float = 100, *, dialect: Dialect = Dialect.RXHUB
    ) -> Token:
        """Add an entry, which is never compared or hashed; returns the token for `remove`.

        Args:
            expression: the subscription, as a tree or a string.
            entry: what `match` returns.
            priority: the lowest comes first.
            dialect: the dialect of an expression that is a string.

        Raises:
            ExpressionError: if the string is not a valid subscription.
            TypeError: if the priority is not a number.
        """
        if not isinstance(priority, (int, float)) or priority != priority:
            raise TypeError(f"A priority must be a number (the lowest comes first), but {priority!r} was given.")
        tree = parse(expression, dialect) if isinstance(expression, str) else expression
        if not self._reads_id:
            self._reads_id = _reads_id(tree)
        token = Token(self, (priority, next(self._order), entry))
        self._change((self._add, (token, tree)))
        return token

    def remove(self, token: Token) -> None:
        """Remove the subscription of a token. Raises NotFoundError if it was removed, or belongs to another index."""
        if not isinstance(token, Token) or token.index is not self:
            raise NotFoundError(f"{token!r} is not in this index of {self._size} subscriptions.")
        self._change((self._remove, token))

    def match(self, candidate: Any) -> Sequence[E]:
        """The entries of the subscriptions that match, by priority, then in the order of adding. Never raises.

        The candidate is usually an `Event` or a dict. The result is a snapshot that never changes.
        """
        kind = _type(candidate)
        if kind is not dict:
            if kind is not Event and not issubclass(kind, Event):
                return self._search(candidate)
            candidate = candidate.fields if self._reads_id else candidate._fields
        # Most subscriptions have a topic: one look-up, then the residuals.
        try:
            topic = candidate["topic"]
        except Exception:  # missing, or a key of the candidate raises when compared
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

        The candidate is not an `Event`. An entry may be in several rows.
        """
        self._root.search(candidate, rows)

    def _search(self, candidate: object) -> tuple[E, ...]:
        hits: list[Row] = []
        self._root.search(candidate, hits)
        return in_order(hits)

    def _change(self, change: Call[Any]) -> None:
        """Make one change at a time.

        A finalizer or a signal handler may run in the middle of a change and make another one in the same thread: its
        change is queued, and made by the outer call.
        """
        self._changes.add(change)
        self._changes.run(change, wait=True)

    def _add(self, added: tuple[Token, Expression]) -> None:
        token, tree = added
        self._root.insert(token, (tree,))
        self._changed(1)

    def _remove(self, token: Token) -> None:
        if token.index is None:
            return  # another thread was faster
        token.index = None
        remove(token)
        self._changed(-1)

    def _changed(self, difference: int) -> None:
        root = self._root
        self._size += difference
        has_more = self._topic.has_more or len(root.scan) > 1 or not root.rest.is_empty
        self._topics = {} if has_more else self._topic.texts


def _reads_id(tree: Expression) -> bool:
    """Whether an expression reads the id of an event, which is created on first access."""
    match tree:
        case And(children) | Or(children):
            return any(map(_reads_id, children))
        case Not(child):
            return _reads_id(child)
        case Condition(key):
            return key == "id" or key.startswith("id.")
        case _:
            return False
