"""`read_events` reads what `write_events` and other programs write, and says what it skipped."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import operators as ops

import rxhub
from rxhub import Event, read_events, sample_events, write_events
from rxhub.exploration import Events, UnreadableInput
from rxhub.web.cloudevents import from_structured

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

EVENTS = Path(__file__).parents[1] / "data" / "events.jsonl"
FORMATS = ("e.jsonl", "e.json", "e.jsonl.gz", "e.json.gz", "e.jsonl.zst", "e.json.zst", "e.log")
hostile_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | hostile_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile_text, inner, max_size=3),
    max_leaves=10,
)
any_events = st.builds(
    Event,
    hostile_text,
    hostile_text.filter(bool),
    data=json_values,
    sent=st.none() | hostile_text,
    source=st.none() | st.dictionaries(hostile_text, json_values, max_size=2),
    target=hostile_text,
    in_reply_to_event=st.none() | hostile_text,
)


@pytest.mark.parametrize("name", FORMATS)
@given(written=st.lists(any_events | st.from_type(Event), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_written_events_are_read_again(tmp_path: Path, name: str, written: list[Event]) -> None:
    path = write_events(tmp_path / name, written)
    assert list(read_events(path)) == written
    with path.open("rb") as file:
        assert list(read_events(file)) == written
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_can_be_replaced_by_a_part_of_it(tmp_path: Path) -> None:
    path = write_events(tmp_path / "e.jsonl", sample_events())
    write_events(path, read_events(path).where("topic=ftrack.update"))
    assert read_events(path).topics() == {"ftrack.update": 43}


def test_an_error_while_writing_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = write_events(tmp_path / "e.jsonl", [Event("a")])

    def failing() -> Iterator[Event]:
        yield Event("b")
        raise LookupError

    with pytest.raises(LookupError):
        write_events(path, failing())
    assert read_events(path).topics() == {"a": 1}
    assert [*tmp_path.iterdir()] == [path]


def test_values_that_json_lacks_are_written_as_text(tmp_path: Path) -> None:
    path = write_events(tmp_path / "e.jsonl", [Event("a", data={"x": object, "inf": float("inf"), "ok": 1})])
    (event,) = read_events(path)
    assert event.data == {"x": "<class 'object'>", "inf": "inf", "ok": 1}


def test_iterables_of_events_mappings_and_lines_are_read() -> None:
    items = [Event("a"), {"topic": "b"}, b'{"topic":"c"}', '{"topic":"d"}\n']
    assert [event.topic for event in read_events(items)] == ["a", "b", "c", "d"]
    assert [event.topic for event in read_events(io.StringIO('{"topic":"ä"}\n{"topic":"b"}'))] == ["ä", "b"]
    assert [event.topic for event in read_events(iter(items)).where("topic in (a, d)")] == ["a", "d"]
    assert [event.topic for event in read_events(read_events(items))] == ["a", "b", "c", "d"]


def test_an_iterator_is_read_once() -> None:
    events = read_events(iter([{"topic": "a"}]))
    assert len(list(events)) == 1
    with pytest.raises(RuntimeError, match="only once"):
        list(events)


@pytest.mark.parametrize("bad", [b"{}", 3, None, object])
def test_a_source_that_cannot_contain_events_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match="path, a URL, a file or an iterable"):
        read_events(bad)


def test_a_missing_file_is_reported_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_events(tmp_path / "none.jsonl")


def test_invalid_lines_are_skipped_counted_and_logged_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"topic":"a"}\n\nno\n{"x":1}\n[1]\n\xff\n{"topic":"b"}\n' + b"?\n" * 20)
    events = read_events(path)
    with caplog.at_level(logging.WARNING, "rxhub"):
        for _ in range(2):
            assert [event.topic for event in events] == ["a", "b"]
            assert events.invalid == 24
            assert [item.number for item in events.invalid_items] == [3, 4, 5, 6, 8, 9, 10, 11, 12, 13]
    (record,) = caplog.records
    assert f"Skipped 24 invalid events of {path}: 3: not JSON" in record.getMessage()
    assert "14 more" in record.getMessage()
    page = events._repr_mimebundle_()["text/plain"]
    assert "skipped 3: not JSON" in page


@pytest.mark.parametrize(
    ("text", "topics", "numbers"),
    [
        (b"[]", [], []),
        (b'\xef\xbb\xbf \n[{"topic":"a"}, {"topic":"b"}\n]\n', ["a", "b"], []),
        (b'[{"topic":"]","data":"\\"]["},{"topic":"b"}]', ["]", "b"], []),
        (b'[{"topic":"a"},{"topic":},[1],3,,"x",{"topic":"b"}]', ["a", "b"], [2, 3, 4, 5, 6]),
        (b'[{"topic":"a"},]', ["a"], []),
    ],
)
def test_elements_of_an_array_are_read_one_by_one(
    tmp_path: Path, text: bytes, topics: list[str], numbers: list[int]
) -> None:
    path = tmp_path / "e.json"
    path.write_bytes(text)
    events = read_events(path)
    assert [event.topic for event in events] == topics
    assert [item.number for item in events.invalid_items] == numbers


def test_a_truncated_array_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_bytes(b'[{"topic":"a"},{"topic":"b"')
    events = iter(read_events(path))
    assert next(events).topic == "a"
    with pytest.raises(UnreadableInput, match="truncated after element 1"):
        next(events)


@pytest.mark.parametrize(
    ("tail", "fault"),
    [
        ("] []", "text follows the end of the array, perhaps another array"),
        ("]" + " \n" * 200_000 + "x", "text follows the end of the array"),
        (",{]},1]", "unexpected } after element 1"),
    ],
)
def test_what_follows_an_array_is_not_lost_silently(tmp_path: Path, tail: str, fault: str) -> None:
    path = tmp_path / "events.json"
    path.write_text('[{"topic": "a"}' + tail)
    events = iter(read_events(path))
    assert next(events).topic == "a"
    with pytest.raises(UnreadableInput, match=fault):
        list(events)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_one_event_on_several_lines_is_read(tmp_path: Path, newline: str) -> None:
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"topic": "a", "data": {"x": [1, 2]}}, indent=2), newline=newline)
    (event,) = read_events(path)
    assert event.data == {"x": [1, 2]}


LINE = b'{"topic":"a"}\n'


@pytest.mark.parametrize(
    ("data", "count", "invalid"),
    [
        (LINE.replace(b"\n", b"\r\n") * 2, 2, 0),
        (b'{"topic":"a","data":NaN}\n{"topic":"a","data":1e999}\n' + LINE, 1, 2),
        (b'{"topic":"a","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n" + LINE, 1, 1),
        (b'{"topic":"a","data":' + b"9" * 5_000 + b"}\n" + LINE, 1, 1),
        (b'{"topic":"' + b"x" * 9_000_000 + b'"}\n' + LINE, 1, 1),
        (gzip.compress(b'{"topic":"' + b"x" * 50_000_000 + b'"}\n' + LINE), 1, 1),
        (b"\0" * 100 + b"\n" + LINE, 1, 1),
        (LINE + LINE[:7], 1, 1),
        (gzip.compress(LINE) * 2, 2, 0),
    ],
    ids=["crlf", "nan", "deep", "digits", "long", "bomb", "zeros", "cut", "two members"],
)
def test_hostile_lines_do_not_hide_the_others(tmp_path: Path, data: bytes, count: int, invalid: int) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(data)
    events = read_events(path)
    assert sum(1 for _ in events) == count
    assert events.invalid == invalid


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ((LINE * 2).decode().encode("utf-16"), "UTF-16 text, which is not supported"),
        (gzip.compress(LINE)[:2], "the compressed data is truncated"),
        (gzip.compress(LINE) + b"garbage", "the compressed data is damaged"),
        (gzip.compress(b"[" + b" " * 50_000_000), "element 1 of the array is longer"),
    ],
    ids=["utf-16", "cut", "damaged", "bomb"],
)
def test_an_unreadable_file_is_an_error(tmp_path: Path, data: bytes, fault: str) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(data)
    with pytest.raises(UnreadableInput, match=fault):
        list(read_events(path))
    with pytest.raises(IsADirectoryError):
        list(read_events(tmp_path))


def test_a_file_that_grows_is_read_to_its_end_and_a_named_pipe_once(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(LINE * 3)
    events = iter(read_events(path))
    next(events)
    with path.open("ab") as file:
        file.write(LINE)
    assert len(list(events)) == 3
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(gzip.compress(LINE * 5),), daemon=True)
    writer.start()
    piped = read_events(pipe)
    assert len(list(piped)) == 5
    writer.join(10)
    with pytest.raises(RuntimeError, match="can be read only once"):
        list(piped)


def test_an_array_element_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_bytes(b'["' + b"x" * 5_000_000)
    with pytest.raises(UnreadableInput, match="element 1 of the array is longer"):
        list(read_events(path))


@given(st.lists(json_values, max_size=5), st.sampled_from([None, 1]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_array_is_split_as_json_splits_it(tmp_path: Path, values: list[Any], indent: int | None) -> None:
    path = tmp_path / "e.json"
    path.write_text(json.dumps([{"topic": "t", "data": value} for value in values], indent=indent))
    assert [event.data for event in read_events(path)] == [{} if value is None else value for value in values]


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_truncated_compressed_data_is_reported_after_the_events_before(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "e"
    data = compress(EVENTS.read_bytes())
    path.write_bytes(data[: len(data) * 2 // 3])
    events: list[Event] = []
    with pytest.raises(UnreadableInput, match="truncated"):
        events.extend(read_events(path))
    assert len(events) > 100


def test_cloudevents_are_read_with_their_attributes(tmp_path: Path) -> None:
    attributes = {
        "type": "com.x.done",
        "source": "/x",
        "id": "1",
        "subject": "s",
        "datacontenttype": "application/json",
    }
    made = CloudEvent({**attributes, "specversion": "1.0"}, {"shot": 3})
    lines = [
        JSONFormat().write(made),
        b'{"specversion":"1.0","type":"b","source":"/x","id":"2","data_base64":"AAE="}',
        b'{"specversion":"1.0","type":"b","source":"/x"}',
        b'{"specversion":"0.3","type":"b","source":"/x","id":"3"}',
    ]
    events = read_events(lines)
    first, second = events
    assert (first.topic, first.id, first.data) == ("com.x.done", "1", {"shot": 3})
    assert first.source["cloudevent"]["subject"] == "s"
    assert (second.data, second.source["cloudevent"]) == ("AAE=", {"source": "/x", "data_base64": True})
    assert [item.number for item in events.invalid_items] == [3, 4]
    path = tmp_path / "batch.json"
    path.write_bytes(b"[" + b",".join(lines) + b"]")
    assert list(read_events(path)) == [first, second]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"data": {"shot": 3}, "subject": "s", "time": "2026-03-01T12:00:00Z"},
        {"data_base64": "AAE="},
        {"data": None, "subject": None},
        {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "x=1", "baggage": "k=v", "data": [1]},
        {"traceparent": "invalid", "tracestate": "x=1"},
    ],
)
def test_a_cloudevent_becomes_the_event_that_a_server_makes_of_it(more: dict[str, Any]) -> None:
    line = json.dumps({"specversion": "1.0", "type": "a", "source": "/x", "id": "1"} | more)
    (event,) = read_events([line])
    assert event == Event.from_wire(json.loads(from_structured(line, {})[0]))


def test_a_cloudevent_with_two_kinds_of_data_is_invalid() -> None:
    line = '{"specversion":"1.0","type":"a","source":"/x","id":"1","data":1,"data_base64":"AAE="}'
    events = read_events([line])
    assert not list(events) and "either data or data_base64" in events.invalid_items[0].fault


def test_positions_of_stored_events_can_be_filtered() -> None:
    line = '{"topic":"a","position":{"sequence":7,"time":"2026-01-01T00:00:00.000000+00:00"}}'
    (event,) = read_events([line]).where("position.sequence > 6")
    assert event["position"]["sequence"] == 7


def test_head_closes_the_file() -> None:
    assert len(list(read_events(EVENTS).head(3))) == 3
    assert [event.topic for event in read_events(EVENTS).where("topic=studio.*").head(2)]
    descriptors = Path("/proc/self/fd")
    if descriptors.exists():
        assert EVENTS not in [link.readlink() for link in descriptors.iterdir() if link.exists()]


def test_memory_does_not_depend_on_the_size_of_the_file(tmp_path: Path) -> None:
    def peak(copies: int) -> int:
        path = tmp_path / "e.json"
        path.write_bytes(b"[" + b",".join(EVENTS.read_bytes().splitlines()[:300] * copies) + b"]")
        tracemalloc.start()
        try:
            assert sum(1 for _ in read_events(path)) == 300 * copies
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(4) < peak(1) + 500_000


def test_the_observable_reads_the_source_for_each_subscription() -> None:
    source = sample_events().where("topic=ftrack.update").to_observable()
    assert source.pipe(ops.count()).run() == source.pipe(ops.count()).run() == 43
    assert source.pipe(ops.take(2), ops.count()).run() == 2


async def _awaited(events: Events) -> Any:
    return await events.to_observable().pipe(ops.to_list())


def test_the_observable_can_be_awaited() -> None:
    import asyncio

    assert len(asyncio.run(_awaited(sample_events()))) == 160


def test_the_names_are_imported_on_first_use() -> None:
    assert rxhub.read_events is read_events
    with pytest.raises(AttributeError, match="read_event'"):
        rxhub.read_event  # type: ignore[attr-defined]


def test_displaying_reads_only_what_can_be_read_again() -> None:
    events = read_events(iter([Event("a")]))
    assert "head()" in events._repr_mimebundle_()["text/plain"]
    assert len(list(events)) == 1
    assert "studio.review.note" in sample_events()._repr_mimebundle_()["text/html"]
    hostile = read_events([Event("\u202e<script>", data={"password": "hunter2"})]).where("data.password=hunter2")
    page = hostile._repr_mimebundle_()
    for text in (*page.values(), repr(hostile)):
        assert "\u202e" not in text and "<script>" not in page["text/html"] and "hunter2" not in text


def test_topics_are_counted_the_most_frequent_first() -> None:
    topics = sample_events().topics()
    assert next(iter(topics)) == "ftrack.update" and topics["ftrack.update"] == 43
    assert str(topics).splitlines()[2].split()[:2] == ["43", "ftrack.update"]
