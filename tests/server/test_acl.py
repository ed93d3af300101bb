from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.expression import parse
from rxhub.server.acl import REPLY, Topics

names = st.text("ab.", min_size=1, max_size=4)
patterns = st.lists(names | names.map("{}*".format) | st.just("*"), max_size=4)


@given(patterns, names)
def test_a_topic_is_allowed_exactly_or_by_a_prefix(rules: list[str], topic: str) -> None:
    allowed = any(topic == rule or (rule.endswith("*") and topic.startswith(rule[:-1])) for rule in rules)
    assert (topic in Topics(rules)) is allowed


def test_whoever_takes_part_may_answer() -> None:
    assert REPLY in Topics([])


subscriptions = st.one_of(
    names.map("topic='{}'".format),
    names.map("topic='{}*'".format),
    st.just(""),
    st.just("topic='*a'"),
    st.just("not topic=a"),
    st.builds("topic='{}' and n=1".format, names),
    st.builds("topic='{}*' or n=1".format, names),
)


@given(patterns, subscriptions, names, st.sampled_from([0, 1]))
def test_a_narrowed_subscription_gets_what_matches_and_is_allowed(
    rules: list[str], text: str, topic: str, n: int
) -> None:
    topics, tree = Topics(rules), parse(text)
    candidate = {"topic": topic, "n": n}
    narrowed = topics.narrow(tree)
    wanted = tree.matches(candidate) and topic in topics
    assert (narrowed is not None and narrowed.matches(candidate)) is wanted


@pytest.mark.parametrize("text", ["topic=secret", "topic=secret.* and n=1", "topic='a'"])
def test_a_subscription_that_could_get_nothing_is_none(text: str) -> None:
    assert Topics(["studio.*"]).narrow(parse(text)) is None


def test_without_a_rule_a_subscription_stays_as_it_is() -> None:
    tree = parse("topic=a")
    assert Topics().narrow(tree) is tree
