"""What can be satisfied is, and what cannot is said to be so."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event
from rxhub.expression import Dialect, Expression, parse
from rxhub.testing import Undecided, Unsatisfiable
from rxhub.testing._solver.satisfy import ENVELOPE, Plan
from rxhub.testing.strategies import candidates, events, events_matching, expressions_matching
from tests.expression.strategies import any_trees, plain_candidates

DIALECTS = st.sampled_from(Dialect)

CONTRADICTIONS = {
    "a=1 and not a=1": "`a=1` and `not a=1`",
    "a!=null and not a=*": "`not a=*`",
    "a>5 and not a>=3": "`a > 5` and `not a >= 3`",
    "a=ab* and not a=a*": "`not a=a*`",
    "a=*x* and not a=**": "`not a=**`",
    "not a=* and a.b=1": "a mapping must stand at `a`",
    "not (a=1 or not a=1)": "`a=1` and `not a=1`",
    "a in (x, y) and not a in (x, y)": "`a=y`",
    "(a=1 and not a=1) or (b=1 and not b=1)": "nothing meets",
    "a!=1 and not a!=1": "nothing",
}

CONTRADICTIONS_IN_EVENTS = {
    "topic=a and topic=b": "one text",
    "topic>5 and topic<3": "one text",
    "topic=a and topic.b=1": "a path leads through it",
    "not topic=*": "`topic`",
    "topic=null and id=null and not topic=null": "`not topic=null`",
    "in_reply_to_event=true and not in_reply_to_event=**": "in_reply_to_event",
}

SATISFIED = {
    "": {},
    "a=1": {"a": 1},
    'a="1"': {"a": "1"},
    "a=true": {"a": True},
    "a=null": {"a": None},
    "not a=1": {},
    "not a!=1": {},
    "not a!=1 and a=*": {"a": 1},
    "n>5 and n<9": {"n": 6},
    "n>0.1 and not n>=0.2": {"n": 0.10000000000000002},
    # Each condition chooses its own element of a list.
    "n>5 and n<3": {"n": [6, 2]},
    "a=x and a=y": {"a": ["x", "y"]},
    "a=1 and a.b=2": {"a": [{"b": 2}, 1]},
    "a.b=1 and not a.c=*": {"a": {"b": 1}},
    "a=ab* and a=*ba and not a=ab*ba and a<abb": {"a": "aba"},
    "a=* and not a>'' and not a=''": {"a": 0},
    # No text, no number, no bool is left: a mapping is a value as well.
    "a=* and not a=** and not a<0 and not a>=0 and not a=true and not a=false": {"a": {}},
    "..=1": {"": {"": {"": 1}}},
}


@pytest.mark.parametrize(("text", "expected"), SATISFIED.items())
def test_the_simplest_candidate_is_what_one_thinks_of(text: str, expected: dict[str, Any]) -> None:
    found = Plan(parse(text))._simplest
    assert parse(text).matches(found)
    if text != "not a!=1 and a=*":
        assert found == expected


@pytest.mark.parametrize(("text", "reason"), CONTRADICTIONS.items())
def test_contradictions_are_found_and_named(text: str, reason: str) -> None:
    with pytest.raises(Unsatisfiable) as raised:
        events_matching(text)
    assert f"Nothing can match `{parse(text)}`" in str(raised.value)
    assert reason in str(raised.value)


@pytest.mark.parametrize(("text", "reason"), CONTRADICTIONS_IN_EVENTS.items())
def test_an_event_has_one_topic_which_is_text(text: str, reason: str) -> None:
    with pytest.raises(Unsatisfiable, match=reason):
        events_matching(text)


def test_containment_of_ftracks_dialect_asks_a_list_as_a_whole() -> None:
    tree = parse("d.a=x* and d.a=5 and not d.a=x", Dialect.FTRACK)
    found = Plan(tree)._simplest
    assert tree.matches(found)
    assert len(found["d"]) == 2


def test_what_cannot_be_decided_cheaply_is_said_to_be_so() -> None:
    # Of nine pigeons in eight holes no way is left at once, and there are too many to try.
    holes = " and ".join("(" + " or ".join(f"p{pigeon}h{hole}=1" for hole in range(8)) + ")" for pigeon in range(9))
    alone = " and ".join(
        f"not (p{one}h{hole}=1 and p{other}h{hole}=1)" for hole in range(8) for one in range(9) for other in range(one)
    )
    with pytest.raises(Undecided, match="is not known"):
        events_matching(f"{holes} and {alone}")


def test_a_thousand_conditions_are_satisfied() -> None:
    many = " or ".join(f"data.n=x{number}" for number in range(1_000))
    none = " and ".join(f"not data.m=x{number}" for number in range(300))
    assert Plan(parse(f"({many}) and data.m=x* and {none}"), ENVELOPE)._simplest["data"]["n"] == "x0"


LITERALS = [f"data.k{n}=true" for n in range(5)] + [f"topic={topic}" for topic in "abc"]
CLAUSES = st.lists(st.tuples(st.sampled_from(LITERALS), st.booleans()), min_size=1, max_size=3)
EVERY_ASSIGNMENT = [
    {"topic": topic, "data": {f"k{n}": value for n, value in enumerate(values) if value}}
    for topic, *values in product("abcd", *[(True, False)] * 5)
]


def conjunction(clauses: list[list[tuple[str, bool]]]) -> str:
    return " and ".join(
        "(" + " or ".join(literal if wanted else f"not {literal}" for literal, wanted in clause) + ")"
        for clause in clauses
    )


@given(st.lists(CLAUSES, min_size=1, max_size=40))
def test_of_clauses_those_are_satisfied_that_some_assignment_satisfies(clauses: list[list[tuple[str, bool]]]) -> None:
    tree = parse(conjunction(clauses))
    try:
        found = Plan(tree, ENVELOPE)._simplest
    except Unsatisfiable:
        assert not any(map(tree.matches, EVERY_ASSIGNMENT))
    else:
        assert tree.matches(found)


@pytest.mark.parametrize(("fields", "clauses"), [(4, 12), (6, 18), (14, 42), (14, 60), (30, 125)])
def test_clauses_of_three_are_decided(fields: int, clauses: int) -> None:
    random = Random(1)
    for _ in range(10):
        drawn = [
            [(f"data.k{n}=true", random.random() < 0.5) for n in random.sample(range(fields), 3)]
            for _ in range(clauses)
        ]
        try:
            Plan(parse(conjunction(drawn)), ENVELOPE)
        except Unsatisfiable:
            assert clauses > 3 * fields


def test_what_leads_through_a_path_decides_which_way_is_taken() -> None:
    # Were it not seen before the whole is put together, each way through the others would be tried.
    others = " and ".join(f"(data.x{n}=1 or data.y{n}=1)" for n in range(20))
    text = f"{others} and (data.a.b=1 or data.z=1) and not data.a=*"
    assert Plan(parse(text), ENVELOPE)._simplest["data"]["z"] == 1
    with pytest.raises(Unsatisfiable, match="Nothing can match"):
        Plan(parse(f"{text} and not data.z=1"), ENVELOPE)


def test_hundreds_of_alternatives_on_one_path_are_satisfied() -> None:
    asks = " and ".join(f"(data.n=x{number} or data.n=y{number})" for number in range(200))
    rules = " and ".join(f"(not data.m=x{number} or not data.m=y{number})" for number in range(200))
    found = Plan(parse(f"{asks} and {rules} and data.m=x*"), ENVELOPE)._simplest["data"]
    assert (len(found["n"]), found["m"][0]) == (200, "x")


@given(DIALECTS.flatmap(lambda dialect: candidates().flatmap(lambda c: expressions_matching(c, dialect))))
def test_whatever_matches_something_is_satisfied(tree: Expression) -> None:
    Plan(tree)


@given(any_trees, plain_candidates)
def test_nothing_matches_what_is_said_to_be_unsatisfiable(tree: Expression, candidate: dict[str, Any]) -> None:
    try:
        Plan(tree)
    except Unsatisfiable:
        assert not tree.matches(candidate)
    except Undecided:
        pass


def matching_some_event(dialect: Dialect) -> st.SearchStrategy[Expression]:
    return events().flatmap(lambda event: expressions_matching(event, dialect))


@given(DIALECTS.flatmap(matching_some_event), st.data())
def test_events_match_whatever_can_be_matched(tree: Expression, data: st.DataObject) -> None:
    event = data.draw(events_matching(tree))
    assert isinstance(event, Event)
    assert tree.matches(event)
    assert type(event.topic) is str
    assert type(event.id) is str


@given(
    events_matching("topic=ftrack.update and not data.entities.action=remove and data.entities.keys in (name, isopen)")
)
def test_what_the_expression_leaves_alone_stays_real(event: Event) -> None:
    assert event.topic == "ftrack.update"
    assert event.source["user"]["username"]
    assert len(event.id) == 32


def test_what_takes_a_search_is_drawn_as_fast_as_hypothesis_wants_it() -> None:
    random = Random(3)
    wanted = {n: random.random() < 0.5 for n in range(30)}
    clauses = [
        [(f"data.k{n}=true", wanted[n] is (place == 0 or random.random() < 0.5)) for place, n in enumerate(chosen)]
        for chosen in (random.sample(range(30), 3) for _ in range(125))
    ]
    tree = parse(conjunction(clauses))

    @given(events_matching(tree))
    def drawn(event: Event) -> None:
        assert tree.matches(event)

    drawn()
