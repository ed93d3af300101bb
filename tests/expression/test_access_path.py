"""Where a subscription is found by a condition, what is left to test says the rest, and nothing is lost."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.expression import Condition, Dialect, Expression, parse
from rxhub.expression.access_path import AccessPlan, Score, access_to, choose, conjuncts, indexable
from rxhub.expression.comparisons import AccessMethod
from tests.expression.subscriptions import candidates, trees


@pytest.mark.parametrize(
    ("text", "ours", "ftracks"),
    [
        ("a=x", AccessMethod.EQUALITY, AccessMethod.EQUALITY),
        ("a='1'", AccessMethod.EQUALITY, AccessMethod.EQUALITY),
        ("a=x*y", AccessMethod.EQUALITY, AccessMethod.EQUALITY),
        ("a=x*", AccessMethod.PREFIX, AccessMethod.SCAN),
        ("a='x*'", AccessMethod.PREFIX, AccessMethod.SCAN),
        ("a=x**", AccessMethod.PREFIX, AccessMethod.SCAN),
        ("a=*x", AccessMethod.SCAN, AccessMethod.EQUALITY),
        ("a=*x*", AccessMethod.SCAN, AccessMethod.SCAN),
        ("a=*", AccessMethod.SCAN, AccessMethod.SCAN),
        ("a=**", AccessMethod.SCAN, AccessMethod.SCAN),
        ("a >= 1", AccessMethod.RANGE, AccessMethod.RANGE),
        ("a < x*", AccessMethod.RANGE, AccessMethod.RANGE),
        ("a!=x", AccessMethod.SCAN, AccessMethod.SCAN),
        ("a!=x*", AccessMethod.SCAN, AccessMethod.SCAN),
    ],
)
def test_a_condition_serves_as_its_dialect_means_it(text: str, ours: AccessMethod, ftracks: AccessMethod) -> None:
    assert [access_to(condition_of(text, dialect)) for dialect in (Dialect.RXHUB, Dialect.FTRACK)] == [ours, ftracks]


def condition_of(text: str, dialect: Dialect = Dialect.RXHUB) -> Condition:
    tree = parse(text, dialect)
    assert isinstance(tree, Condition)
    return tree


def score(condition: Condition) -> Score | None:
    access = access_to(condition)
    return None if access is AccessMethod.SCAN else (access, 0, 1, 0)


@pytest.mark.parametrize(
    ("text", "accesses"),
    [
        ("", None),
        ("not a=1", None),
        ("a!=1 and not b=2", None),
        ("a=1 or b!=2", None),
        ("a=1", [("a=1", [])]),
        ("a > 1 and b=x* and c=1 and d!=2", [("c=1", ["a > 1", "b=x*", "d!=2"])]),
        ("a in (1, 2)", [("a=1", []), ("a=2", [])]),
        ("(a=1 or b=2) and c > 3", [("a=1", ["c > 3"]), ("b=2", ["c > 3"])]),
        ("(a=1 or b=2) and c > 3 and d!=4", [("a=1", ["c > 3 and d!=4"]), ("b=2", ["c > 3 and d!=4"])]),
        ("(a=1 and b!=2) or (c=3 and (d=4 or e=5))", [("a=1", ["b!=2"]), ("c=3", ["d in (4)"])]),
        ("(a=1 or b=2) and c=3", [("c=3", ["a=1 or b=2"])]),
        ("(a=1 and (b=2 and c!=3)) and d!=4", [("a=1", ["b=2", "c!=3", "d!=4"])]),
    ],
)
def test_the_best_part_is_taken_out_and_the_rest_is_left(
    text: str, accesses: list[tuple[str, list[str]]] | None
) -> None:
    plan = choose(conjuncts((parse(text),)), score)
    if accesses is None:
        assert plan is None
        return
    assert plan is not None
    found = [(str(access.condition), [str(part) for part in access.residual]) for access in plan.accesses]
    assert found == [
        (condition, [part.replace("d in (4)", "d=4 or e=5") for part in rest]) for condition, rest in accesses
    ]


@given(st.sampled_from(Dialect).flatmap(trees), candidates(), st.integers())
def test_a_tree_holds_where_an_access_and_its_residual_hold(tree: Expression, candidate: object, seed: int) -> None:
    chance = random.Random(seed)

    def any_score(condition: Condition) -> Score | None:
        return None if access_to(condition) is AccessMethod.SCAN else (chance.randrange(5), 0, 1, 0)

    plan = choose(conjuncts((tree,)), any_score)
    if plan is None:
        return
    assert tree.matches(candidate) == any(
        access.condition.matches(candidate) and all(part.matches(candidate) for part in access.residual)
        for access in plan.accesses
    )


@given(trees(Dialect.RXHUB))
def test_places_are_at_most_as_many_as_conditions_that_serve(tree: Expression) -> None:
    parts = conjuncts((tree,))
    plan: AccessPlan | None = choose(parts, score)
    if plan is not None:
        assert len(plan.accesses) <= len(list(indexable(parts)))
