"""Which events have come already."""

from __future__ import annotations

from rxhub import Event
from rxhub.transport.socketio.deduplication import RecentIds


def test_a_resent_event_is_a_duplicate_if_it_has_come() -> None:
    recent = RecentIds()
    assert not recent.is_duplicate(Event("a", id="1"))
    assert recent.is_duplicate(Event("a", id="1", sent="now"))
    assert not recent.is_duplicate(Event("a", id="2", sent="now"))
    assert recent.is_duplicate(Event("a", id="2", sent="now"))
    assert recent.is_duplicate(Event("a", id="2"))  # the first copy, overtaken by the second


def test_publishing_one_event_twice_is_meant() -> None:
    recent = RecentIds()
    assert [recent.is_duplicate(Event("a", id="1")) for _ in range(3)] == [False] * 3


def test_only_the_latest_are_remembered() -> None:
    recent = RecentIds(size=2)
    for name in ("1", "2", "1", "3"):
        recent.is_duplicate(Event("a", id=name))
    assert [recent.is_duplicate(Event("a", id=name, sent="now")) for name in ("1", "3", "2")] == [True, True, False]
    for number in range(100):
        recent.is_duplicate(Event("a", id=str(number)))
    assert len(recent._ids) == 2


def test_odd_ids_are_let_through() -> None:
    recent = RecentIds()
    for odd in (1, ["x"], {}):
        event = Event.from_wire({"topic": "a", "id": odd, "sent": "now"})
        assert not recent.is_duplicate(event) and not recent.is_duplicate(event)
