"""Which conditions of a tree can serve to find its subscription, and what is left to test once one has.

A condition serves if all candidates for which it holds are reached through a table: an equality, a prefix, a
range. Where it is reached it holds, so it is taken out of the tree; the rest of the conjunction is the
residual. An `or` serves if each of its children does: its subscription then stands in several places.
Nothing below a `not` serves, nor `!=`, presence, a suffix or a containment: they hold for nearly everything.

Nothing is multiplied out. The places of one subscription are at most as many as its conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from rxhub.errors import ExpressionError
from rxhub.expression.ast import And, Condition, Everything, Expression, Or
from rxhub.expression.comparisons import Access, comparison_of

__all__ = ["AccessPath", "Parts", "Plan", "Score", "access_to", "choose", "conjuncts", "serving"]

Parts: TypeAlias = tuple[Expression, ...]
"""Expressions of which all must hold; none at all hold for everything."""

Score: TypeAlias = tuple[int, int, int, int]
"""How well conditions serve, the least being the best: rank of the way, expected company, places, rarity of the key."""


class AccessPath(NamedTuple):
    """A condition to be found by, and what must hold besides."""

    condition: Condition
    residual: Parts


class Plan(NamedTuple):
    """The places of one subscription."""

    score: Score
    accesses: tuple[AccessPath, ...]


def access_to(condition: Condition) -> Access:
    """How the index can find a condition."""
    return comparison_of(condition.operator, condition.value, condition.dialect).access


def conjuncts(parts: Iterable[Expression]) -> Parts:
    """The same conjunction, without an `And` or `Everything` directly in it."""
    flat: list[Expression] = []
    for part in parts:
        if isinstance(part, And):
            flat += conjuncts(part.children)
        elif not isinstance(part, Everything):
            flat.append(part)
    return tuple(flat)


def serving(parts: Iterable[Expression]) -> Iterable[Condition]:
    """The conditions that could serve, alone or as a child of an `or`."""
    for part in parts:
        if isinstance(part, Condition):
            if access_to(part) is not Access.SCAN:
                yield part
        elif isinstance(part, (And, Or)):
            yield from serving(part.children)


def choose(parts: Parts, score: Callable[[Condition], Score | None]) -> Plan | None:
    """The best way to find a conjunction; None if no part of it serves.

    Args:
        parts: the conjunction.
        score: how well a condition would serve; None if not at all.
    """
    best: Plan | None = None
    chosen = 0
    for number, part in enumerate(parts):
        plan = _serve(part, score)
        if plan is not None and (best is None or plan.score < best.score):
            best, chosen = plan, number
    if best is None:
        return None
    others = (*parts[:chosen], *parts[chosen + 1 :])
    if len(best.accesses) > 1:
        others = _shared(others)
    return Plan(
        best.score,
        tuple(AccessPath(condition, (*rest, *others) if rest else others) for condition, rest in best.accesses),
    )


def _serve(part: Expression, score: Callable[[Condition], Score | None]) -> Plan | None:
    if isinstance(part, Condition):
        reached = score(part)
        return None if reached is None else Plan(reached, (AccessPath(part, ()),))
    if isinstance(part, And):
        return choose(conjuncts((part,)), score)
    if not isinstance(part, Or):
        return None
    plans: list[Plan] = []
    for child in part.children:
        plan = _serve(child, score)
        if plan is None:
            return None
        plans.append(plan)
    ranks, company, places, rarities = zip(*(plan.score for plan in plans), strict=True)
    return Plan(
        (max(ranks), max(company), sum(places), max(rarities)),
        tuple(access for plan in plans for access in plan.accesses),
    )


def _shared(parts: Parts) -> Parts:
    """The same conjunction as one node that all places share: a thousand places of a thousand parts would add up."""
    if len(parts) < 2:
        return parts
    try:
        return (And(parts),)
    except ExpressionError:  # one level too deep, in a tree of the greatest depth
        return parts
