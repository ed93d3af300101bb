"""Reading, counting and converting files of events, beside the libraries that do the work."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import polars as pl

from rxhub import read_events
from tests.benchmarks.measure import Loop, Row, at_most, compare

__all__ = ["run"]

_SAMPLES = Path(__file__).parent.parent / "data" / "events.jsonl"
_COPIES = 100  # 100,000 events
_ROUNDS = 5


def run() -> list[Row]:
    """A file of 100,000 events, 180 MB."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(_SAMPLES.read_bytes() * _COPIES)
        count = _COPIES * 1_000
        events = read_events(path, progress=False)
        reading = Loop("for _ in events: pass", per=count, events=events)
        decoding = Loop("for line in path.open('rb'): decode(line)", per=count, path=path, decode=msgspec.json.decode)
        keys = Loop("events.keys()", per=count, events=events)
        rows = [
            compare("read_events", reading, decoding, at_most(1.5), peer_name="msgspec.json.decode", rounds=_ROUNDS),
            compare("keys()", keys, reading, at_most(2), peer_name="a loop over them", rounds=_ROUNDS),
        ]
        decoded = list(events)
        wire: list[dict[str, Any]] = [event.to_wire() for event in decoded]
    memory = read_events(decoded)
    ours = Loop("events.to_polars()", per=count, events=memory)
    theirs = Loop("normalize(wire, infer_schema_length=None)", per=count, normalize=pl.json_normalize, wire=wire)
    return [*rows, compare("to_polars()", ours, theirs, at_most(1), peer_name="polars.json_normalize", rounds=3)]


if __name__ == "__main__":
    from tests.benchmarks.measure import table

    print(table(run()))
