"""Where subscriptions stand in the index.

A *node* holds a set of subscriptions. What can be found by a condition stands in the bucket of that condition,
in the field of its key; the rest stands in one bucket of its own. A *bucket* is flat at first: its *places*, each with
what is left to test of its subscription, the residual. Places with one residual form one row, which is tested once.
When a bucket has many rows, and what is left has conditions to find by, it is split: it then holds a node in turn.
One that has thousands of places and cannot be split becomes a *pile* of smaller buckets, each with rows of its own.

How readers never wait, nor lock, nor see half a change: there is one writer at a time (`Index` sees to that), and
all that a reader relies on is either one look-up that C code does in one go (see `field`) or the `state` of a bucket.

- A writer changes the places of a bucket first and then gives the bucket a new state, with no rows yet. A reader takes
  the state, and only then reads places; the rows that it makes it keeps in the state that it took. If a writer came
  between, that state is no longer the bucket's, and nobody will read the rows that may be out of date.
- A split makes the whole node aside and shows it with one store of a new state; the old state keeps its places.
- A list that is long and cannot be split becomes a pile in the same way.
- Rows are immutable. A reader may go on with them while callbacks subscribe and unsubscribe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from rxhub.expression.access_path import Parts, Plan, Score, access_to, choose, conjuncts, serving
from rxhub.expression.comparisons import Access
from rxhub.expression.field_index import FieldIndex
from rxhub.expression.residual import Residual, Residuals, Test
from rxhub.expression.step_budget import current_budget

if TYPE_CHECKING:
    from rxhub.expression.ast import Condition

__all__ = ["Bucket", "Node", "Ranked", "Row", "Token", "in_order", "leave"]

Ranked: TypeAlias = tuple[float, int, Any]
"""Priority, order of adding, entry. Orders are distinct, so comparing never comes to the entries."""

Row: TypeAlias = tuple[Test, tuple[Any, ...], tuple[Ranked, ...]]
"""A test, the entries that match if it holds, the same ranked."""

_FEW_ROWS = 16
_FEW_PLACES = 2 * _FEW_ROWS
_DEEPEST = 8
_MOST_FIELDS = 256
# Of a flat list; and the buckets of a pile.
_MANY_PLACES = 1_024
_PILED = 64
# Steps of the budget. Of tens of thousands of tests, none is in the processor's caches when its turn comes.
_BUCKET, _FIELD, _PLACE, _ROW, _HIT = 3, 4, 10, 15, 5


class Token:
    """One subscription in an index: what `Index.add` returns and `Index.remove` takes."""

    __slots__ = ("index", "places", "ranked")

    def __init__(self, index: object, ranked: Ranked) -> None:
        self.index: object | None = index
        self.ranked = ranked
        self.places: tuple[Place, ...] = ()

    def prepare(self) -> None:
        """Compile now what a match would compile first."""
        for place in self.places:
            place.residual.test()


class Place:
    """Where a subscription stands; with an `or`, one of several."""

    __slots__ = ("bucket", "position", "residual", "token")

    def __init__(self, token: Token, residual: Residual, bucket: Bucket, position: int) -> None:
        self.token = token
        self.residual = residual
        self.bucket = bucket
        self.position = position


class State:
    """The present places of a bucket, or the node that it was split into.

    Attributes:
        places: in no order. The list is shared with the states before and after.
        node: if the bucket was split.
        rows: in order of their first entries; None until a reader makes them.
        ordered_rows: the rows if their entries, one row after the other, are in order and each there once.
        only_row: the row if there is one.
        weight: the steps of testing all rows, where nothing walks a list.
    """

    __slots__ = ("node", "only_row", "ordered_rows", "places", "rows", "weight")

    def __init__(self, places: list[Place], node: Node | Pile | None = None) -> None:
        self.places = places
        self.node = node
        self.rows: tuple[Row, ...] | None = None
        self.only_row: Row | None = None
        self.ordered_rows: tuple[Row, ...] | None = None
        self.weight = 0


class Bucket:
    """What stands behind one condition; without a condition, the rest of a node."""

    __slots__ = ("condition", "home", "state")

    def __init__(self, home: Node | Pile, condition: Condition | None = None) -> None:
        self.home = home
        self.condition = condition
        self.state = State([])

    @property
    def is_empty(self) -> bool:
        """Whether no subscription stands here."""
        return not self.state.places if self.state.node is None else self.state.node.is_empty

    def holds(self, candidate: object) -> bool:
        """Whether the condition holds, asked of the condition itself."""
        return self.condition is None or self.condition.matches(candidate)

    def search(self, candidate: object, hits: list[Row]) -> None:
        """Add the rows that match to `hits`."""
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

    def _make_rows(self, state: State) -> tuple[Row, ...]:
        """Make the rows of a state that has none."""
        # A copy in one go. A place that a writer is just moving may be in it twice, but is never missing.
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
            return rows  # enough was compiled for now; the next reader goes on
        state.rows = rows
        if is_ordered:
            state.ordered_rows = rows
        if len(rows) == 1:
            state.only_row = rows[0]
        return rows

    def insert(self, token: Token, parts: Parts) -> None:
        """Give a subscription a place, with what is left to test."""
        state = self.state
        if state.node is not None:
            state.node.insert(token, parts)
            return
        places = state.places
        place = Place(token, self.home.residuals.take(parts), self, len(places))
        token.places += (place,)
        places.append(place)
        self.state = State(places)
        count = len(places)
        # At each doubling only: a bucket that cannot be split is not looked at with each subscription.
        if count >= _FEW_PLACES and not count & (count - 1):
            if self.condition is not None:
                self._split(places)
            if count >= _MANY_PLACES and self.state.node is None:
                self._pile_up(places)

    def remove(self, place: Place) -> None:
        """Take away a place that is here."""
        places = self.state.places
        last = places[-1]
        # In this order: a reader that copies between the two lines finds the last place twice, not nowhere.
        places[place.position] = last
        places.pop()
        last.position = place.position
        self.home.residuals.release(place.residual)
        self.state = State(places)

    def _split(self, places: list[Place]) -> None:
        """Show a node in place of the flat list, if that divides it."""
        if self.home.depth >= _DEEPEST or len({place.residual for place in places}) <= _FEW_ROWS:
            return
        census = _Census([place.residual.parts for place in places])
        plans = [choose(conjuncts(place.residual.parts), census.score) for place in places]
        company = Counter(access.condition for plan in plans if plan is not None for access in plan.accesses)
        if plans.count(None) * 2 > len(places) or max(company.values()) * 4 > len(places) * 3:
            return
        self._move(places, Node(self.home.residuals, self, self.home.depth + 1), plans)

    def _pile_up(self, places: list[Place]) -> None:
        """Show a pile in place of a flat list that is too long to be made anew after each change."""
        if self.home.depth < _DEEPEST and len({place.residual for place in places}) > _FEW_ROWS:
            self._move(places, Pile(self), [None] * len(places))

    def _move(self, places: list[Place], node: Node | Pile, plans: Sequence[Plan | None]) -> None:
        for place, plan in zip(places, plans, strict=True):
            token = place.token
            token.places = tuple(other for other in token.places if other is not place)
            node.insert(token, place.residual.parts, plan)
        self.state = State([], node)
        for place in places:
            self.home.residuals.release(place.residual)


class Pile:
    """Subscriptions that no condition divides, in buckets by the hash of what is left to test.

    After a change, a reader makes the rows of one of these buckets anew, not of all.
    """

    __slots__ = ("bucket", "buckets", "depth", "residuals")

    def __init__(self, bucket: Bucket) -> None:
        self.bucket: Bucket | None = bucket
        self.residuals = bucket.home.residuals
        self.depth: int = bucket.home.depth + 1
        self.buckets: tuple[Bucket, ...] = tuple([Bucket(self, bucket.condition) for _ in range(_PILED)])

    @property
    def is_empty(self) -> bool:
        """Whether no subscription stands here."""
        return all(bucket.is_empty for bucket in self.buckets)

    def search(self, candidate: object, hits: list[Row]) -> None:
        """Add the rows that match to `hits`."""
        for bucket in self.buckets:
            bucket.search(candidate, hits)

    def insert(self, token: Token, parts: Parts, _: Plan | None = None) -> None:
        """Give a subscription a place."""
        # A pile in a pile divides by other bits.
        self.buckets[(hash(parts) >> 6 * self.depth) % _PILED].insert(token, parts)

    def drop(self, bucket: Bucket, condition: Condition) -> None:
        """Keep an empty bucket: the pile goes when all are empty."""


class Node:
    """Subscriptions, by the conditions that find them.

    Attributes:
        bucket: the bucket that was split into this node; None at the root.
        rest: those that no condition finds.
        scan: the fields, as readers see them.
    """

    __slots__ = ("_fields", "_pinned", "bucket", "depth", "residuals", "rest", "scan")

    def __init__(self, residuals: Residuals, bucket: Bucket | None = None, depth: int = 0) -> None:
        self.residuals = residuals
        self.bucket = bucket
        self.depth = depth
        self.rest = Bucket(self)
        self.scan: tuple[FieldIndex[Bucket], ...] = ()
        self._fields: dict[str, FieldIndex[Bucket]] = {}
        self._pinned: FieldIndex[Bucket] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no subscription stands here."""
        return self.rest.is_empty and not any(self.scan)

    def pin(self, key: str) -> FieldIndex[Bucket]:
        """A field that stays, even empty, and is looked at first."""
        self._pinned = self._field(key)
        return self._pinned

    def search(self, candidate: object, hits: list[Row]) -> None:
        """Add the rows that match to `hits`."""
        if (budget := current_budget()) is not None:
            budget.spend(_FIELD * len(self.scan))
        for field in self.scan:
            for bucket in field.search(candidate):
                bucket.search(candidate, hits)
        rest = self.rest.state
        if rest.places or rest.node is not None:
            self.rest.search(candidate, hits)

    def insert(self, token: Token, parts: Parts, plan: Plan | None = None) -> None:
        """Give a subscription its places: those of the plan, if there is one."""
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
                bucket = Bucket(self, condition)
                field.put(bucket, condition)
            bucket.insert(token, residual)

    def drop(self, bucket: Bucket, condition: Condition) -> None:
        """Take away an empty bucket, and its field with it if that is empty then."""
        field = self._fields[condition.key]
        field.drop(bucket, condition)
        if not field and field is not self._pinned:
            del self._fields[condition.key]
            self.scan = tuple(self._fields.values())

    def _would_have_too_many_fields(self, plan: Plan) -> bool:
        """An event is looked up in each field, which costs as much as a test; and each new one copies the tuple."""
        keys = {access.condition.key for access in plan.accesses}
        return len(self._fields) + len(keys) > _MOST_FIELDS and len(self._fields.keys() | keys) > _MOST_FIELDS

    def _field(self, key: str) -> FieldIndex[Bucket]:
        field = self._fields.get(key)
        if field is None:
            field = self._fields[key] = FieldIndex(key)
            self.scan = (*self.scan, field)
        return field

    def _score(self, condition: Condition) -> Score | None:
        """Few fields cost an event little: go where many are. A bucket that grows too large is split anyway."""
        reached = access_to(condition)
        if reached is Access.SCAN:
            return None
        field = self._fields.get(condition.key)
        return _rank_of(condition, reached), 0, 1, 0 if field is None else -len(field)


class _Census:
    """How well conditions would divide a known population: by the least company first, then by the commonest key."""

    def __init__(self, population: Sequence[Parts]) -> None:
        conditions = [condition for parts in population for condition in serving(parts)]
        self._company = Counter(conditions)
        self._keys = Counter(condition.key for condition in conditions)

    def score(self, condition: Condition) -> Score | None:
        reached = access_to(condition)
        if reached is Access.SCAN:
            return None
        company = self._company[condition].bit_length()
        return _rank_of(condition, reached), company, 1, -self._keys[condition.key]


def leave(token: Token) -> None:
    """Take a subscription out of all its places; what is empty then leaves its table."""
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
    """The entries of rows from several buckets, in order, each once."""
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


def _rank_of(condition: Condition, reached: Access) -> int:
    """Topic first: it divides nearly all subscriptions, and every event has one."""
    return 0 if reached is Access.EQUALITY and condition.key == "topic" else reached + 1
