"""What a server is told of a subscription: a superset that any server understands."""

from __future__ import annotations

import re

import ftrack_api.event.expression
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.expression import Condition, Dialect, Expression, Or, parse
from rxhub.transport.socketio.subscription_filter import server_filter
from tests.expression.strategies import trees

topics = st.sampled_from(
    ["ftrack.update", "ftrack.", "ftrack", "a", "ab", "abc", "b", "10", "1e1", "é", "", "*", "a*b"]
)
values = topics | st.sampled_from(["ftrack.*", "a*", "*", "**", "*b", "ftrack.up*"])
on_topics = st.builds(Condition, st.just("topic"), st.sampled_from(["=", "=", "!="]), values, st.just(True))
around = st.recursive(
    on_topics | trees(), lambda nodes: st.builds(Or, st.lists(nodes, min_size=2, max_size=3).map(tuple)), max_leaves=4
)
theirs = ftrack_api.event.expression.Parser()


@given(around, topics, st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["a", "b"])))
def test_whatever_matches_is_asked_for(expression: Expression, topic: str, data: dict[str, str]) -> None:
    event = {"topic": topic, "data": data, **data}
    asked = server_filter(expression)
    if expression.matches(event):
        # However the server reads its one star: as the beginning, or as "contains".
        assert parse(asked).matches(event) and parse(asked, Dialect.FTRACK).matches(event)
        assert theirs.parse(asked).match(event)


@given(around)
def test_it_is_one_topic_one_prefix_or_everything(expression: Expression) -> None:
    assert re.fullmatch(r"topic=([A-Za-z0-9_./-]+\*?|\*)", server_filter(expression))


@pytest.mark.parametrize(
    ("subscription", "asked"),
    [
        ("", "topic=*"),
        ("topic=ftrack.update", "topic=ftrack.update"),
        ('topic="ftrack.update" and source.user.username=me', "topic=ftrack.update"),
        ("data.x=1 and topic=ftrack.*", "topic=ftrack.*"),
        ("topic=ftrack.* and topic=ftrack.action.*", "topic=ftrack.action.*"),
        ("topic=ftrack.* and topic=ftrack.update", "topic=ftrack.update"),
        ("topic in (ftrack.action.discover, ftrack.action.launch)", "topic=ftrack.action.*"),
        ("topic=a or topic=a", "topic=a"),
        ("topic=a or topic=b", "topic=*"),
        ("topic=ab or data.x=1", "topic=*"),
        ("not topic=a", "topic=*"),
        ("topic!=a", "topic=*"),
        ("topic=*.update", "topic=*"),
        ("topic=ftrack.action.trigger-user-interface", "topic=ftrack.action.trigger-user-interface"),
        ('topic="a b"', "topic=*"),
        ("topic=é", "topic=*"),
        ("data.topic=a", "topic=*"),
    ],
)
def test_announcements(subscription: str, asked: str) -> None:
    assert server_filter(parse(subscription)) == asked


@pytest.mark.parametrize(
    "subscription", ["topic=track*", "topic=a and data.n >= 5", "not topic=a", "topic=a or topic=b"]
)
def test_ftrack_s_own_dialect_is_sent_as_it_is(subscription: str) -> None:
    assert server_filter(parse(subscription, Dialect.FTRACK)) == subscription
