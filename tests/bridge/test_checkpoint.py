"""How far bridges have come, as it is written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rxhub import EventHub
from rxhub.bridge.checkpoint import Progress
from rxhub.bridge.gap import Place
from rxhub.testing import Nats
from tests.threads import LIMIT, until

START = datetime(2026, 1, 1, tzinfo=UTC)


def recalled(progress: Progress) -> Place:
    places: list[Place] = []

    def ask() -> bool:
        place = progress.recalled()
        if place is not None:
            places.append(place)
        return bool(places)

    until(ask)
    return places[0]


def test_bridges_of_one_server_and_subscription_share_a_note(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        one, two = (Progress(hub, "http://a", "topic=*", name) for name in ("one", "two"))
        assert recalled(one) == Place()
        noted = one.note(Place(START, "x"))
        assert noted is not None and noted.result(LIMIT) is None
        assert recalled(two) == recalled(one) == Place(START, "x")
        for other in (Progress(hub, "http://b", "topic=*", "one"), Progress(hub, "http://a", "topic=a", "one")):
            assert recalled(other) == Place()


def test_a_note_is_written_now_and_then_and_never_goes_back(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        progress = Progress(hub, "http://a", "topic=*", "one")
        assert progress.note(Place()) is None
        assert progress.note(Place(START, "x")) is not None
        later = Place(START + timedelta(seconds=1), "y")
        assert progress.note(later) is None
        noted = progress.note(later, at_once=True)
        assert noted is not None and noted.result(LIMIT) is None
        assert progress.note(later, at_once=True) is progress.note(Place(START, "x"), at_once=True) is None
        assert recalled(progress) == later
        behind = later._replace(id="z")  # before the clock went on
        noted = progress.note(behind, at_once=True)
        assert noted is not None and noted.result(LIMIT) is None
        assert recalled(progress) == behind


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"floor": 5, "id": null}', '{"floor": "2026-01-01T00:00:00", "id": ""}']
)
def test_a_note_that_says_nothing_is_none(nats: Nats, text: str) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        progress = Progress(hub, "http://a", "topic=*", "one")
        hub.keep(progress._key, text).result(LIMIT)
        assert recalled(progress) == Place()


def test_without_a_stream_there_are_no_notes() -> None:
    with EventHub() as hub:
        progress = Progress(hub, "http://a", "topic=*", "one")
        assert progress.recalled() == Place() and progress.note(Place(START, "x")) is None


def test_without_a_connection_nothing_is_known(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        progress = Progress(hub, "http://a", "topic=*", "one")
        assert recalled(progress) == Place()
        noted = progress.note(Place(START, "x"))
        assert noted is not None and noted.exception(LIMIT) is not None
