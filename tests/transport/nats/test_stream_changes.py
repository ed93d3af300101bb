"""Changes of streams on a real server: what they delete, and what they say beforehand that they will."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxhub import Event, EventHub
from rxhub.errors import NotFoundError, Refused
from rxhub.testing import Nats
from rxhub.transport.durable import Loss, StreamState
from tests.threads import LIMIT, until
from tests.transport.nats.processing.working import another, ask, publish


@pytest.fixture
def hub(nats: Nats) -> Iterator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as made:
        made.connect()
        yield made


@pytest.fixture
def name(nats: Nats) -> str:
    return nats.stream


def state(hub: EventHub, name: str) -> StreamState:
    (found,) = [one for one in hub.streams() if one.name == name]
    return found


def values(hub: EventHub) -> list[Any]:
    """The values of all stored events."""
    with hub.start():
        found: list[Any] = []
        hub.replay("topic=*").subscribe(
            lambda event: found.append(event.data["value"]), on_completed=lambda: found.append(None)
        )
        until(lambda: None in found)
        return found[:-1]


def test_a_purge_deletes_what_its_preview_said(hub: EventHub, name: str) -> None:
    publish(hub, "a", *range(5))
    before = state(hub, name)
    loss = hub.streams.preview_purge(name)
    assert loss == Loss(5, before.bytes, before.first, before.last, 5)
    publish(hub, "a", 5)
    assert hub.streams.purge(name, until=loss.last_sequence) == 5 and values(hub) == [5]
    assert hub.streams.purge(name) == 1 and state(hub, name).messages == 0
    assert hub.streams.preview_purge(name) == Loss(0) and hub.streams.purge(name) == 0


@pytest.mark.parametrize(
    ("topic", "left"), [("a", [1, 2, 3]), ("a.b", [0, 2, 3]), ("a.*", [0, 3]), ("no", [0, 1, 2, 3])]
)
def test_a_purge_by_topic_leaves_other_topics(hub: EventHub, name: str, topic: str, left: list[int]) -> None:
    for value, each in enumerate(("a", "a.b", "a.b.c", "ab")):
        publish(hub, each, value)
    loss = hub.streams.preview_purge(name, topic)
    assert loss.events == 4 - len(left) == hub.streams.purge(name, topic)
    assert values(hub) == left


def test_a_purge_ends_with_a_sequence_or_a_time(hub: EventHub, name: str) -> None:
    publish(hub, "a", 0)
    publish(hub, "b", 1)
    publish(hub, "a", 2)
    second = ask(hub, "STREAM.MSG.GET.{stream}", {"seq": 2})["message"]["time"]
    for nothing in (0, timedelta(days=1), datetime.now(UTC) - timedelta(days=1)):
        assert hub.streams.preview_purge(name, until=nothing) == Loss(0) and hub.streams.purge(name, until=nothing) == 0
    loss = hub.streams.preview_purge(name, "a", until=2)
    assert (loss.events, loss.last_sequence, loss.first) == (1, 1, loss.last)
    # Python's times are less exact than those of the server.
    time = datetime.fromisoformat(second) + timedelta(microseconds=1)
    assert hub.streams.preview_purge(name, until=time).events == 2 == hub.streams.purge(name, until=time)
    assert values(hub) == [2]


def test_a_purge_by_topic_includes_replies_and_retries(hub: EventHub, name: str) -> None:
    transport: Any = hub._link.transport
    for subject in ("event.ftrack.meta.reply", "reply.someone", "retry.g.ftrack.meta.reply", "event.ftrack.meta.other"):
        transport.call(transport.link.publish_and_wait(f"{name}.{subject}", b"{}"))
    assert hub.streams.preview_purge(name, "ftrack.meta.reply").events == 3
    assert hub.streams.purge(name, "ftrack.meta.reply") == 3 and state(hub, name).messages == 1


@settings(max_examples=15, database=None, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    stored=st.lists(st.sampled_from(["a", "a.b", "b"]), min_size=1, max_size=8),
    topic=st.sampled_from([None, "a", "a.*", "b"]),
    end=st.none() | st.integers(0, 9),
)
def test_previews_of_purges_count_what_is_deleted(
    hub: EventHub, name: str, stored: list[str], topic: str | None, end: int | None
) -> None:
    hub.streams.purge(name)
    first = state(hub, name).last_sequence
    for each in stored:
        publish(hub, each, 0)
    place = None if end is None else first + end
    chosen = [
        first + number
        for number, each in enumerate(stored, 1)
        if (place is None or first + number <= place)
        and (topic is None or each == topic or (topic == "a.*" and each == "a.b"))
    ]
    loss = hub.streams.preview_purge(name, topic, place)
    assert (loss.events, loss.last_sequence) == (len(chosen), chosen[-1] if chosen else 0)
    assert hub.streams.purge(name, topic, place) == len(chosen)


@pytest.mark.parametrize("topic", ["*", "a*", "a.*.b", ""])
def test_topics_that_would_delete_more_are_rejected(hub: EventHub, name: str, topic: str) -> None:
    publish(hub, "a", 0)
    with pytest.raises(ValueError, match="exact topic"):
        hub.streams.purge(name, topic)
    assert state(hub, name).messages == 1


@pytest.mark.parametrize("until", [True, -1, "now", datetime(2026, 1, 1)])  # noqa: DTZ001
def test_invalid_ends_are_rejected(hub: EventHub, name: str, until: Any) -> None:
    publish(hub, "a", 0)
    with pytest.raises(ValueError, match="aware datetime"):
        hub.streams.purge(name, until=until)
    assert state(hub, name).messages == 1


def test_a_loss_names_the_groups_that_have_not_handled_it(hub: EventHub, name: str) -> None:
    for group in ("done", "idle"):
        hub.process("topic=a", lambda _: None, group=group).stop()
    publish(hub, "a", *range(3))
    with hub.process("topic=a", lambda _: None, group="done") as done:
        until(lambda: done.counts.handled == 3)
    until(lambda: not ask(hub, "CONSUMER.INFO.{stream}.done")["num_ack_pending"])
    for preview in (hub.streams.preview_purge(name, until=2), hub.streams.preview_remove(name)):
        assert preview.unhandled == ("idle",)


def test_a_shorter_age_deletes_what_its_preview_said(hub: EventHub, name: str) -> None:
    publish(hub, "a", 0, 1)
    assert hub.streams.preview_limits(name, max_age=3600.0) == Loss(0)
    hub.streams.set_limits(name, max_age=3600.0)
    found = state(hub, name)
    assert (found.messages, found.max_age) == (2, 3600.0)
    until(lambda: hub.streams.preview_limits(name, max_age=0.5).events == 2)
    hub.streams.set_limits(name, max_age=0.5)
    until(lambda: state(hub, name).messages == 0)
    hub.streams.set_limits(name, max_age=0)
    info = ask(hub, "STREAM.INFO.{stream}")["config"]
    assert info["max_age"] == 0 and info["duplicate_window"] == 20 * 60 * 10**9
    publish(hub, "a", 2)
    assert values(hub) == [2]


def test_a_smaller_size_deletes_about_what_its_preview_said(hub: EventHub, name: str) -> None:
    publish(hub, "a", *range(100))
    size = state(hub, name).bytes
    loss = hub.streams.preview_limits(name, max_bytes=size // 4, discard="old")
    assert loss.is_estimate and 70 < loss.events < 80 and not loss.rejects
    hub.streams.set_limits(name, max_bytes=size // 4, discard="old")
    found = state(hub, name)
    assert abs(100 - found.messages - loss.events) <= 2
    assert (found.max_bytes, found.discard) == (size // 4, "old")
    publish(hub, "a", 100)
    assert values(hub)[-1] == 100


def test_a_full_stream_rejects_events_as_its_preview_said(hub: EventHub, name: str) -> None:
    publish(hub, "a", *range(10))
    size = state(hub, name).bytes
    assert hub.streams.preview_limits(name, max_bytes=size // 2) == Loss(0, rejects=True)
    hub.streams.set_limits(name, max_bytes=size // 2)
    assert state(hub, name).messages == 10
    with pytest.raises(Refused, match="maximum bytes"):  # at once, if the answer is there already
        hub.publish(Event("a", data={"value": 10})).result(LIMIT)
    hub.streams.set_limits(name, max_bytes=-1)
    publish(hub, "a", 11)
    assert state(hub, name).messages == 11


@pytest.mark.parametrize(
    "limits", [{}, {"max_age": -1}, {"max_bytes": 0}, {"max_bytes": -2}, {"discard": "all"}, {"replicas": 6}]
)
def test_invalid_limits_are_rejected(hub: EventHub, name: str, limits: Any) -> None:
    before = state(hub, name)
    for ask_ in (hub.streams.preview_limits, hub.streams.set_limits):
        with pytest.raises(ValueError, match="max_bytes"):
            ask_(name, **limits)
    assert state(hub, name) == before


def test_a_removed_stream_leaves_nothing_and_may_be_created_again(hub: EventHub, name: str, nats: Nats) -> None:
    def fail(event: Event) -> None:
        raise ValueError

    with hub.process("topic=a", fail, group="g", retries=1, backoff=0.01, once=True) as processing:
        publish(hub, "a", 0)
        until(lambda: processing.counts.dead == 1)
    hub.kv_put("place", "here").result(LIMIT)
    loss = hub.streams.preview_remove(name)
    assert (loss.events, loss.dead_letters) == (1, 1)
    hub.streams.remove(name)
    names = ask(hub, "STREAM.NAMES")["streams"] or []
    assert not [each for each in names if name in each]
    with pytest.raises(NotFoundError, match="rxhub streams"):
        hub.streams.remove(name)
    with another(nats) as later:
        publish(later, "a", 1)
        assert state(later, name).last_sequence == 1


def test_other_streams_are_not_changed(hub: EventHub, name: str) -> None:
    other = f"{name}-other"
    ask(hub, f"STREAM.CREATE.{other}", {"name": other, "subjects": [f"{other}.>"]})
    for change in (
        lambda: hub.streams.purge(other),
        lambda: hub.streams.remove(other),
        lambda: hub.streams.set_limits(other, max_age=1.0),
        lambda: hub.streams.preview_purge("no-such-stream"),
    ):
        with pytest.raises(NotFoundError, match="no stream of events"):
            change()
    assert other in ask(hub, "STREAM.NAMES")["streams"]
