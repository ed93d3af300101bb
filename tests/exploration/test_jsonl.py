"""Whatever bytes a stream holds, each line becomes a candidate or a fault."""

from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from rxhub.exploration.jsonl import parse_candidate, read_document, read_lines

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_candidate_or_a_fault_for_each_line_that_is_not_blank(data: bytes) -> None:
    found = list(read_lines(io.BytesIO(data), max_bytes=50))
    numbered = [(n, raw) for n, raw in enumerate(data.split(b"\n"), 1) if raw and not raw.isspace()]
    assert [line.number for line in found] == [n for n, _ in numbered]
    for line, (_, raw) in zip(found, numbered, strict=True):
        assert (line.candidate is None) == bool(line.fault)
        assert line.raw.rstrip(b"\n") == raw or line.fault.startswith("longer than")


@given(st.dictionaries(st.text().filter(lambda key: key != "topic"), json_values, max_size=5))
def test_an_object_without_a_topic_is_the_candidate_itself(payload: dict[str, object]) -> None:
    raw = json.dumps(payload, ensure_ascii=False).encode()
    assert parse_candidate(raw) == (payload, "")


@given(st.dictionaries(st.text(), json_values, max_size=5), st.sampled_from([None, 2]))
def test_a_document_is_found_on_one_line_and_on_many(payload: dict[str, object], indent: int | None) -> None:
    text = json.dumps(payload, indent=indent)
    found = read_document(io.BytesIO(text.encode()))
    assert found.candidate is not None
    assert all(found.candidate[key] == value for key, value in payload.items() if key != "inReplyToEvent") or (
        isinstance(payload.get("topic"), str)
    )


def test_a_document_of_many_lines_is_read_from_the_first_that_is_not_blank() -> None:
    found = read_document(io.BytesIO(b'\n\n{"a":1}\n{"b":2}\n'))
    assert found.candidate == {"a": 1}
    assert read_document(io.BytesIO(b'\xef\xbb\xbf{\n"a":1}')).candidate == {"a": 1}


def test_a_document_without_an_event_says_so() -> None:
    assert read_document(io.BytesIO(b"")).fault == "the input is empty"
    assert read_document(io.BytesIO(b"\n \n")).fault == "the input is empty"
    assert read_document(io.BytesIO(b"[\n{}]")).fault == "not an event: Expected `object`, got `array`"
    assert (
        "no event of at most 20 bytes" in read_document(io.BytesIO(b'{\n"a":"' + b"x" * 50 + b'"}'), max_bytes=20).fault
    )
    endless = io.BytesIO(b"\n" * 100_000)
    assert read_document(endless, max_bytes=20).fault == "the input is empty"
