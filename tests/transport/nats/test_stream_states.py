"""What streams there are, as a hub tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError
from rxhub.testing import Nats
from rxhub.transport.durable import GroupState, StreamState
from rxhub.transport.nats.streams import dead_letter_config, stream_config, stream_states
from tests.threads import LIMIT
from tests.transport.nats.peer import Peer


@pytest.fixture
def peer(nats: Nats) -> Iterator[Peer]:
    made = Peer(nats)
    yield made
    made.close()


@pytest.fixture
def hub(nats: Nats) -> Iterator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as made:
        made.connect()
        with made.start():
            yield made


def state(hub: EventHub, name: str) -> StreamState:
    (found,) = [one for one in hub.streams() if one.name == name]
    return found


def test_an_empty_stream_has_no_times(hub: EventHub, peer: Peer) -> None:
    found = state(hub, peer.stream)
    assert (found.messages, found.first, found.last, found.last_sequence, found.dead) == (0, None, None, 0, 0)
    assert (found.replicas, found.max_age, found.max_bytes, found.groups) == (1, 0.0, -1, ())


def test_it_tells_how_much_there_is_and_of_when(hub: EventHub, peer: Peer) -> None:
    for number in range(3):
        sent = hub.publish(Event("a", data={"n": number}))
        assert sent is not None
        sent.result(LIMIT)
    found = state(hub, peer.stream)
    assert (found.messages, found.first_sequence, found.last_sequence) == (3, 1, 3) and found.bytes > 100
    assert found.first is not None and found.last is not None
    assert found.first == datetime.fromisoformat(peer.found(1).time) <= found.last
    assert abs(datetime.now(UTC) - found.last) < timedelta(minutes=5)


def test_groups_tell_what_waits_and_what_is_pending(hub: EventHub, peer: Peer) -> None:
    for group in ("ingest", "archive"):
        config = {
            "durable_name": group,
            "ack_policy": "explicit",
            "filter_subject": f"{peer.stream}.event.{group}",
            "metadata": {"rxhub.group": "the archive"} if group == "archive" else {},
        }
        peer.ask(f"CONSUMER.DURABLE.CREATE.{peer.stream}.{group}", {"stream_name": peer.stream, "config": config})
    for _ in range(3):
        peer.store(f"{peer.stream}.event.ingest")
    peer.pull("ingest", 2)
    assert state(hub, peer.stream).groups == (
        GroupState("ingest", 1, 2, 0, 1_000),
        GroupState("the archive", 0, 0, 0, 1_000),
    )


def test_dead_letters_are_counted_and_are_no_stream_of_events(hub: EventHub, peer: Peer) -> None:
    peer.ask(f"STREAM.CREATE.{peer.stream}-dead", dead_letter_config(peer.stream))
    peer.store(f"{peer.stream}.dead.ingest.a", stream=f"{peer.stream}-dead")
    assert state(hub, peer.stream).dead == 1
    assert f"{peer.stream}-dead" not in [one.name for one in hub.streams()]


def test_streams_of_others_are_left_out_and_the_rest_is_in_order(hub: EventHub, peer: Peer) -> None:
    peer.ask(f"STREAM.CREATE.{peer.stream}-x", {"name": f"{peer.stream}-x", "subjects": [f"{peer.stream}.other.>"]})
    peer.ask(f"STREAM.CREATE.{peer.stream}-b", stream_config(f"{peer.stream}-b", max_age=60.0, max_bytes=10_000))
    names = [one.name for one in hub.streams()]
    assert names == sorted(names) and {peer.stream, f"{peer.stream}-b"} <= {*names}
    assert f"{peer.stream}-x" not in names
    found = state(hub, f"{peer.stream}-b")
    assert (found.max_age, found.max_bytes) == (60.0, 10_000)


def test_lists_of_many_pages_are_read_to_their_end() -> None:
    """As a server gives them that has thousands of streams and groups."""

    class Server:
        async def js_request(self, api: str, body: Any = None, timeout: float = 5.0) -> dict[str, Any]:
            what, offset = ("streams" if api == "STREAM.LIST" else "consumers"), body["offset"]
            entries = {"streams": stream, "consumers": consumer}[what]
            return {"total": 600, what: [entries(number) for number in range(offset, min(600, offset + 256))]}

    def stream(number: int) -> dict[str, Any]:
        state = {"messages": 0, "bytes": 0, "first_seq": 1, "last_seq": 0}
        return {"config": stream_config(f"s{number:03}"), "state": state}

    def consumer(number: int) -> dict[str, Any]:
        return {
            "config": {"durable_name": f"g{number:03}"} if number % 2 else {"name": "rxhub-live"},
            "num_pending": number,
            "num_ack_pending": 0,
            "num_redelivered": 0,
        }

    found = asyncio.run(stream_states(Server()))
    assert [one.name for one in found] == [f"s{number:03}" for number in range(600)]
    assert [(one.name, one.waiting) for one in found[0].groups] == [(f"g{n:03}", n) for n in range(1, 600, 2)]


def test_a_hub_that_is_not_connected_says_so(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        with pytest.raises(HubConnectionError, match="connect"):
            hub.streams()
