"""Replay against a real server: whatever was stored, and whatever breaks meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event as Flag
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
import reactivex.operators as ops
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import abc

from rxhub import Event, EventHub
from rxhub.errors import HubClosed, HubConnectionError, NotHandled, StreamError
from rxhub.expression import Condition, Expression
from rxhub.hub.replay import Moment, Progress, Replay
from rxhub.testing import Nats
from rxhub.testing.strategies import events, expressions
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.ordered_consumer import OrderedConsumer
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.stream_reader import StreamReader
from tests.proxy import Proxy
from tests.threads import LIMIT, elsewhere, until
from tests.transport.nats.peer import Peer

AHEAD = 512
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def peer(nats: Nats) -> Iterator[Peer]:
    made = Peer(nats)
    yield made
    made.close()


@contextmanager
def connected(nats: Nats, url: str = "") -> Generator[EventHub]:
    with EventHub(url or nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        with hub.start():
            yield hub


@pytest.fixture
def hub(nats: Nats) -> Iterator[EventHub]:
    with connected(nats) as made:
        yield made


@pytest.fixture
def proxy(nats: Nats) -> Iterator[Proxy]:
    with Proxy(int(nats.url.rpartition(":")[2])) as made:
        yield made


def publish(hub: EventHub, count: int, start: int = 0, topic: str = "studio.shot") -> None:
    """Publish events with numbers, and wait until all of them are stored."""
    sent = [hub.publish(Event(topic, data={"n": start + n})) for n in range(count)]
    for one in sent:
        assert one is not None
        one.result(LIMIT)


def numbers(replayed: list[Event]) -> list[int]:
    return [event.data["n"] for event in replayed]


def everything(replay: Replay) -> list[Event]:
    return replay.pipe(ops.to_list()).run()


class Watcher:
    """An observer that keeps what it is told, and holds the handling up while it is not let on."""

    def __init__(self, replay: Replay, hold_at: int | None = None) -> None:
        self.seen: list[Event] = []
        self.errors: list[Exception] = []
        self.completed = False
        self.arrived = Flag()
        self.go_on = Flag()
        self._hold_at = hold_at
        self.subscription: abc.DisposableBase = replay.subscribe(self.next, self.errors.append, self.complete)

    def next(self, event: Event) -> None:
        self.seen.append(event)
        if len(self.seen) == self._hold_at:
            self.arrived.set()
            assert self.go_on.wait(LIMIT)

    def complete(self) -> None:
        self.completed = True

    def end(self) -> None:
        until(lambda: self.completed or self.errors)
        assert not self.errors, self.errors


class Place(NamedTuple):
    """The place of an event among those that were stored, by its sequence or by its time."""

    index: int
    off: int
    by_time: bool

    def moment(self, times: list[datetime]) -> Moment:
        index = min(self.index, len(times) - 1)
        return times[index] + self.off * MICROSECOND if self.by_time else max(0, index + 1 + self.off)


places = st.none() | st.builds(Place, st.integers(0, 11), st.sampled_from([-1, 0, 1]), st.booleans())
topics_of_events = events().map(lambda event: Condition("topic", "=", event.topic, quoted=True))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(events(), min_size=1, max_size=12), expressions() | topics_of_events, places, places)
def test_a_replay_is_what_was_stored_filtered(
    nats: Nats, published: list[Event], expression: Expression, begin: Place | None, end: Place | None
) -> None:
    here = nats._replace(stream=f"test-{uuid4().hex}")
    with connected(here) as hub:
        for event in published:
            event["id"] = uuid4().hex
        for sent in [hub.publish(event) for event in published]:
            assert sent is not None
            sent.result(LIMIT)
        peer = Peer(here)
        found = [peer.found(number) for number in range(1, len(published) + 1)]
        peer.close()
        stored = [Event.from_wire(json.loads(one.data)) for one in found]
        times = [datetime.fromisoformat(one.time) for one in found]
        since, until = (place and place.moment(times) for place in (begin, end))

        def lies_between(number: int) -> bool:
            after = since is None or since <= (times[number] if isinstance(since, datetime) else number + 1)
            return after and (until is None or until >= (times[number] if isinstance(until, datetime) else number + 1))

        expected = [
            event.id for number, event in enumerate(stored) if lies_between(number) and expression.matches(event)
        ]
        try:
            replay = hub.replay(str(expression), since, until)
        except ValueError as error:
            assert "is before" in str(error) and not expected
            return
        assert [event.id for event in everything(replay)] == expected
        assert replay.progress.fraction == 1.0 and replay.progress.emitted == len(expected)


def test_an_event_is_replayed_as_it_was_published(hub: EventHub) -> None:
    event = Event("a.b c.>", data={"é": ["\n", None, 1.5]}, target="user=nobody", sent="now", in_reply_to_event="x")
    event["extra"] = {"inReplyToEvent": 1}
    sent = hub.publish(event)
    assert sent is not None
    sent.result(LIMIT)
    (replayed,) = everything(hub.replay("topic='a.b c.>'"))
    assert replayed.to_wire() == event.to_wire()


def test_replies_are_history_too(hub: EventHub) -> None:
    hub.subscribe("topic=studio.ask", lambda event: {"answer": event.data["n"]})
    assert hub.request(Event("studio.ask", data={"n": 7}), timeout=LIMIT).pipe(ops.first()).run().data == {"answer": 7}
    assert [reply.data for reply in everything(hub.replay("topic=ftrack.meta.reply"))] == [{"answer": 7}]


def test_an_empty_history_completes(hub: EventHub) -> None:
    assert everything(hub.replay("topic=*")) == []
    publish(hub, 3)
    assert everything(hub.replay("topic=other")) == []
    assert everything(hub.replay("topic=studio.shot and data.n=9")) == []
    assert everything(hub.replay("topic=a and topic=b")) == []
    assert everything(hub.replay("topic=*", since=4)) == []
    assert everything(hub.replay("topic=*", until=0)) == []
    assert everything(hub.replay("topic=*", since=datetime.now(UTC) + timedelta(days=1))) == []


@pytest.mark.parametrize("most", [10**6, 2**63, 10**30])
def test_sequences_that_no_stream_reaches_are_none_of_its_own(hub: EventHub, most: int) -> None:
    publish(hub, 3)
    assert everything(hub.replay("topic=*", since=most)) == []
    assert numbers(everything(hub.replay("topic=*", until=most))) == [0, 1, 2]


def test_times_that_no_event_has_are_as_good_as_none(hub: EventHub) -> None:
    publish(hub, 3)
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    assert numbers(everything(hub.replay("topic=*", first, last))) == [0, 1, 2]
    assert everything(hub.replay("topic=*", last)) == everything(hub.replay("topic=*", until=first)) == []
    assert numbers(everything(hub.replay("topic=*", timedelta.max, timedelta()))) == [0, 1, 2]


def test_a_publisher_who_never_pauses_does_not_keep_a_replay_from_ending(hub: EventHub) -> None:
    publish(hub, 100)
    watcher = Watcher(hub.replay("topic=studio.*"), hold_at=1)
    assert watcher.arrived.wait(LIMIT)
    publish(hub, 100, start=100)
    watcher.go_on.set()
    watcher.end()
    assert numbers(watcher.seen) == list(range(100))


def test_history_and_what_follows_are_joined_without_a_gap_or_an_overlap(nats: Nats, hub: EventHub) -> None:
    count = 3_000
    with connected(nats) as publisher, elsewhere(publish, publisher, count):
        until(lambda: len(everything(hub.replay("topic=studio.*"))) > 100)
        watcher = Watcher(hub.replay("topic=studio.* and data.n>=0", follow=True))
        until(lambda: len(watcher.seen) >= count)
    publish(hub, 1, start=count)
    until(lambda: len(watcher.seen) > count)
    assert numbers(watcher.seen) == list(range(count + 1))
    assert not watcher.completed and not watcher.errors
    watcher.subscription.dispose()


def test_what_follows_an_empty_history_comes_too(hub: EventHub) -> None:
    watcher = Watcher(hub.replay("topic=studio.*", follow=True))
    publish(hub, 3)
    until(lambda: len(watcher.seen) == 3)
    assert numbers(watcher.seen) == [0, 1, 2]


def test_subscribers_of_the_hub_see_nothing_of_a_replay(hub: EventHub) -> None:
    publish(hub, 3)
    seen: list[Event] = []
    hub.subscribe("topic=*", seen.append)
    publish(hub, 1, start=3)
    until(lambda: seen)
    everything(hub.replay("topic=*"))
    assert numbers(seen) == [3]


def test_each_subscription_replays_on_its_own(hub: EventHub) -> None:
    publish(hub, 200)
    replay = hub.replay("topic=studio.*")
    assert numbers(everything(replay)) == list(range(200))
    publish(hub, 1, start=200)
    watchers = [Watcher(replay), Watcher(replay)]
    for watcher in watchers:
        watcher.end()
        assert numbers(watcher.seen) == list(range(201))


def test_what_is_read_before_the_subscription_is_made_counts_too(
    hub: EventHub, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub, 2_000)
    begin = StreamReader.begin

    def slowly(playback: StreamReader) -> None:
        begin(playback)
        # Whoever handles the hub has begun, and may have ended.
        until(lambda: len(watched) >= min(AHEAD, wanted))

    monkeypatch.setattr(StreamReader, "begin", slowly)
    for wanted in (2_000, 1):
        watched: list[Event] = []
        ended = Flag()
        replay = hub.replay("topic=studio.*").pipe(ops.take(wanted))
        replay.subscribe(watched.append, on_completed=ended.set)
        assert ended.wait(LIMIT)
        assert numbers(watched) == list(range(wanted))
        until(lambda: not peer.consumers())


# What is behind holds up what reads


def test_no_more_is_read_than_can_be_held_while_the_handler_is_behind(nats: Nats, hub: EventHub, peer: Peer) -> None:
    publish(hub, 3_000)
    watcher = Watcher(hub.replay("topic=studio.*"), hold_at=1)
    assert watcher.arrived.wait(LIMIT)

    (own,) = [consumer["name"] for consumer in peer.consumers()]

    def sent() -> int:
        return peer.ask(f"CONSUMER.INFO.{peer.stream}.{own}")["delivered"]["consumer_seq"]

    until(lambda: sent() >= AHEAD // 2)
    with connected(nats) as other:
        everything(other.replay("topic=studio.*"))  # takes as long as reading the rest would have taken
    assert sent() <= AHEAD
    watcher.go_on.set()
    watcher.end()
    assert numbers(watcher.seen) == list(range(3_000))


def test_who_leaves_ends_the_reading(hub: EventHub, peer: Peer) -> None:
    publish(hub, 3_000)
    assert numbers(everything(hub.replay("topic=studio.*").pipe(ops.take(5)))) == [0, 1, 2, 3, 4]  # type: ignore[arg-type]
    until(lambda: not peer.consumers())


def test_who_leaves_while_the_handling_is_held_up_gets_nothing_more(hub: EventHub, peer: Peer) -> None:
    publish(hub, 1_000)
    watcher = Watcher(hub.replay("topic=studio.*", follow=True), hold_at=1)
    assert watcher.arrived.wait(LIMIT)
    watcher.subscription.dispose()
    until(lambda: not peer.consumers())
    watcher.go_on.set()
    publish(hub, 1)
    assert numbers(watcher.seen) == [0] and not watcher.completed and not watcher.errors


def test_what_is_purged_in_the_middle_does_not_keep_a_replay_from_ending(hub: EventHub, peer: Peer) -> None:
    publish(hub, 2_000)
    watcher = Watcher(hub.replay("topic=studio.*"), hold_at=1)
    assert watcher.arrived.wait(LIMIT)
    peer.purge()
    watcher.go_on.set()
    watcher.end()
    assert len(watcher.seen) < 2_000 and numbers(watcher.seen) == list(range(len(watcher.seen)))


def test_what_is_no_event_is_told_and_passed_over(hub: EventHub, peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    publish(hub, 1)
    for junk in (b"", b"{", b"[]", b"\xff", b'{"topic": 5}', b"[" * 100):
        peer.store(f"{peer.stream}.event.studio.shot", junk)
    publish(hub, 1, start=1)
    with caplog.at_level(logging.ERROR, "rxhub"):
        assert numbers(everything(hub.replay("topic=studio.*"))) == [0, 1]
    assert len([record for record in caplog.records if "is not an event" in record.message]) == 6


# Progress


def test_progress_tells_how_far_it_is(hub: EventHub) -> None:
    publish(hub, 10)
    publish(hub, 10, topic="other")
    replay = hub.replay("topic=studio.* and data.n<5")
    assert replay.progress == Progress() and replay.progress.fraction == 0.0
    seen: list[Progress] = []
    replay.pipe(ops.do_action(lambda _: seen.append(replay.progress))).run()
    assert [(one.read, one.total, one.emitted, one.sequence) for one in seen] == [(n, 10, n, n) for n in range(1, 6)]
    assert [one.fraction for one in seen] == [n / 10 for n in range(1, 6)]
    assert (replay.progress.read, replay.progress.emitted, replay.progress.fraction) == (10, 5, 1.0)


def test_a_replay_goes_on_behind_what_another_one_told_of(hub: EventHub) -> None:
    publish(hub, 10)
    replay = hub.replay("topic=studio.*")
    everything(replay.pipe(ops.take(4)))  # type: ignore[arg-type]
    assert numbers(everything(hub.replay("topic=studio.*", since=replay.progress.sequence + 1))) == [4, 5, 6, 7, 8, 9]
    time = replay.progress.time
    assert time is not None and numbers(everything(hub.replay("topic=studio.*", until=time)))[-1] >= 3


# What breaks


def test_nothing_is_lost_or_repeated_when_the_connection_breaks_in_the_middle(nats: Nats, proxy: Proxy) -> None:
    with connected(nats) as publisher:
        publish(publisher, 4_000)
    breaks = {700, 2_100, 3_999}
    with connected(nats, f"nats://127.0.0.1:{proxy.port}") as hub:
        replay = hub.replay("topic=studio.*").pipe(
            ops.do_action(lambda event: proxy.reset() if event.data["n"] in breaks else None)
        )
        assert numbers(replay.pipe(ops.to_list()).run()) == list(range(4_000))


def test_what_is_published_while_the_connection_is_away_follows(nats: Nats, proxy: Proxy) -> None:
    with connected(nats) as publisher, connected(nats, f"nats://127.0.0.1:{proxy.port}") as hub:
        publish(publisher, 10)
        watcher = Watcher(hub.replay("topic=studio.*", follow=True))
        until(lambda: len(watcher.seen) == 10)
        proxy.black_hole = True
        proxy.reset()
        publish(publisher, 10, start=10)
        proxy.black_hole = False
        publish(publisher, 10, start=20)
        until(lambda: len(watcher.seen) >= 30)
        assert numbers(watcher.seen) == list(range(30)) and not watcher.errors


def test_what_is_handled_while_another_consumer_is_made_leaves_room(
    nats: Nats, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, held, asked = NatsConnection.js_request, Flag(), Flag()
    take, taken = OrderedConsumer._on_message, list[Message]()

    async def hold(line: NatsConnection, api: str, *arguments: Any) -> dict[str, Any]:
        while held.is_set() and api.startswith("CONSUMER.CREATE."):
            asked.set()
            await asyncio.sleep(0.01)
        return await ask(line, api, *arguments)

    def watch(ordered: OrderedConsumer, message: Message) -> None:
        taken.append(message)
        take(ordered, message)

    monkeypatch.setattr(NatsConnection, "js_request", hold)
    monkeypatch.setattr(OrderedConsumer, "_on_message", watch)
    with connected(nats) as publisher:
        publish(publisher, 2_000)
    with connected(nats, f"nats://127.0.0.1:{proxy.port}") as hub:
        watcher = Watcher(hub.replay("topic=studio.*"), hold_at=1)
        assert watcher.arrived.wait(LIMIT)
        until(lambda: len(taken) == AHEAD)
        held.set()
        proxy.reset()
        assert asked.wait(LIMIT)
        watcher.go_on.set()
        until(lambda: len(watcher.seen) > AHEAD // 2)
        held.clear()
        watcher.end()
        assert numbers(watcher.seen) == list(range(2_000))


def test_a_hub_that_hangs_up_and_connects_again_goes_on_where_it_was(hub: EventHub) -> None:
    publish(hub, 2_000)
    watcher = Watcher(hub.replay("topic=studio.*"), hold_at=100)
    assert watcher.arrived.wait(LIMIT)
    hub.reconnect()
    watcher.go_on.set()
    watcher.end()
    assert numbers(watcher.seen) == list(range(2_000))


def test_a_hub_that_is_disconnected_says_so(hub: EventHub) -> None:
    publish(hub, 2_000)
    watcher = Watcher(hub.replay("topic=studio.*"), hold_at=1)
    assert watcher.arrived.wait(LIMIT)
    hub.disconnect()
    watcher.go_on.set()
    until(lambda: watcher.errors)
    assert isinstance(watcher.errors[0], HubConnectionError) and not watcher.completed


@pytest.mark.parametrize("follow", [False, True])
def test_a_hub_that_is_closed_ends_what_was_to_go_on_and_breaks_off_history(hub: EventHub, follow: bool) -> None:
    publish(hub, 2_000)
    watcher = Watcher(hub.replay("topic=studio.*", follow=follow), hold_at=1)
    assert watcher.arrived.wait(LIMIT)
    with elsewhere(hub.close):
        watcher.go_on.set()
    until(lambda: watcher.completed or watcher.errors)
    assert watcher.completed is follow
    assert [type(error) for error in watcher.errors] == ([] if follow else [HubClosed])


@pytest.mark.parametrize("follow", [False, True])
def test_a_stream_that_is_deleted_is_told(hub: EventHub, peer: Peer, follow: bool) -> None:
    publish(hub, 2_000)
    watcher = Watcher(hub.replay("topic=studio.*", follow=follow), hold_at=1)
    assert watcher.arrived.wait(LIMIT)
    peer.delete_stream()
    watcher.go_on.set()
    until(lambda: watcher.errors)
    assert isinstance(watcher.errors[0], StreamError) and "stream" in str(watcher.errors[0])
    assert not watcher.completed


def test_a_stream_that_is_made_anew_meanwhile_is_another(nats: Nats, proxy: Proxy, peer: Peer) -> None:
    with connected(nats) as publisher:
        publish(publisher, 2_000)
        with connected(nats, f"nats://127.0.0.1:{proxy.port}") as hub:
            watcher = Watcher(hub.replay("topic=studio.*"), hold_at=1)
            assert watcher.arrived.wait(LIMIT)
            proxy.black_hole = True
            proxy.reset()
            config = peer.ask(f"STREAM.INFO.{peer.stream}")["config"]
            peer.delete_stream()
            peer.ask(f"STREAM.CREATE.{peer.stream}", config)
            for number in range(3_000):
                peer.store(f"{peer.stream}.event.studio.shot", b'{"topic": "studio.shot", "data": {"n": %d}}' % number)
            proxy.black_hole = False
            watcher.go_on.set()
            until(lambda: watcher.errors)
            assert "recreated" in str(watcher.errors[0])
            assert numbers(watcher.seen) == list(range(len(watcher.seen))) and not watcher.completed


def test_nothing_is_replayed_where_nobody_handles_or_is_connected(nats: Nats) -> None:
    def told(hub: EventHub) -> Exception:
        return Watcher(hub.replay("topic=*")).errors[0]

    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        assert isinstance(told(hub), NotHandled) and "hub.start()" in str(told(hub))
        with hub.start():
            assert isinstance(told(hub), HubConnectionError) and "connect()" in str(told(hub))
            hub.connect()
            assert everything(hub.replay("topic=*")) == []
        assert isinstance(told(hub), NotHandled)


def test_it_can_be_awaited_where_the_hub_is_handled(nats: Nats, hub: EventHub) -> None:
    publish(hub, 100)

    async def last() -> tuple[Event, list[int]]:
        seen: list[Event] = []
        async with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as other:
            await asyncio.to_thread(other.connect)
            replay = other.replay("topic=studio.*")
            found = await replay
            await other.replay("topic=studio.* and data.n<3").pipe(ops.do_action(seen.append))
            return found, numbers(seen)

    found, seen = asyncio.run(last())
    assert found.data == {"n": 99} and seen == [0, 1, 2]


def test_a_replay_leaves_with_the_plugin_that_began_it(hub: EventHub, peer: Peer) -> None:
    watchers: list[Watcher] = []

    class Follower:
        name = "follower"

        def bootstrap(self, hub: EventHub) -> None:
            watchers.append(Watcher(hub.replay("topic=studio.*", follow=True)))

    report = hub.bootstrap([Follower()])
    assert watchers, report
    publish(hub, 1)
    until(lambda: watchers[0].seen)
    hub.teardown()
    until(lambda: not peer.consumers())
    publish(hub, 1)
    assert len(watchers[0].seen) == 1
