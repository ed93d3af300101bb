"""How far bridges have come, as it is written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rxhub import EventHub
from rxhub.bridge.checkpoint import Checkpoint
from rxhub.bridge.gap import Position
from rxhub.testing import Nats
from tests.threads import LIMIT, until

START = datetime(2026, 1, 1, tzinfo=UTC)


def recalled(checkpoint: Checkpoint) -> Position:
    places: list[Position] = []

    def ask() -> bool:
        place = checkpoint.load()
        if place is not None:
            places.append(place)
        return bool(places)

    until(ask)
    return places[0]


def test_bridges_of_one_server_and_subscription_share_a_note(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        one, two = (Checkpoint(hub, "http://a", "topic=*", name) for name in ("one", "two"))
        assert recalled(one) == Position()
        noted = one.save(Position(START, "x"))
        assert noted is not None and noted.result(LIMIT) is None
        assert recalled(two) == recalled(one) == Position(START, "x")
        for other in (Checkpoint(hub, "http://b", "topic=*", "one"), Checkpoint(hub, "http://a", "topic=a", "one")):
            assert recalled(other) == Position()


def test_a_note_is_written_now_and_then_and_never_goes_back(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        checkpoint = Checkpoint(hub, "http://a", "topic=*", "one")
        assert checkpoint.save(Position()) is None
        assert checkpoint.save(Position(START, "x")) is not None
        later = Position(START + timedelta(seconds=1), "y")
        assert checkpoint.save(later) is None
        noted = checkpoint.save(later, at_once=True)
        assert noted is not None and noted.result(LIMIT) is None
        assert checkpoint.save(later, at_once=True) is checkpoint.save(Position(START, "x"), at_once=True) is None
        assert recalled(checkpoint) == later
        behind = later._replace(id="z")  # before the clock went on
        noted = checkpoint.save(behind, at_once=True)
        assert noted is not None and noted.result(LIMIT) is None
        assert recalled(checkpoint) == behind


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"floor": 5, "id": null}', '{"floor": "2026-01-01T00:00:00", "id": ""}']
)
def test_a_note_that_says_nothing_is_none(nats: Nats, text: str) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        checkpoint = Checkpoint(hub, "http://a", "topic=*", "one")
        hub.kv_put(checkpoint._key, text).result(LIMIT)
        assert recalled(checkpoint) == Position()


def test_without_a_stream_there_are_no_notes() -> None:
    with EventHub() as hub:
        checkpoint = Checkpoint(hub, "http://a", "topic=*", "one")
        assert checkpoint.load() == Position() and checkpoint.save(Position(START, "x")) is None


def test_without_a_connection_nothing_is_known(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        checkpoint = Checkpoint(hub, "http://a", "topic=*", "one")
        assert recalled(checkpoint) == Position()
        noted = checkpoint.save(Position(START, "x"))
        assert noted is not None and noted.exception(LIMIT) is not None
