"""Choose the conditions by which the index finds a subscription, and the residual that is tested afterwards.

A condition is indexable if a table finds it for every candidate for which it holds: an equality, a prefix, a range. It
is then removed from the tree; the rest of the conjunction is the residual. An `or` is indexable if all its children
are; its subscription then has several places, at most as many as conditions. Nothing below a `not` is indexable, nor
are `!=`, presence, suffixes and containment, which hold for nearly every value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from rxhub.errors import ExpressionError
from rxhub.expression.ast import And, Condition, Everything, Expression, Or
from rxhub.expression.comparisons import AccessMethod, comparison_of

__all__ = ["AccessPath", "AccessPlan", "Parts", "Score", "access_to", "choose", "conjuncts", "indexable"]

Parts: TypeAlias = tuple[Expression, ...]
"""A conjunction of expressions; an empty one holds for everything."""

Score: TypeAlias = tuple[int, int, int, int]
"""The cost of an access path, the lowest is the best: rank of the access, subscriptions with the same condition, number
of places, rarity of the key."""


class AccessPath(NamedTuple):
    """A condition that the index finds, and the residual."""

    condition: Condition
    residual: Parts


class AccessPlan(NamedTuple):
    """The access paths of one subscription."""

    score: Score
    accesses: tuple[AccessPath, ...]


def access_to(condition: Condition) -> AccessMethod:
    """How the index can find a condition."""
    return comparison_of(condition.operator, condition.value, condition.dialect).access


def conjuncts(parts: Iterable[Expression]) -> Parts:
    """The same conjunction with nested `And`s flattened and without `Everything`."""
    flat: list[Expression] = []
    for part in parts:
        if isinstance(part, And):
            flat += conjuncts(part.children)
        elif not isinstance(part, Everything):
            flat.append(part)
    return tuple(flat)


def indexable(parts: Iterable[Expression]) -> Iterable[Condition]:
    """The indexable conditions, also those below `or`."""
    for part in parts:
        if isinstance(part, Condition):
            if access_to(part) is not AccessMethod.SCAN:
                yield part
        elif isinstance(part, (And, Or)):
            yield from indexable(part.children)


def choose(parts: Parts, score: Callable[[Condition], Score | None]) -> AccessPlan | None:
    """The best access paths of a conjunction; None if no part is indexable (`score` returns None)."""
    best: AccessPlan | None = None
    chosen = 0
    for number, part in enumerate(parts):
        plan = _plan(part, score)
        if plan is not None and (best is None or plan.score < best.score):
            best, chosen = plan, number
    if best is None:
        return None
    others = (*parts[:chosen], *parts[chosen + 1 :])
    if len(best.accesses) > 1:
        others = _shared(others)
    return AccessPlan(
        best.score,
        tuple(AccessPath(condition, (*rest, *others) if rest else others) for condition, rest in best.accesses),
    )


def _plan(part: Expression, score: Callable[[Condition], Score | None]) -> AccessPlan | None:
    if isinstance(part, Condition):
        cost = score(part)
        return None if cost is None else AccessPlan(cost, (AccessPath(part, ()),))
    if isinstance(part, And):
        return choose(conjuncts((part,)), score)
    if not isinstance(part, Or):
        return None
    plans: list[AccessPlan] = []
    for child in part.children:
        plan = _plan(child, score)
        if plan is None:
            return None
        plans.append(plan)
    ranks, sharing, places, rarities = zip(*(plan.score for plan in plans), strict=True)
    return AccessPlan(
        (max(ranks), max(sharing), sum(places), max(rarities)),
        tuple(access for plan in plans for access in plan.accesses),
    )


def _shared(parts: Parts) -> Parts:
    """The same conjunction as one node that all places share: a thousand places may have a thousand parts."""
    if len(parts) < 2:
        return parts
    try:
        return (And(parts),)
    except ExpressionError:  # the tree has the maximum depth
        return parts
