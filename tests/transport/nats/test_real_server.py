"""That a real server takes our subjects and filters, and makes of them what the other tests believe it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import nats
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxhub.testing import Nats
from rxhub.transport.nats.filters import merged
from rxhub.transport.nats.subjects import Subjects, consumer_name
from tests.transport.nats.matching import is_matched
from tests.transport.nats.test_filters import subjects
from tests.transport.nats.test_subjects import groups, topics

few = settings(max_examples=40, deadline=None)


class Peer:
    """A plain client of a server, with a stream."""

    def __init__(self, at: Nats) -> None:
        self._runner = asyncio.Runner()
        self.stream = at.stream
        self._client = self._runner.run(nats.connect(at.url, user=at.user, password=at.password))
        every = [f"{at.stream}.{kind}.>" for kind in ("event", "reply", "retry", "dead")]
        self.ask(f"STREAM.CREATE.{at.stream}", {"name": at.stream, "subjects": every, "storage": "memory"})

    def ask(self, api: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._runner.run(self._client.request(f"$JS.API.{api}", json.dumps(body).encode(), timeout=10))
        told = json.loads(answer.data)
        assert "error" not in told, told["error"]
        return told

    def store(self, subject: str) -> None:
        assert (
            json.loads(self._runner.run(self._client.request(subject, b"", timeout=10)).data)["stream"] == self.stream
        )

    def subject_of_the_last(self) -> str:
        return self.ask(f"STREAM.MSG.GET.{self.stream}", {"last_by_subj": f"{self.stream}.>"})["message"]["subject"]

    def consumer(self, filters: list[str], name: str) -> int:
        """Make a consumer; how many messages it would get."""
        config = {"durable_name": name, "filter_subjects": filters, "ack_policy": "explicit"}
        body = {"stream_name": self.stream, "config": config}
        count = self.ask(f"CONSUMER.DURABLE.CREATE.{self.stream}.{name}", body)["num_pending"]
        self.ask(f"CONSUMER.DELETE.{self.stream}.{name}", {})
        return count

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture
def peer(nats: Nats) -> Iterator[Peer]:
    made = Peer(nats)
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
        filters = merged([peer.stream + filter.removeprefix("studio") for filter in drawn], most)
        expected = sum(any(is_matched(subject, filter) for filter in filters) for subject in stored)
        assert peer.consumer(filters, "group") == expected

    holds()


def test_two_hundred_long_filters_are_taken(peer: Peer) -> None:
    names = Subjects(peer.stream)
    filters = merged([names.event(f"{number}.{'x' * 2_900}") for number in range(200)])
    assert len(filters) == 200
    assert peer.consumer(filters, "group") == 0


def test_one_filter_of_the_greatest_length_is_taken_whatever_the_group_is_called(peer: Peer) -> None:
    names = Subjects(peer.stream)
    topic = "x" * (3_000 - len(names.event("")) + 1)
    assert len(names.event(topic)) == 3_000
    peer.store(names.event(topic))
    assert peer.consumer([names.event(topic)], consumer_name("é" * 500)) == 1


def test_every_topic_is_stored_under_its_subject(peer: Peer) -> None:
    names = Subjects(peer.stream)

    @few
    @given(topics, groups)
    def holds(topic: str, group: str) -> None:
        for subject in (names.event(topic), names.reply(topic), names.retry(group, topic), names.dead(group, topic)):
            peer.store(subject)
            assert peer.subject_of_the_last() == subject
        assert peer.consumer([names.retries_of(group)], consumer_name(group)) > 0

    holds()


@pytest.mark.parametrize("topic", ["." * 500, "a" * 2_900, "é.é" * 50, "\0", "\r\n", "$JS.API", "_INBOX.>"])
def test_odd_topics_are_stored_too(peer: Peer, topic: str) -> None:
    names = Subjects(peer.stream)
    peer.store(names.event(topic))
    assert names.topic(peer.subject_of_the_last()) == topic
