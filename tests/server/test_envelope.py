"""The envelope of an event, and rejected events that a client could not parse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxhub.errors import EventError
from rxhub.event import Event
from rxhub.server.envelope import MAX_DEPTH, Envelope, decode_all, read

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
events = st.fixed_dictionaries(
    {"topic": st.text()},
    optional={
        "id": st.none() | st.text(),
        "data": values,
        "target": st.none() | st.text(),
        "source": st.none() | st.dictionaries(st.text(max_size=5), values, max_size=3),
        "sent": values,
        "inReplyToEvent": st.none() | st.text(),
        "applicationId": values,
    },
)


def text_of(event: Any, **options: Any) -> str:
    return json.dumps({"name": "ftrack.event", "args": [event]}, **options)


def with_data(data: str) -> str:
    return f'{{"name":"ftrack.event","args":[{{"topic":"a","data":{data}}}]}}'


def without_surrogates(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(events.filter(without_surrogates), st.booleans())
def test_what_json_writes_is_read_and_subscriptions_see_it_as_in_a_hub(event: dict[str, Any], ascii: bool) -> None:
    text = text_of(event, ensure_ascii=ascii)
    envelope = read(text)
    hub = Event.from_wire(event)
    seen = envelope.candidate()
    assert all(seen[key] == hub._fields[key] for key in seen)
    try:
        whole = decode_all(text)
    except EventError:  # an integer beyond what a double holds
        return
    assert whole == hub._fields


fragments = st.lists(
    st.sampled_from(
        [
            *("{", "}", "[", "]", "]}", '"', "\\", ",", ":", "1", "0", "-", ".", "e5", "1e400", "NaN", "true", "null"),
            *('{"name":"ftrack.event","args":[', '{"topic":"a"', ',"data":', '"topic":"b"', '"x"'),
            *("\\ud800", "\\u00e9", "é", "\x00", "\n", " "),
        ]
    ),
    max_size=20,
).map("".join)
around = st.builds(lambda data: with_data(data), fragments)


@given(fragments | around | st.text())
@example(with_data('"\ud7ff"'))
@example('{"name":"ftrack.event","args":[{"topic":"a","topic":"b"}],"args":[{"topic":"c"}]}')
def test_what_is_let_pass_every_client_reads_as_the_server_does(text: str) -> None:
    try:
        envelope = read(text)
    except EventError:
        return
    payload = json.loads(text, parse_constant=pytest.fail)
    assert payload["name"] == "ftrack.event"
    (event,) = payload["args"]
    assert event["topic"] == envelope.topic
    assert event.get("target") == envelope.target
    text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "[]",
        "{}",
        '{"name":"ftrack.event"}',
        '{"name":"ftrack.event","args":[]}',
        '{"name":"ftrack.event","args":[{"topic":"a"},{"topic":"b"}]}',
        '{"name":"other","args":[{"topic":"a"}]}',
        '{"name":"ftrack.event","args":[{}]}',
        '{"name":"ftrack.event","args":[{"topic":5}]}',
        '{"name":"ftrack.event","args":[{"topic":"a","source":5}]}',
        '{"name":"ftrack.event","args":[{"topic":"a","target":{}}]}',
        with_data('"\\ud800"'),
        with_data("NaN"),
        with_data("1" * 4_301),
        with_data("[" * 200_000 + "]" * 200_000),
    ],
)
def test_anything_else_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(EventError, match=r"\w+ \w+"):
        read(text)


@given(st.integers(0, 5_000), st.integers(0, 3_000))
def test_a_number_python_cannot_read_is_found_wherever_it_stands(before: int, digits: int) -> None:
    with pytest.raises(EventError, match="digits"):
        read(with_data(f'["{"x" * before}",{"7" * (4_301 + digits)}]'))


def test_numbers_that_nearly_are_too_long_are_passed_over_once() -> None:
    # A search that began again at each of their digits would take hours here, and seconds for what fits an event.
    assert read(with_data("[" + f"{'7' * 4_299}," * 10_000 + "7]")).topic == "a"


def test_only_data_may_be_large() -> None:
    large = '{"name":"ftrack.event","args":[{"topic":"a","%s":["' + "x" * 20_000 + '"]}]}'
    assert read(large % "data").topic == "a"
    for field in ("sent", "anything"):
        with pytest.raises(EventError, match="other than data"):
            read(large % field)


def nested(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(nested, value.values()), default=0)
    return 1 + max(map(nested, value), default=0) if isinstance(value, list) else 0


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.text(st.sampled_from('[]{}"\\, x'), max_size=30),
    st.lists(st.builds(dict), max_size=80),
)
def test_depth_is_that_of_brackets_outside_texts(lists: int, objects: int, text: str, wide: list[Any]) -> None:
    data: Any = [text, wide, {text: text}]
    for _ in range(lists):
        data = [text, data]
    for _ in range(objects):
        data = {text: data}
    event = {"topic": "a", "data": data}
    is_deep = nested({"name": "", "args": [event]}) > MAX_DEPTH
    try:
        read(text_of(event))
    except EventError as error:
        assert "levels" in str(error)
        assert is_deep
    else:
        assert not is_deep


def test_data_is_left_as_it_came() -> None:
    envelope = read(with_data('{ "b": 1.50, "b": 2 }'))
    assert isinstance(envelope, Envelope)
    assert bytes(envelope.data) == b'{ "b": 1.50, "b": 2 }'


def test_a_number_that_is_out_of_range_is_refused_where_data_is_looked_into() -> None:
    text = with_data("1e400")
    read(text)
    with pytest.raises(EventError, match="range"):
        decode_all(text)
