"""Frames have the cells of pandas' and polars' own normalisation, and accept values that those do not."""

from __future__ import annotations

from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event, EventHub, read_events, sample_events, write_events
from rxhub.embedded import store
from rxhub.errors import EventError
from rxhub.exploration import columns
from rxhub.testing import Recording

EVENTS = Path(__file__).parents[1] / "data" / "events.jsonl"
typed = {
    "a": st.none() | st.integers(-(2**53), 2**53),
    "b": st.none() | st.text(max_size=3),
    "c": st.none() | st.booleans(),
    "d": st.none() | st.floats(allow_nan=False),
    "e": st.none() | st.lists(st.integers(0, 9), max_size=3),
}
level = st.fixed_dictionaries({}, optional=typed)
regular = st.builds(lambda outer, inner: {**outer, **({"in": inner} if inner else {})}, level, level)


def made(data: list[Any]) -> list[Event]:
    return [Event("t", str(number), each) for number, each in enumerate(data)]


def cells(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without missing cells."""
    return [
        {
            name: value
            for name, value in row.items()
            if not (value is None or (isinstance(value, float) and value != value))
        }
        for row in rows
    ]


@given(st.lists(regular, min_size=1, max_size=6))
def test_cells_are_those_of_pandas_and_polars(data: list[dict[str, Any]]) -> None:
    events = made(data)
    ours = cells(read_events(events).to_arrow().to_pylist())
    wire = [dict(event) for event in events]
    assert ours == cells(pd.json_normalize(wire).astype(object).to_dict("records"))
    assert ours == cells(pl.json_normalize(wire, infer_schema_length=None).to_dicts())
    assert ours == cells(read_events(events).to_polars().to_dicts())


@given(st.lists(regular, min_size=1, max_size=9), st.integers(1, 4))
def test_batches_are_parts_of_the_table(data: list[dict[str, Any]], size: int) -> None:
    events = read_events(made(data))
    whole = events.to_arrow()
    reader = events.to_batches(size)
    parts = [*reader]
    assert all(part.num_rows <= size for part in parts)
    table = pa.Table.from_batches(parts, reader.schema)
    assert table.select(whole.column_names).equals(whole) and len(reader.schema) == len(whole.schema)


def test_a_large_file_has_the_same_cells_in_all_frames() -> None:
    events = read_events(EVENTS)
    table = events.to_arrow()
    assert table.column_names[:3] == ["topic", "id", "sent"] and table.num_rows == 1_000
    pandas = events.to_pandas()
    assert pandas["data.job"].dtype == "int64[pyarrow]" and pandas["data.job"].count() == 181
    assert cells(events.to_polars().to_dicts()) == cells(table.to_pylist())
    assert events.to_batches(300).read_all().select(table.column_names).equals(table)


def test_items_of_a_list_get_rows_of_their_own() -> None:
    data = [{"x": [{"n": 1}, {"n": 2}], "same": 1}, {"x": []}, {"x": 5}, {}]
    frame = read_events(made(data)).to_arrow(explode="data.x")
    assert cells(frame.select(["id", "data.x.n", "data.x", "data.same"]).to_pylist()) == [
        {"id": "0", "data.x.n": 1, "data.same": 1},
        {"id": "0", "data.x.n": 2, "data.same": 1},
        {"id": "1"},
        {"id": "2", "data.x": 5},
        {"id": "3"},
    ]
    expected = sum(max(1, len(event.data.get("entities", []))) for event in sample_events())
    assert sample_events().to_arrow(explode="data.entities").num_rows == expected


def test_data_is_kept_as_json() -> None:
    frame = read_events(made([{"a": {"b": [1, "x"]}}])).to_arrow(flatten=False)
    assert frame["data"].to_pylist() == ['{"a":{"b":[1,"x"]}}']


def test_times_are_timestamps_if_all_are_times() -> None:
    sent = ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00.5+02:00", None]
    frame = read_events([Event("t", sent=each) for each in sent]).to_arrow()
    assert frame["sent"].to_pylist()[1] == datetime(2026, 1, 1, 10, 0, 0, 500_000, UTC)
    for other in ("yesterday", "2026-01-01T12:00:00", "9999-12-31T23:59:59-23:00"):
        events = read_events([Event("t", sent=each) for each in (*sent, other)])
        assert events.to_arrow()["sent"].to_pylist() == [*sent, other]
        assert events.to_batches(1).read_all()["sent"].to_pylist()[-1] == other


def test_values_of_several_types_become_text() -> None:
    data = [{"x": value} for value in (1, "a", True, None, [1, "b"], 1.5)]
    for frame in (read_events(made(data)).to_arrow(), read_events(made(data)).to_batches(1).read_all()):
        assert frame["data.x"].to_pylist() == ["1", "a", "true", None, '[1,"b"]', "1.5"]


def test_hostile_values_are_converted() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop

    class Raising:
        def __repr__(self) -> str:
            raise LookupError

    data = [
        {"big": 2**70, "surrogate": "\ud800", "nan": nan, "a.b": 1, "a": {"b": 2}, "": 0, "mixed": [1, "x", {}]},
        {"object": Raising(), "loop": loop, 3: 4, "structs": [{"a": 1}, {"a": "x"}], "bytes": b"\xff", "tuple": (1, 2)},
    ]
    frame = read_events(made(data)).to_polars()
    first, second = frame.to_dicts()
    assert first["data.big"] == str(2**70) and first["data.surrogate"] == "?" and first["data.nan"] != first["data.nan"]
    assert (first['data."a.b"'], first["data.a.b"], first['data.""']) == (1, 2, 0)
    assert first["data.mixed"] == '[1,"x",{}]' and second["data.3"] == 4
    assert second["data.structs"] == '[{"a":1},{"a":"x"}]' and second["data.tuple"] == [1, 2]
    assert read_events(made(data)).to_pandas().shape == frame.shape


def test_too_many_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MAX_COLUMNS", 20)
    events = read_events(made([{str(number): number} for number in range(30)]))
    with pytest.raises(EventError, match="flatten=False"):
        events.to_arrow()
    assert events.to_arrow(flatten=False).num_rows == 30


def test_batches_need_a_source_that_can_be_read_twice() -> None:
    with pytest.raises(RuntimeError, match="only once"):
        read_events(iter([Event("t")])).to_batches()


def test_no_events_give_an_empty_frame() -> None:
    assert read_events([]).to_arrow().shape == read_events([]).to_polars().shape == (0, 0)
    assert [*read_events([]).to_batches()] == []


def test_a_recording_has_its_times() -> None:
    frame = Recording([(0.5, Event("a")), (2.0, Event("b"))]).to_arrow()
    assert frame["recorded"].to_pylist() == [0.5, 2.0] and frame["topic"].to_pylist() == ["a", "b"]


def test_a_replay_has_the_positions_of_the_stream(tmp_path: Path) -> None:
    with store(tmp_path / "store") as server, EventHub(server.url, server.user, server.password, stream="s") as hub:
        hub.connect()
        hub.start()
        for number in range(3):
            hub.publish(Event("t", data={"n": number})).result(10)
        replay = hub.replay("topic=t and data.n > 0")
        frame = replay.to_arrow()
        assert frame["position.sequence"].to_pylist() == [2, 3] and frame["data.n"].to_pylist() == [1, 2]
        assert frame["position.time"].type == pa.timestamp("us", "UTC")
        assert [event.data["n"] for event in replay.to_list().run()] == [1, 2]
        # The same columns as those of a file with positions.
        path = write_events(tmp_path / "e.jsonl", replay.rows())
        assert read_events(path).to_arrow()["position.time"].to_pylist() == frame["position.time"].to_pylist()
