"""Which subjects a subscription is about: few filters, none of which lies in another, and never one too little."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import finalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rxhub import Event
from rxhub.errors import EventError
from rxhub.expression import And, Condition, Dialect, Expression, Not, Or, parse
from rxhub.hub.replies import address
from rxhub.transport.nats.subject_filters import SubjectFilters, merge, subjects_of
from rxhub.transport.nats.subjects import REPLY, Subjects
from tests.expression.strategies import trees
from tests.threads import eager_collection, elsewhere
from tests.transport.nats.matching import is_matched, overlap

studio = Subjects("studio")
EVENTS = "studio.event.>"
DEEP = "studio.event.ftrack"

names = [
    "ftrack.update",
    "ftrack.",
    "ftrack",
    "ftrack.update.task",
    ".",
    "a",
    "ab",
    "a.b",
    "10",
    "é.é",
    "",
    "*",
    "a*b",
    "> %",
    REPLY,
]
wildcards = ["ftrack.*", "a*", "*", "**", "*b", "ftrack.up*", "ftrack.update.*", "ftrack.meta.*", ".*", "é.*", "*.b*"]
topics = st.sampled_from(names) | st.text("a.é*> ", max_size=6)


def expressions(dialect: Dialect) -> st.SearchStrategy[Expression]:
    def on_topic(operator: str, value: str) -> Condition:
        return Condition("topic", operator, value, True, dialect)

    def joined(nodes: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        children = st.lists(nodes, min_size=2, max_size=3)
        return children.map(And) | children.map(Or) | nodes.map(Not)

    operators = st.sampled_from(["=", "=", "=", "!=", ">=", "<"])
    conditions = st.builds(on_topic, operators, topics | st.sampled_from(wildcards))
    return st.recursive(conditions | trees(dialect), joined, max_leaves=6)


everywhere = st.sampled_from(Dialect).flatmap(expressions)


def gets(subject: str, wanted: Iterable[str]) -> bool:
    return any(is_matched(subject, filter) for filter in wanted)


@given(everywhere, topics, st.sampled_from(["a", "b"]))
def test_whatever_matches_is_asked_for(expression: Expression, topic: str, value: str) -> None:
    event = Event(topic, data={"a": value}, source={"id": value})
    event["a"] = value
    if expression.matches(event):
        assert gets(studio.of(event), subjects_of(studio, expression))
        assert gets(studio.of(event), merge(subjects_of(studio, expression), 1))


@given(everywhere, st.sampled_from(["me", "a b", "5", ""]), st.sampled_from(["me", "a b", "5"]))
def test_whoever_lets_replies_through_gets_those_to_him(expression: Expression, id: str, asker: str) -> None:
    reply = Event(REPLY, target=address(asker))
    mine = subjects_of(studio, expression, studio.reply(id))
    if expression.matches(reply):
        assert gets(studio.of(reply), mine) == (id == asker)
        assert gets(studio.of(reply), subjects_of(studio, expression, studio.replies))
        assert not gets(studio.of(reply), subjects_of(studio, expression))


@pytest.mark.parametrize(
    ("subscription", "expected"),
    [
        ("topic=ftrack.update", {f"{DEEP}.update"}),
        ("topic='ftrack.update'", {f"{DEEP}.update"}),
        ("topic=Ftrack.Update", {"studio.event.Ftrack.Update"}),
        ("topic=ftrack.*", {f"{DEEP}.>"}),
        ("topic=ftrack.up*", {f"{DEEP}.>"}),
        ("topic=ftrack*", {EVENTS}),
        ("topic=a*b", {"studio.event.a%2Ab"}),
        ("topic in (a, b.c)", {"studio.event.a", "studio.event.b.c"}),
        ("topic=ftrack.* and topic=ftrack.update", {f"{DEEP}.update"}),
        ("topic=ftrack.update and data.user=me", {f"{DEEP}.update"}),
        ("topic=ftrack.* and topic=*.update", {f"{DEEP}.>"}),
        ("topic=ftrack.* and (topic=a or topic=ftrack.a or topic=ftrack.b.*)", {f"{DEEP}.a", f"{DEEP}.b.>"}),
        ("topic=a and topic=b", set()),
        ("topic=a or data.user=me", {EVENTS}),
        ("not topic=a", {EVENTS}),
        ("topic!=a", {EVENTS}),
        ("topic>a", {EVENTS}),
        ("topic=*", {EVENTS}),
        ("topic=*.update", {EVENTS}),
        ("data.topic=a", {EVENTS}),
        ("", {EVENTS}),
    ],
)
def test_the_topic_is_pushed_down_and_everything_else_widens(subscription: str, expected: set[str]) -> None:
    assert subjects_of(studio, parse(subscription)) == expected


def test_a_star_of_the_dialect_of_ftrack_may_stand_for_anything() -> None:
    assert subjects_of(studio, parse("topic=ftrack.*", Dialect.FTRACK)) == {EVENTS}
    assert subjects_of(studio, parse("topic=*a", Dialect.FTRACK)) == {"studio.event.%2Aa"}


@pytest.mark.parametrize("topic", ["a" * 4_000, "é" * 2_000, "." * 4_000])
def test_a_topic_that_nobody_can_publish_is_not_asked_for(topic: str) -> None:
    for value in (topic, f"{topic}.*"):
        assert subjects_of(studio, Condition("topic", "=", value, True)) == set()
    with pytest.raises(EventError):
        studio.event(topic)


# Few tokens, so that filters lie in one another often.
tokens = st.sampled_from(["a", "b", "c", "%"])
subjects = st.builds(
    lambda kind, path, wide: ".".join(["studio", kind, *path, *[">"][: wide or not path]]),
    st.sampled_from(["event", "event", "event", "reply", "retry"]),
    st.lists(tokens, max_size=4),
    st.booleans(),
)
published = st.builds(
    lambda kind, path: ".".join(["studio", kind, *path]),
    st.sampled_from(["event", "reply", "retry"]),
    st.lists(tokens, min_size=1, max_size=5),
)


@given(st.lists(subjects), st.lists(published, max_size=20), st.integers(1, 12))
def test_merged_filters_ask_for_no_less(given_filters: list[str], samples: list[str], most: int) -> None:
    found = merge(given_filters, most)
    assert all(gets(subject, found) for subject in samples if gets(subject, given_filters))


@given(st.lists(subjects), st.integers(1, 12))
def test_merged_filters_are_few_and_disjoint(given_filters: list[str], most: int) -> None:
    found = merge(given_filters, most)
    kinds = {filter.split(".")[1] for filter in given_filters}
    assert len(found) <= max(most, len(kinds))
    assert not overlap(found)
    assert {filter.split(".")[1] for filter in found} == kinds
    assert bool(found) == bool(given_filters)


@given(st.lists(subjects, max_size=10), st.lists(published, max_size=20))
def test_while_there_is_room_nothing_is_widened(given_filters: list[str], samples: list[str]) -> None:
    found = merge(given_filters, 10)
    assert set(found) <= set(given_filters)
    assert [gets(subject, found) for subject in samples] == [gets(subject, given_filters) for subject in samples]


@given(st.lists(subjects), st.randoms())
def test_the_order_does_not_matter(given_filters: list[str], random: object) -> None:
    shuffled = given_filters.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge(given_filters, 5) == merge(shuffled, 5)


def test_what_has_most_in_common_is_widened_and_the_rest_stays_as_it_is() -> None:
    tasks = [f"{DEEP}.update.{number}" for number in range(1_000)]
    others = ["studio.event.a.b", "studio.event.c.>", f"{DEEP}.update", "studio.reply.me"]
    assert merge([*tasks, *others]) == sorted([f"{DEEP}.update.>", *others])


def test_replies_are_widened_before_events() -> None:
    events = [f"studio.event.{number}" for number in range(150)]
    assert merge([*events, *[f"studio.reply.{number}" for number in range(100)]]) == sorted([*events, "studio.reply.>"])


def test_there_is_always_one_filter_for_each_kind_of_subject() -> None:
    every = ["studio.event.a", "studio.event.b", "studio.reply.c", "studio.reply.d", "studio.retry.group.>"]
    assert merge(every, 1) == ["studio.event.>", "studio.reply.>", "studio.retry.group.>"]


@example(expressions=[parse("topic=a")] * 3)
@given(expressions=st.lists(expressions(Dialect.RXHUB), max_size=8))
def test_subscribers_together_get_what_each_of_them_wants(expressions: list[Expression]) -> None:
    held = SubjectFilters(studio)
    for number, expression in enumerate(expressions):
        held.add(str(number), expression)
    each = [subjects_of(studio, expression, studio.reply(str(number))) for number, expression in enumerate(expressions)]
    assert held.subjects == merge(frozenset().union(*each))
    for number in range(len(expressions)):
        held.remove(str(number))
    assert held.subjects == []


class ComingAndGoing(RuleBasedStateMachine):
    """However subscribers come, change and go: the filters are those of who is there."""

    def __init__(self) -> None:
        super().__init__()
        self.held = SubjectFilters(studio, 3)
        self.there: dict[str, Expression] = {}

    @rule(
        id=st.sampled_from("abcd"),
        subscription=st.sampled_from(["topic=a", "topic=a.*", "topic in (a, b)", "", "topic=ftrack.*"]),
    )
    def add(self, id: str, subscription: str) -> None:
        self.there[id] = parse(subscription)
        self.held.add(id, self.there[id])

    @rule(id=st.sampled_from("abcd"))
    def remove(self, id: str) -> None:
        self.there.pop(id, None)
        self.held.remove(id)

    @invariant()
    def is_what_they_want(self) -> None:
        wanted = [subjects_of(studio, expression, studio.reply(id)) for id, expression in self.there.items()]
        assert self.held.subjects == merge(frozenset().union(*wanted), 3)
        assert len(self.held) == len(self.there)


TestComingAndGoing = ComingAndGoing.TestCase


def test_the_filters_stay_the_same_list_while_nothing_changes_for_the_server() -> None:
    held = SubjectFilters(studio)
    held.add("a", parse("topic=ftrack.update"))
    before = held.subjects
    held.add("b", parse("topic=ftrack.update"))
    held.remove("a")
    assert held.subjects is before
    held.add("b", parse("topic=ftrack.create"))
    assert held.subjects is not before


def test_ten_thousand_subscribers_come_and_go() -> None:
    held = SubjectFilters(studio)
    for number in range(10_000):
        held.add(str(number), parse(f"topic=site.{number % 100}.{number}"))
    found = held.subjects
    assert 100 <= len(found) <= 200 and not overlap(found)
    for number in range(10_000):
        held.remove(str(number))
    assert held.subjects == [] and len(held) == 0


def test_subscribers_that_are_collected_while_others_are_put_in() -> None:
    class Owner:
        def __init__(self, id: str) -> None:
            self.me = self
            finalize(self, held.remove, id)

    held = SubjectFilters(studio)

    def come_and_go() -> None:
        with eager_collection():
            for number in range(300):
                held.add(str(number), parse(f"topic=a{number % 50}.b{number}"))
                Owner(str(number))
                assert not overlap(held.subjects)

    elsewhere(come_and_go).join()
    assert len(held) == 0 and held.subjects == []


def test_who_is_known_by_something_else_than_a_text_gets_all_replies() -> None:
    held = SubjectFilters(studio)
    held.add(5, parse("topic=*"))
    assert held.subjects == ["studio.event.>", "studio.reply.>"]


def test_an_id_that_no_reply_can_be_addressed_to_gets_none() -> None:
    held = SubjectFilters(studio)
    held.add("x" * 4_000, parse("topic=*"))
    assert held.subjects == ["studio.event.>"]


def test_two_with_one_id_are_held_apart_by_their_keys() -> None:
    held = SubjectFilters(studio)
    held.add("4f1c", parse("topic=ftrack.meta.reply"), "one")
    held.add("4f1c", parse("topic=a"), "other")
    assert held.subjects == ["studio.event.a", "studio.event.ftrack.meta.reply", "studio.reply.4f1c"]
    held.remove("one")
    assert held.subjects == ["studio.event.a"]
