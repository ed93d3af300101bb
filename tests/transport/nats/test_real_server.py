"""That a real server takes our subjects and filters, and makes of them what the other tests believe it does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxhub.testing import Nats
from rxhub.transport.nats.subject_filters import merge
from rxhub.transport.nats.subjects import Subjects, consumer_name
from tests.transport.nats.matching import is_matched
from tests.transport.nats.peer import Peer
from tests.transport.nats.test_subject_filters import subjects
from tests.transport.nats.test_subjects import groups, of_group, topics

few = settings(max_examples=40, deadline=None)


def would_get(peer: Peer, filters: list[str], name: str) -> int:
    """Make a consumer; how many messages it would get."""
    config = {"durable_name": name, "filter_subjects": filters, "ack_policy": "explicit"}
    count = peer.ask(f"CONSUMER.DURABLE.CREATE.{peer.stream}.{name}", {"stream_name": peer.stream, "config": config})[
        "num_pending"
    ]
    peer.ask(f"CONSUMER.DELETE.{peer.stream}.{name}")
    return count


@pytest.fixture
def peer(nats: Nats) -> Iterator[Peer]:
    made = Peer(nats)
    made.make_stream("event", "reply", "retry", "dead")
    yield made
    made.close()


def test_merged_filters_are_taken_and_let_through_what_they_match(peer: Peer) -> None:
    paths = [path for length in (1, 2, 3) for path in product(["a", "b", "%"], repeat=length)]
    stored = [".".join([peer.stream, kind, *path]) for kind in ("event", "reply", "retry") for path in paths]
    for subject in stored:
        peer.store(subject)

    @few
    @given(st.lists(subjects, min_size=1, max_size=30), st.integers(1, 12))
    def holds(drawn: list[str], most: int) -> None:
        filters = merge([peer.stream + filter.removeprefix("studio") for filter in drawn], most)
        expected = sum(any(is_matched(subject, filter) for filter in filters) for subject in stored)
        assert would_get(peer, filters, "group") == expected

    holds()


def test_two_hundred_long_filters_are_taken(peer: Peer) -> None:
    names = Subjects(peer.stream)
    filters = merge([names.event(f"{number}.{'x' * 2_900}") for number in range(200)])
    assert len(filters) == 200
    assert would_get(peer, filters, "group") == 0


def test_one_filter_of_the_greatest_length_is_taken_whatever_the_group_is_called(peer: Peer) -> None:
    names = Subjects(peer.stream)
    topic = "x" * (3_000 - len(names.event("")) + 1)
    assert len(names.event(topic)) == 3_000
    peer.store(names.event(topic))
    assert would_get(peer, [names.event(topic)], consumer_name("é" * 500)) == 1


def test_every_topic_is_stored_under_its_subject(peer: Peer) -> None:
    names = Subjects(peer.stream)

    @few
    @given(topics, groups)
    def holds(topic: str, group: str) -> None:
        for subject in (names.event(topic), names.reply(topic), of_group(names, "retry", group, topic)):
            peer.store(subject)
            assert peer.last().subject == subject
        assert would_get(peer, [names.retries_of(group)], consumer_name(group)) > 0

    holds()


@pytest.mark.parametrize("topic", ["." * 500, "a" * 2_900, "é.é" * 50, "\0", "\r\n", "$JS.API", "_INBOX.>"])
def test_odd_topics_are_stored_too(peer: Peer, topic: str) -> None:
    names = Subjects(peer.stream)
    peer.store(names.event(topic))
    assert names.topic(peer.last().subject) == topic
