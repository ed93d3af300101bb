"""NaN and infinity: refused before an event is sent, on every transport alike."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, UserDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import pytest

from rxhub import Event, EventHub
from rxhub.errors import EventError, NoReply
from rxhub.transport.finite_numbers import non_finite
from rxhub.transport.json_payload import write_event

NAN, INF = float("nan"), float("inf")


class Numpy64(float):
    """As numpy.float64 is."""


class Odd(Enum):
    NAN = NAN


@dataclass
class Shot:
    frames: Any


class Packed(msgspec.Struct):
    frames: Any


class Remote(Mapping[str, Any]):
    """A mapping that asks a server for its items, as an entity of ftrack does."""

    asked = 0

    def __getitem__(self, key: str) -> Any:
        Remote.asked += 1
        return NAN

    def __iter__(self) -> Iterator[str]:
        Remote.asked += 1
        return iter(["a"])

    def __len__(self) -> int:
        return 1


class Point(NamedTuple):
    x: float
    y: float


REFUSED: list[tuple[Any, str]] = [
    (NAN, "data is nan"),
    ({"a": INF}, "data.a is inf"),
    ({"a": -INF}, "data.a is -inf"),
    ({"frames": [1.0, 2, {"x": [NAN]}]}, "data.frames[2].x[0] is nan"),
    ({"a b": (1, NAN)}, "data['a b'][1] is nan"),
    ({"a": Numpy64("nan")}, "data.a is nan"),
    ({"a": Decimal("NaN")}, "data.a is NaN"),
    ({"a": Decimal("-Infinity")}, "data.a is -Infinity"),
    ({"a": {NAN: 1}}, "data.a (a key) is nan"),
    ({"a": Odd.NAN}, "data.a is"),
    ({"a": Shot([NAN])}, "data.a.frames[0] is nan"),
    ({"a": Packed([NAN])}, "data.a.frames[0] is nan"),
    ({"a": Point(1, NAN)}, "data.a[1] is nan"),
    ({"a": {NAN}}, "data.a[0] is nan"),
    ({"a": deque([NAN])}, "data.a[0] is nan"),
    (OrderedDict(a=OrderedDict(b=NAN)), "data.a.b is nan"),
]


@pytest.mark.parametrize(("data", "where"), REFUSED, ids=[where for _, where in REFUSED])
def test_every_way_to_send_refuses_it_and_names_the_path(data: Any, where: str) -> None:
    async def run(hub: EventHub) -> None:
        for send in (hub.apublish, lambda event: hub.ask(event, 1)):
            with pytest.raises(EventError) as caught:
                await send(Event("a", data=data))
            assert where in str(caught.value)

    with EventHub() as hub, hub.start():
        for send in (hub.publish, hub.forward, lambda event: hub.request(event, 1).run()):
            with pytest.raises(EventError) as caught:
                send(Event("a", data=data))
            assert where in str(caught.value) and "a cannot be sent" in str(caught.value)
        with pytest.raises(EventError):
            hub.publish_reply(Event("a", source={"id": "x"}), data)
        asyncio.run(run(hub))


@pytest.mark.parametrize("url", ["memory://", "http://127.0.0.1:1", "nats://127.0.0.1:1"])
@pytest.mark.parametrize("fields", [{"data": {"a": NAN}}, {"source": {"a": NAN}}, {"sent": NAN}])
def test_every_transport_refuses_it_alike(url: str, fields: dict[str, Any]) -> None:
    with EventHub(url) as hub, hub.start():
        hub.init_connection()
        with pytest.raises(EventError, match=r"is nan, which JSON cannot express"):
            hub.publish(Event("a", **fields))


@pytest.mark.parametrize("url", ["memory://", "http://127.0.0.1:1", "nats://127.0.0.1:1"])
@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ({"version": NAN}, "version is nan"),
        ({"a": {"b": [1.0, INF]}}, "a.b[1] is inf"),
        ({"id": NAN}, "id is nan"),
        (UserDict(version=NAN), "version is nan"),
    ],
)
def test_every_transport_refuses_it_in_metadata_of_subscribers(url: str, metadata: Any, where: str) -> None:
    with EventHub(url) as hub:
        with pytest.raises(EventError) as caught:
            hub.subscribe("topic=a", print, metadata)
        assert f"metadata cannot be sent: {where}, which JSON" in str(caught.value)
        with pytest.raises(EventError), hub.subscription("topic=a", print, metadata):
            pass
        assert hub.subscribe("topic=a", print, {"version": 1.5, "tool": object()})


def test_a_timeout_that_is_not_a_number_is_refused() -> None:
    with EventHub() as hub, hub.start():
        with pytest.raises(ValueError, match="number of seconds, but nan"):
            hub.request(Event("a"), NAN)
        with pytest.raises(ValueError, match="number of seconds, but nan"):
            asyncio.run(hub.ask(Event("a"), NAN))


def test_an_automatic_reply_that_cannot_be_sent_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with EventHub() as hub:
            hub.subscribe("topic=a", lambda _: {"mean": NAN})
            with pytest.raises(NoReply):
                await hub.ask(Event("a"), 0.1)

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "data.mean is nan" in caplog.text


def test_a_synchronous_event_is_not_sent_and_may_hold_anything() -> None:
    with EventHub() as hub:
        hub.subscribe("topic=a", lambda event: event.data)
        (data,) = hub.publish(Event("a", data={"a": NAN}), synchronous=True) or []
        assert non_finite(data)


@pytest.mark.parametrize(
    "data",
    [
        {"a": 1e308, "b": -0.0, "c": 10**400, "d": None, "e": "nan", "f": b"", "g": True},
        {"a": Decimal("1.5"), "b": Fraction(1, 3), "c": object(), "d": {1: 2}},
    ],
)
def test_everything_else_passes(data: Any) -> None:
    assert not non_finite(data)


def test_a_structure_that_contains_itself_ends() -> None:
    ring: dict[str, Any] = {"a": [OrderedDict()]}
    ring["a"][0]["ring"] = ring
    assert not non_finite(ring)
    ring["a"].append(NAN)
    assert non_finite(ring) == "a[1] is nan"


def test_a_mapping_of_an_own_class_is_read_only_where_it_is_written() -> None:
    Remote.asked = 0
    with EventHub() as hub, hub.start():
        hub.publish(Event("a", data={"entity": Remote()}))
    assert Remote.asked == 0
    for mapping in (Remote(), UserDict(a=NAN)):
        with pytest.raises(EventError, match="a is nan"):
            write_event(Event("a", data={"entity": mapping}))
