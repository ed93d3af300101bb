"""Events that an expression matches are found, and contradictions are reported."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, assume, given, seed, settings
from hypothesis import strategies as st

from rxhub import Event
from rxhub.expression import Dialect, Expression, parse
from rxhub.testing import Undecided
from rxhub.testing.matching import MatchingEvents
from rxhub.testing.strategies import candidates, events, events_matching, expressions_matching
from tests.expression.strategies import any_trees, plain_candidates

EXPRESSIONS = (Path(__file__).parent.parent / "data" / "expressions.txt").read_text(encoding="utf-8").splitlines()
DIALECTS = st.sampled_from(Dialect)

ENVELOPE = {"topic", "id", "target", "in_reply_to_event"}

CONTRADICTIONS = {
    "a=1 and not a=1": "`a=1` and `not a=1`",
    "a!=null and not a=*": "`not a=*`",
    "a>5 and not a>=3": "`a > 5` and `not a >= 3`",
    "a=ab* and not a=a*": "`not a=a*`",
    "a=*x* and not a=**": "`not a=**`",
    "not a=* and a.b=1": "no mapping at `a` meets `not a=*`",
    "not (a=1 or not a=1)": "`not a=1` and `a=1`",
    "a in (x, y) and not a in (x, y)": "`a=y`",
    "(a=1 and not a=1) or (b=1 and not b=1)": "no value",
    "a!=1 and not a!=1": "no value",
}

CONTRADICTIONS_IN_EVENTS = {
    "topic=a and topic=b": "no string at `topic`",
    "topic>5 and topic<3": "no string at `topic`",
    "topic=a and topic.b=1": "no mapping at `topic` meets `topic=a`",
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
    "n>0.1 and not n>=0.2": {"n": 0.15000000000000002},
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
def test_the_simplest_event_has_the_obvious_value(text: str, expected: dict[str, Any]) -> None:
    found = MatchingEvents(parse(text)).simplest
    assert parse(text).matches(found)
    found = {key: value for key, value in found.items() if key not in ENVELOPE}
    if text != "not a!=1 and a=*":
        assert found == expected


@pytest.mark.parametrize(("text", "reason"), CONTRADICTIONS.items())
def test_contradictions_are_named(text: str, reason: str) -> None:
    with pytest.raises(Undecided) as raised:
        events_matching(text)
    assert f"matches `{parse(text)}`" in str(raised.value)
    assert reason in str(raised.value)


@pytest.mark.parametrize(("text", "reason"), CONTRADICTIONS_IN_EVENTS.items())
def test_the_topic_of_an_event_is_one_string(text: str, reason: str) -> None:
    with pytest.raises(Undecided, match=reason):
        events_matching(text)


def test_containment_in_the_ftrack_dialect_tests_a_list_as_a_whole() -> None:
    tree = parse("d.a=x* and d.a=5 and not d.a=x", Dialect.FTRACK)
    found = MatchingEvents(tree).simplest
    assert tree.matches(found)
    assert len(found["d"]) == 2


def test_the_search_has_a_limit() -> None:
    # Nine pigeons in eight holes: a contradiction that only an exhaustive search finds.
    holes = " and ".join("(" + " or ".join(f"p{pigeon}h{hole}=1" for hole in range(8)) + ")" for pigeon in range(9))
    alone = " and ".join(
        f"not (p{one}h{hole}=1 and p{other}h{hole}=1)" for hole in range(8) for one in range(9) for other in range(one)
    )
    with pytest.raises(Undecided, match="reached its limit"):
        events_matching(f"{holes} and {alone}")


def test_a_thousand_conditions_are_satisfied() -> None:
    many = " or ".join(f"data.n=x{number}" for number in range(1_000))
    none = " and ".join(f"not data.m=x{number}" for number in range(300))
    assert MatchingEvents(parse(f"({many}) and data.m=x* and {none}")).simplest["data"]["n"] == "x0"


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
def test_clauses_get_an_event_if_some_assignment_satisfies_them(clauses: list[list[tuple[str, bool]]]) -> None:
    tree = parse(conjunction(clauses))
    try:
        found = MatchingEvents(tree).simplest
    except Undecided:
        assert not any(map(tree.matches, EVERY_ASSIGNMENT))
    else:
        assert tree.matches(found)


@pytest.mark.parametrize(("fields", "clauses"), [(4, 12), (6, 18), (14, 42), (14, 60), (30, 125)])
def test_clauses_of_three_get_an_event(fields: int, clauses: int) -> None:
    random = Random(1)
    for _ in range(10):
        drawn = [
            [(f"data.k{n}=true", random.random() < 0.5) for n in random.sample(range(fields), 3)]
            for _ in range(clauses)
        ]
        try:
            MatchingEvents(parse(conjunction(drawn)))
        except Undecided:
            assert clauses > 3 * fields


def test_constraints_on_a_shorter_path_exclude_alternatives() -> None:
    # The search must not try all combinations of the other alternatives.
    others = " and ".join(f"(data.x{n}=1 or data.y{n}=1)" for n in range(20))
    text = f"{others} and (data.a.b=1 or data.z=1) and not data.a=*"
    assert MatchingEvents(parse(text)).simplest["data"]["z"] == 1
    with pytest.raises(Undecided, match="No event was found"):
        MatchingEvents(parse(f"{text} and not data.z=1"))


def test_many_alternatives_on_one_path_are_satisfied() -> None:
    asks = " and ".join(f"(data.n=x{number} or data.n=y{number})" for number in range(20))
    rules = " and ".join(f"(not data.m=x{number} or not data.m=y{number})" for number in range(200))
    found = MatchingEvents(parse(f"{asks} and {rules} and data.m=x*")).simplest["data"]
    assert (len(found["n"]), found["m"][0]) == (20, "x")


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_collected_subscriptions_get_an_event(text: str, dialect: Dialect) -> None:
    tree = parse(text, dialect)
    assert tree.matches(MatchingEvents(tree).simplest)


def about_data(dialect: Dialect) -> st.SearchStrategy[tuple[Any, Expression]]:
    return candidates().flatmap(lambda data: st.tuples(st.just(data), expressions_matching({"data": data}, dialect)))


@given(DIALECTS.flatmap(about_data))
def test_what_matches_some_data_gets_an_event(about: tuple[Any, Expression]) -> None:
    data, tree = about
    assume(tree.matches(Event("a", data=data)))  # every event has a topic, for example
    assert tree.matches(MatchingEvents(tree).simplest)


@given(any_trees, plain_candidates)
def test_no_event_matches_what_gets_none(tree: Expression, candidate: dict[str, Any]) -> None:
    try:
        MatchingEvents(tree)
    except Undecided:
        assert not tree.matches({**candidate, "topic": "a", "id": "b"})


def matching_some_event(dialect: Dialect) -> st.SearchStrategy[Expression]:
    return events().flatmap(lambda event: expressions_matching(event, dialect))


@given(DIALECTS.flatmap(matching_some_event), st.data())
def test_drawn_events_match(tree: Expression, data: st.DataObject) -> None:
    event = data.draw(events_matching(tree))
    assert isinstance(event, Event)
    assert tree.matches(event)
    assert type(event.topic) is str
    assert type(event.id) is str


@given(
    events_matching("topic=ftrack.update and not data.entities.action=remove and data.entities.keys in (name, isopen)")
)
def test_other_fields_keep_their_real_shape(event: Event) -> None:
    assert event.topic == "ftrack.update"
    assert event.source["user"]["username"]
    assert len(event.id) == 32


@pytest.mark.parametrize("text", ["topic=studio.* and data.n > 5 and not data.tags=wip", "data.a=x* or data.b.c=1.5"])
def test_the_same_choices_make_the_same_event(text: str) -> None:
    def drawn() -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []

        @seed(1)
        @settings(max_examples=20, database=None, phases=[Phase.generate])
        @given(events_matching(text))
        def draw(event: Event) -> None:
            events.append(event.to_wire())

        draw()
        return events

    assert drawn() == drawn()


def test_the_simplest_choices_make_the_simplest_values() -> None:
    @settings(max_examples=1, database=None, phases=[Phase.generate])
    @given(events_matching("data.n > 5 and data.a=x*"))
    def first(event: Event) -> None:
        assert (event.data["n"], event.data["a"], event.id) == (6, "x", "0" * 32)

    first()
