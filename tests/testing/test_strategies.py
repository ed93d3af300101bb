"""The examples of the strategies."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from rxhub import Event
from rxhub.errors import ExpressionError
from rxhub.expression import And, Condition, Dialect, Everything, Expression, Not, Or, parse
from rxhub.testing import Recording
from rxhub.testing.strategies import (
    candidates,
    event_streams,
    events,
    events_matching,
    expressions,
    expressions_matching,
    topics,
)
from rxhub.text.jsonable import jsonable


@given(topics())
def test_topics_can_be_subscribed_to(topic: str) -> None:
    assert parse(f"topic={topic}").matches(Event(topic))


@given(events())
def test_events_are_what_json_carries(event: Event) -> None:
    assert jsonable(event.to_wire()) == event.to_wire()
    assert Event.from_wire(event.to_wire()) == event


@given(events(st.just("studio.review.note")), events("ftrack.update"))
def test_the_data_go_with_the_topic(note: Event, update: Event) -> None:
    assert (note.topic, update.topic) == ("studio.review.note", "ftrack.update")
    assert isinstance(note.data["note"], str)
    assert all(sorted(entity["keys"]) == sorted(entity["changes"]) for entity in update.data["entities"])


@given(candidates())
def test_candidates_are_mappings(candidate: dict[str, Any]) -> None:
    assert type(candidate) is dict


@given(st.sampled_from(Dialect).flatmap(lambda d: st.tuples(st.just(d), expressions(d))))
def test_expressions_are_what_text_denotes(made: tuple[Dialect, Expression]) -> None:
    dialect, tree = made
    assert parse(str(tree), dialect) == tree


@given(st.sampled_from(Dialect), candidates(), st.data())
def test_expressions_match_their_candidate(dialect: Dialect, candidate: dict[str, Any], data: st.DataObject) -> None:
    tree = data.draw(expressions_matching(candidate, dialect))
    assert tree.matches(candidate)
    assert parse(str(tree), dialect) == tree


ODD = [
    {},
    {"a.b": 1},
    {"": 1},
    {1: 2},
    {"a": []},
    {"a": "\"'"},
    {"a": 10**5000},
    {"a": float("nan")},
    {"not": {"x": 1}},
]


@pytest.mark.parametrize("candidate", ODD, ids=[str(n) for n in range(len(ODD))])
def test_of_odd_candidates_what_can_be_said_is_said(candidate: dict[Any, Any]) -> None:
    @settings(max_examples=20, database=None)
    @given(expressions_matching(candidate))
    def matches(tree: Expression) -> None:
        assert tree.matches(candidate)

    matches()


FOUND = settings(database=None, max_examples=1_000, phases=[Phase.generate])
"""Find any example, without shrinking."""


def test_endless_candidates_end() -> None:
    loop: dict[str, Any] = {"a": "x"}
    loop["loop"] = loop
    find(expressions_matching(loop), lambda tree: tree.matches(loop), settings=FOUND)


def test_every_alternative_is_drawn() -> None:
    tree = "topic in (a, b, c) and (data.n > 5 or data.n=x*)"
    for topic in "abc":
        find(events_matching(tree), lambda event, t=topic: event.topic == t, settings=FOUND)
    find(events_matching(tree), lambda event: isinstance(event.data["n"], list), settings=FOUND)


def test_where_nothing_may_be_sent_there_is_no_null() -> None:
    tree = "not sent=null and not data=* and not source=*"
    find(events_matching(tree), parse(tree).matches, settings=FOUND)


def test_a_text_that_does_not_parse_is_refused_at_once() -> None:
    with pytest.raises(ExpressionError):
        events_matching("topic==a")


def test_what_is_no_subscription_or_topic_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="accepts a subscription.* but 5 was given"):
        events_matching(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="strategy for topics, but 5 was given"):
        events(5)  # type: ignore[arg-type]


@given(event_streams(min_size=2))
def test_streams_go_forwards_in_time(stream: Recording) -> None:
    assert all(one.seconds <= other.seconds for one, other in pairwise(stream))


@pytest.mark.parametrize("kind", [Event, Expression, And, Or, Not, Condition, Everything])
def test_hypothesis_knows_the_types(kind: type[Any]) -> None:
    @settings(max_examples=10, database=None)
    @given(st.from_type(kind))
    def made(value: Any) -> None:
        assert isinstance(value, kind)

    made()
