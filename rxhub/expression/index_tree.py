"""The data structure of the index.

A *node* holds a set of subscriptions. Each is in the *bucket* of an indexable condition, in the field index of its key;
subscriptions without one are in the bucket `rest`. A bucket is first a flat list of *places*, each with the residual of
its subscription. Places with the same residual form a *row*, which is tested once. A bucket with many rows is split
into a node if its residuals have indexable conditions, or else, with thousands of places, into a *hash split*.

Readers neither lock nor wait, and never see half a change. There is one writer at a time (`Index` ensures that). A
writer first changes the places of a bucket, then gives it a new state without rows. A reader takes the state before it
reads places, and stores the rows that it creates in that state, so outdated rows are not used again. A split builds the
new node first and publishes it with one store of a new state. Rows are immutable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from rxhub.expression.access_path import AccessPlan, Parts, Score, access_to, choose, conjuncts, indexable
from rxhub.expression.comparisons import AccessMethod
from rxhub.expression.field_index import FieldIndex
from rxhub.expression.residual import Residual, Residuals, Test
from rxhub.expression.step_budget import current_budget

if TYPE_CHECKING:
    from rxhub.expression.ast import Condition

__all__ = ["ConditionBucket", "Node", "Ranked", "Row", "Token", "in_order", "remove"]

Ranked: TypeAlias = tuple[float, int, Any]
"""Priority, order of adding, entry. The order is unique, so entries are never compared."""

Row: TypeAlias = tuple[Test, tuple[Any, ...], tuple[Ranked, ...]]
"""A test, the entries that match if it holds, and the same entries ranked."""

_FEW_ROWS = 16
_FEW_PLACES = 2 * _FEW_ROWS
_MAX_DEPTH = 8
_MAX_FIELDS = 256
_MANY_PLACES = 1_024  # in a flat list
_HASH_BUCKETS = 64
# Steps of the budget. With tens of thousands of tests, each misses the processor's caches.
_BUCKET, _FIELD, _PLACE, _ROW, _HIT = 3, 4, 10, 15, 5


class Token:
    """One subscription in an index: what `Index.add` returns and `Index.remove` takes."""

    __slots__ = ("index", "places", "ranked")

    def __init__(self, index: object, ranked: Ranked) -> None:
        self.index: object | None = index
        self.ranked = ranked
        self.places: tuple[Place, ...] = ()

    def prepare(self) -> None:
        """Compile the residuals before the first match."""
        for place in self.places:
            place.residual.test()


class Place:
    """The place of a subscription in a bucket; with an `or`, it has several."""

    __slots__ = ("bucket", "position", "residual", "token")

    def __init__(self, token: Token, residual: Residual, bucket: ConditionBucket, position: int) -> None:
        self.token = token
        self.residual = residual
        self.bucket = bucket
        self.position = position


class BucketState:
    """The current places of a bucket, or the node that it was split into.

    Attributes:
        places: in no order. The list is shared with the previous and the next state.
        node: the node, if the bucket was split.
        rows: in the order of their first entries; None until a reader creates them.
        ordered_rows: the rows, if their entries are in order and unique when the rows are concatenated.
        only_row: the row, if there is only one.
        weight: the number of steps for testing all rows, without those for lists.
    """

    __slots__ = ("node", "only_row", "ordered_rows", "places", "rows", "weight")

    def __init__(self, places: list[Place], node: Node | HashSplit | None = None) -> None:
        self.places = places
        self.node = node
        self.rows: tuple[Row, ...] | None = None
        self.only_row: Row | None = None
        self.ordered_rows: tuple[Row, ...] | None = None
        self.weight = 0


class ConditionBucket:
    """The subscriptions that one condition finds; without a condition, the rest of a node."""

    __slots__ = ("condition", "home", "state")

    def __init__(self, home: Node | HashSplit, condition: Condition | None = None) -> None:
        self.home = home
        self.condition = condition
        self.state = BucketState([])

    @property
    def is_empty(self) -> bool:
        return not self.state.places if self.state.node is None else self.state.node.is_empty

    def holds(self, candidate: object) -> bool:
        return self.condition is None or self.condition.matches(candidate)

    def search(self, candidate: object, hits: list[Row]) -> None:
        state = self.state
        if state.node is not None:
            state.node.search(candidate, hits)
            return
        rows = state.rows if state.rows is not None else self._make_rows(state)
        if (budget := current_budget()) is not None:
            budget.spend(_BUCKET + state.weight)
        for row in rows:
            test = row[0]
            if test(candidate):
                hits.append(row)

    def _make_rows(self, state: BucketState) -> tuple[Row, ...]:
        # Copied in one step. A place that a writer is moving may be in the copy twice, but is never missing.
        places = state.places.copy()
        if len(places) > 1:
            places.sort(key=_rank)
        groups: dict[Residual, list[Ranked]] = {}
        is_ordered = True
        last: Residual | None = None
        before: Ranked | None = None
        for place in places:
            residual, ranked = place.residual, place.token.ranked
            group = groups.get(residual)
            if group is None:
                groups[residual] = [ranked]
                is_ordered = is_ordered and ranked is not before
            elif group[-1] is not ranked:
                group.append(ranked)
                is_ordered = is_ordered and residual is last
            last, before = residual, ranked
        rows = tuple(
            [(residual.test(), tuple([one[2] for one in group]), tuple(group)) for residual, group in groups.items()]
        )
        if (budget := current_budget()) is not None:
            budget.spend_once(_PLACE * len(places))
        state.weight = sum([_ROW + residual.weight for residual in groups])
        if not all(residual.is_compiled for residual in groups):
            return rows  # the budget is spent; the next reader compiles the others
        state.rows = rows
        if is_ordered:
            state.ordered_rows = rows
        if len(rows) == 1:
            state.only_row = rows[0]
        return rows

    def insert(self, token: Token, parts: Parts) -> None:
        state = self.state
        if state.node is not None:
            state.node.insert(token, parts)
            return
        places = state.places
        place = Place(token, self.home.residuals.take(parts), self, len(places))
        token.places += (place,)
        places.append(place)
        self.state = BucketState(places)
        count = len(places)
        # Tried only when the number of places doubles: some buckets cannot be split.
        if count >= _FEW_PLACES and not count & (count - 1):
            if self.condition is not None:
                self._split(places)
            if count >= _MANY_PLACES and self.state.node is None:
                self._split_by_hash(places)

    def remove(self, place: Place) -> None:
        places = self.state.places
        last = places[-1]
        # In this order: a reader that copies in between finds the last place twice rather than never.
        places[place.position] = last
        places.pop()
        last.position = place.position
        self.home.residuals.release(place.residual)
        self.state = BucketState(places)

    def _split(self, places: list[Place]) -> None:
        """Replace the flat list by a node, if conditions divide it."""
        if self.home.depth >= _MAX_DEPTH or len({place.residual for place in places}) <= _FEW_ROWS:
            return
        statistics = _Statistics([place.residual.parts for place in places])
        plans = [choose(conjuncts(place.residual.parts), statistics.score) for place in places]
        sharing = Counter(access.condition for plan in plans if plan is not None for access in plan.accesses)
        if plans.count(None) * 2 > len(places) or max(sharing.values()) * 4 > len(places) * 3:
            return
        self._move(places, Node(self.home.residuals, self, self.home.depth + 1), plans)

    def _split_by_hash(self, places: list[Place]) -> None:
        """Replace a flat list that is too long to be rebuilt after each change."""
        if self.home.depth < _MAX_DEPTH and len({place.residual for place in places}) > _FEW_ROWS:
            self._move(places, HashSplit(self), [None] * len(places))

    def _move(self, places: list[Place], node: Node | HashSplit, plans: Sequence[AccessPlan | None]) -> None:
        for place, plan in zip(places, plans, strict=True):
            token = place.token
            token.places = tuple(other for other in token.places if other is not place)
            node.insert(token, place.residual.parts, plan)
        self.state = BucketState([], node)
        for place in places:
            self.home.residuals.release(place.residual)


class HashSplit:
    """Subscriptions that no condition divides, in buckets by the hash of the residual.

    After a change, a reader rebuilds the rows of one bucket only.
    """

    __slots__ = ("bucket", "buckets", "depth", "residuals")

    def __init__(self, bucket: ConditionBucket) -> None:
        self.bucket: ConditionBucket | None = bucket
        self.residuals = bucket.home.residuals
        self.depth: int = bucket.home.depth + 1
        self.buckets: tuple[ConditionBucket, ...] = tuple(
            [ConditionBucket(self, bucket.condition) for _ in range(_HASH_BUCKETS)]
        )

    @property
    def is_empty(self) -> bool:
        return all(bucket.is_empty for bucket in self.buckets)

    def search(self, candidate: object, hits: list[Row]) -> None:
        for bucket in self.buckets:
            bucket.search(candidate, hits)

    def insert(self, token: Token, parts: Parts, _: AccessPlan | None = None) -> None:
        # A nested hash split uses other bits.
        self.buckets[(hash(parts) >> 6 * self.depth) % _HASH_BUCKETS].insert(token, parts)

    def drop(self, bucket: ConditionBucket, condition: Condition) -> None:
        """Keep an empty bucket: all are removed together."""


class Node:
    """Subscriptions by the conditions that find them.

    Attributes:
        bucket: the bucket that was split into this node; None at the root.
        rest: the subscriptions that no condition finds.
        scan: the fields, for readers.
    """

    __slots__ = ("_fields", "_pinned", "bucket", "depth", "residuals", "rest", "scan")

    def __init__(self, residuals: Residuals, bucket: ConditionBucket | None = None, depth: int = 0) -> None:
        self.residuals = residuals
        self.bucket = bucket
        self.depth = depth
        self.rest = ConditionBucket(self)
        self.scan: tuple[FieldIndex[ConditionBucket], ...] = ()
        self._fields: dict[str, FieldIndex[ConditionBucket]] = {}
        self._pinned: FieldIndex[ConditionBucket] | None = None

    @property
    def is_empty(self) -> bool:
        return self.rest.is_empty and not any(self.scan)

    def pin(self, key: str) -> FieldIndex[ConditionBucket]:
        """Create a field that is searched first, and kept when it is empty."""
        self._pinned = self._field(key)
        return self._pinned

    def search(self, candidate: object, hits: list[Row]) -> None:
        if (budget := current_budget()) is not None:
            budget.spend(_FIELD * len(self.scan))
        for field in self.scan:
            for bucket in field.search(candidate):
                bucket.search(candidate, hits)
        rest = self.rest.state
        if rest.places or rest.node is not None:
            self.rest.search(candidate, hits)

    def insert(self, token: Token, parts: Parts, plan: AccessPlan | None = None) -> None:
        """Add a subscription, by the plan if there is one."""
        if plan is None:
            parts = conjuncts(parts)
            plan = choose(parts, self._score)
        if plan is None or self._would_have_too_many_fields(plan):
            self.rest.insert(token, parts)
            return
        for condition, residual in plan.accesses:
            field = self._field(condition.key)
            bucket = field.get(condition)
            if bucket is None:
                bucket = ConditionBucket(self, condition)
                field.put(bucket, condition)
            bucket.insert(token, residual)

    def drop(self, bucket: ConditionBucket, condition: Condition) -> None:
        """Remove an empty bucket, and its field if that is then empty."""
        field = self._fields[condition.key]
        field.drop(bucket, condition)
        if not field and field is not self._pinned:
            del self._fields[condition.key]
            self.scan = tuple(self._fields.values())

    def _would_have_too_many_fields(self, plan: AccessPlan) -> bool:
        keys = {access.condition.key for access in plan.accesses}
        return len(self._fields) + len(keys) > _MAX_FIELDS and len(self._fields.keys() | keys) > _MAX_FIELDS

    def _field(self, key: str) -> FieldIndex[ConditionBucket]:
        field = self._fields.get(key)
        if field is None:
            field = self._fields[key] = FieldIndex(key)
            self.scan = (*self.scan, field)
        return field

    def _score(self, condition: Condition) -> Score | None:
        """The cost of a condition. Large fields are preferred, since few fields are fast; large buckets are split."""
        access = access_to(condition)
        if access is AccessMethod.SCAN:
            return None
        field = self._fields.get(condition.key)
        return _rank_of(condition, access), 0, 1, 0 if field is None else -len(field)


class _Statistics:
    """The cost of conditions for known subscriptions: those that few share are best, then those of frequent keys."""

    def __init__(self, population: Sequence[Parts]) -> None:
        conditions = [condition for parts in population for condition in indexable(parts)]
        self._sharing = Counter(conditions)
        self._keys = Counter(condition.key for condition in conditions)

    def score(self, condition: Condition) -> Score | None:
        access = access_to(condition)
        if access is AccessMethod.SCAN:
            return None
        sharing = self._sharing[condition].bit_length()
        return _rank_of(condition, access), sharing, 1, -self._keys[condition.key]


def remove(token: Token) -> None:
    """Remove a subscription from all its places, and the buckets that are then empty."""
    for place in token.places:
        bucket = place.bucket
        bucket.remove(place)
        while bucket.is_empty:
            node = bucket.home
            if bucket.condition is not None:
                node.drop(bucket, bucket.condition)
            if node.bucket is None:
                break
            bucket = node.bucket
    token.places = ()


def in_order(hits: list[Row]) -> tuple[Any, ...]:
    """The entries of rows of several buckets, in order and without duplicates."""
    if not hits:
        return ()
    if len(hits) == 1:
        return hits[0][1]
    if (budget := current_budget()) is not None:
        budget.spend(_HIT * sum([len(row[1]) for row in hits]))
    ranked = [one for row in hits for one in row[2]]
    ranked.sort()
    return tuple({order: entry for _, order, entry in ranked}.values())


_rank: Callable[[Place], Ranked] = attrgetter("token.ranked")


def _rank_of(condition: Condition, access: AccessMethod) -> int:
    """The topic comes first: it divides most subscriptions, and every event has one."""
    return 0 if access is AccessMethod.EQUALITY and condition.key == "topic" else access + 1
