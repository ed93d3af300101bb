"""The JSON inside packets: events, answers, limits."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event
from rxhub.errors import EventError, ProtocolError
from rxhub.transport.json_payload import Payload, check_depth, read_answer, read_event, write_event, write_json
from rxhub.transport.socketio.packet import event

EVENTS = Path(__file__).parents[1] / "data" / "events.jsonl"
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(), values, st.dictionaries(st.text(), values, max_size=3), st.none() | st.text())
def test_an_event_goes_over_the_wire(topic: str, data: Any, source: dict[str, Any], reply: str | None) -> None:
    sent = Event(topic, data=data, source=source, in_reply_to_event=reply)
    received = read_event(event(write_event(sent)).data)
    assert received == sent and received is not sent


@given(values)
def test_json_means_the_same_to_others(value: Any) -> None:
    assert json.loads(write_json(value)) == value


def test_real_events_go_over_the_wire() -> None:
    for line in EVENTS.read_text().splitlines():
        payload = json.loads(line)
        received = read_event(event(line).data)
        assert received is not None and received == Event.from_wire(payload)
        assert json.loads(write_event(received)).items() >= {k: v for k, v in payload.items() if v is not None}.items()


def test_mappings_of_other_classes_are_objects() -> None:
    inner = Event("b", id="1")
    assert json.loads(write_json(MappingProxyType({"a": inner})))["a"]["inReplyToEvent"] is None


@pytest.mark.parametrize("value", [object(), "\ud800", {None: 1}, print])
def test_what_is_no_json_is_refused_with_a_way_out(value: Any) -> None:
    with pytest.raises(EventError, match=r"studio\.a cannot be sent.*synchronous=True"):
        write_event(Event("studio.a", data={"x": value}))


def test_a_value_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(EventError):
        write_event(Event("a", data=endless))


@pytest.mark.parametrize("args", ["[]", "[1]", "[{},{}]", "[null]", '["a"]'])
def test_what_is_not_one_event_is_none(args: str) -> None:
    assert read_event(f'{{"name":"ftrack.event","args":{args}}}') is None
    assert read_event('{"name":"ftrack.event"}') is None


@pytest.mark.parametrize(
    "data", ["", "x", "{}", "[]", '{"name":1}', '{"name":"a","args":{}}', '{"name":"a","args":[NaN]}', '"\ud800"',
             '{"name":"a","args":[1e400]}', '{"name":"a"', '{"name":"a","args":[{"topic":"\\ud800"}]}'],
)  # fmt: skip
def test_malformed_payloads(data: str) -> None:
    with pytest.raises(ProtocolError, match="Malformed JSON"):
        read_event(data)


def test_an_event_without_a_topic() -> None:
    with pytest.raises(EventError, match="topic"):
        read_event('{"name":"ftrack.event","args":[{}]}')


def test_answers() -> None:
    assert read_answer('[{"success":false,"message":"no"}]') == {"success": False, "message": "no"}
    for nothing in ("", "[]", "[1]", "{}", "null"):
        assert read_answer(nothing) == {}
    with pytest.raises(ProtocolError):
        read_answer("[{")


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_how_deep_a_payload_may_be() -> None:
    check_depth(nested(64))
    check_depth("[" + ",".join(["[]"] * 1000) + "]")
    check_depth(json.dumps(['"[{\\' * 100, "[" * 100]))
    for deep in (nested(65), '{"a":' * 65, "[" * 100_000, '["\\"",' + nested(70)):
        with pytest.raises(ProtocolError, match="64 levels"):
            check_depth(deep)


@given(values)
def test_depth_is_that_of_the_value(value: Any) -> None:
    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    text, levels = json.dumps(value), depth(value)
    check_depth(text, levels)
    if levels:
        with pytest.raises(ProtocolError):
            check_depth(text, levels - 1)


def test_a_server_reads_its_own_envelope() -> None:
    class Envelope(msgspec.Struct):
        topic: str
        data: msgspec.Raw

    read = msgspec.json.decode(event('{"topic":"a","data":{"n": [1]}}').data, type=Payload[Envelope])
    assert read.args[0].topic == "a" and bytes(read.args[0].data) == b'{"n": [1]}'
