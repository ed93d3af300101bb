"""The envelope: seven keys that are attributes, and the wire."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import UserDict
from collections.abc import Mapping
from typing import Any

import ftrack_api.event.base
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event
from rxhub.dispatching.observe_on import unstoppable
from rxhub.errors import EventError

KEYS = ("topic", "id", "data", "sent", "source", "target", "in_reply_to_event")

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
payloads = st.fixed_dictionaries(
    {"topic": st.text()},
    optional={
        "id": st.text(min_size=1),
        "data": json,
        "sent": json,
        "source": json,
        "target": st.none() | st.text(),
        "inReplyToEvent": st.none() | st.text(),
        "of the future": json,
    },
)


def test_an_event_has_the_seven_keys_of_ftracks() -> None:
    theirs = ftrack_api.event.base.Event("a.b", id="x")
    ours = Event("a.b", id="x")

    assert dict(ours) == dict(theirs)
    assert set(ours) == set(KEYS)
    assert len(ours) == 7


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_an_attribute_too(key: str) -> None:
    event = Event("a")

    event[key] = "one"
    assert getattr(event, key) == "one"
    setattr(event, key, "two")
    assert event[key] == "two"
    del event[key]
    assert key not in event
    assert not hasattr(event, key)


def test_ids_are_made_once_and_differ() -> None:
    events = [Event("a") for _ in range(100)]

    assert len({event.id for event in events}) == 100
    assert [event.id for event in events] == [event["id"] for event in events]
    assert all(len(event.id) == 32 and int(event.id, 16) >= 0 for event in events)


@pytest.mark.parametrize("id", [None, ""])
def test_an_empty_id_is_no_id(id: str | None) -> None:
    assert len(Event("a", id=id).id) == 32


@pytest.mark.parametrize("data", [0, False, [], "", ()])
def test_data_that_is_false_is_kept(data: Any) -> None:
    assert Event("a", data=data).data is data


def test_each_event_has_empty_data_and_source_of_its_own() -> None:
    one, other = Event("a"), Event("a")
    one.data["n"] = 1
    one.source["id"] = "me"

    assert other.data == {} and other.source == {}
    assert Event.from_wire({"topic": "a"}).data is not Event.from_wire({"topic": "a"}).data


def test_stopping() -> None:
    event = Event("a")
    assert not event.is_stopped()
    event.stop()
    assert event.is_stopped()
    assert not event.envelope().is_stopped()
    assert "stopped" not in str(dict(event))


def test_an_envelope_shares_the_data_and_nothing_else() -> None:
    event = Event("a", data={"n": 1})
    twin = event.envelope()

    assert twin == event and twin.id == event.id
    assert twin.data is event.data
    twin.topic = "b"
    assert event.topic == "a"


def test_events_with_the_same_fields_are_equal() -> None:
    assert Event("a", id="x") == Event("a", id="x")
    assert Event("a", id="x") != Event("a", id="y")
    assert Event("a", id="x") == dict(Event("a", id="x"))


def test_events_can_be_pickled_and_copied() -> None:
    event = Event("a", data={"deep": [1]})
    event["of the future"] = 1
    event.stop()

    for twin in (pickle.loads(pickle.dumps(event)), copy.copy(event), copy.deepcopy(event)):
        assert twin == event
        assert type(twin) is Event
        assert twin.is_stopped()
    assert copy.copy(event).data is event.data
    assert copy.deepcopy(event).data is not event.data
    assert type(pickle.loads(pickle.dumps(unstoppable(event)))) is Event


def test_events_can_be_referred_to_weakly() -> None:
    event = Event("a")
    seen = weakref.ref(event)
    assert seen() is event
    del event
    gc.collect()
    assert seen() is None


def test_the_repr_shows_the_fields() -> None:
    assert "'topic': 'a.b'" in repr(Event("a.b"))
    assert "sesame" not in repr(Event("a", data={"password": "sesame", "headers": [["Cookie", "sesame"]]}))
    cyclic = Event("a")
    cyclic.data["self"] = cyclic.data
    assert "a" in repr(cyclic)


@given(payloads)
def test_what_came_from_the_wire_goes_back_as_it_came(payload: dict[str, Any]) -> None:
    wire = Event.from_wire(payload).to_wire()

    for key, value in payload.items():
        if value is None and key in ("data", "source", "target"):
            assert not wire[key]
        else:
            assert wire[key] == value
    assert set(wire) == {*KEYS, *payload, "inReplyToEvent"} - {"in_reply_to_event"}
    assert Event.from_wire(wire).to_wire() == wire


def test_the_reply_key_is_converted_at_the_envelope_alone() -> None:
    data = {"inReplyToEvent": 1, "in_reply_to_event": 2, "list": [{"inReplyToEvent": 3}]}
    event = Event.from_wire({"topic": "a", "inReplyToEvent": "x", "data": data})

    assert event.in_reply_to_event == "x"
    assert "inReplyToEvent" not in event
    assert event.data is data and data["inReplyToEvent"] == 1
    assert event.to_wire()["inReplyToEvent"] == "x"
    assert event.to_wire()["data"] is data


def test_unknown_fields_from_the_wire_are_kept() -> None:
    event = Event.from_wire({"topic": "a", "trace": {"span": 1}})
    assert event["trace"] == {"span": 1}
    assert event.envelope()["trace"] == {"span": 1}


def test_any_mapping_is_read_from_the_wire() -> None:
    assert Event.from_wire(UserDict(topic="a", data=5)).data == 5


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (None, "NoneType"),
        ([("topic", "a")], "list"),
        ("topic", "str"),
        ({}, "none was found"),
        ({"topic": None}, "none was found"),
        ({"topic": 5}, "int"),
        ({"topic": b"a"}, "bytes"),
        ({"topic": ["a"]}, "list"),
    ],
)
def test_what_is_no_event_is_refused_with_a_reason(payload: Any, says: str) -> None:
    with pytest.raises(EventError, match=says):
        Event.from_wire(payload)


def test_an_event_is_a_mapping() -> None:
    event = Event("a", data={"n": 1})
    assert isinstance(event, Mapping)
    assert {**event} == event.fields
    assert event.get("nothing", 5) == 5
    with pytest.raises(KeyError):
        event["nothing"]
    with pytest.raises(AttributeError):
        event.nothing  # type: ignore[attr-defined]


def test_data_given_by_place_are_not_taken_for_the_id() -> None:
    with pytest.raises(TypeError, match=r"id of an event must be a string, but dict was given.*Event\(topic, data=…\)"):
        Event("studio.render.finished", {"frames": 120})  # pyright: ignore[reportArgumentType]


class _Slotted(Event):
    __slots__ = ("extra",)


class _Open(Event):
    pass


@pytest.mark.parametrize("kind", [Event, _Slotted, _Open])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_copies_keep_the_class_and_the_attributes(kind: type[Event], protocol: int) -> None:
    event = kind("a", data={"x": [1]})
    event["further"] = 2
    event.stop()
    if kind is not Event:
        event.extra = [3]  # type: ignore[attr-defined]
    for twin in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event, protocol))):
        assert type(twin) is kind and dict(twin) == dict(event) and twin.is_stopped() and twin.id == event.id
        if kind is not Event:
            assert twin.extra == [3]  # type: ignore[attr-defined]
        twin["topic"] = "b"
        assert event.topic == "a"
    assert copy.copy(event).data is event.data and copy.deepcopy(event).data is not event.data
