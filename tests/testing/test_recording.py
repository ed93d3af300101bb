"""Record and replay the events of a hub."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops

from rxhub import Event
from rxhub.errors import EventError
from rxhub.exploration.jsonl import read_lines
from rxhub.testing import Recording, VirtualHub, record, virtual_hub
from rxhub.testing.strategies import event_streams

DATA = Path(__file__).parent.parent / "data" / "events.jsonl"


def test_a_recording_keeps_events_and_times(hub: VirtualHub, recorder: Recording) -> None:
    hub.publish(Event("a", data={"n": 1}))
    hub.advance(2.5)
    hub.publish(Event("b"))
    hub.advance(0)
    assert [(seconds, event.topic) for seconds, event in recorder] == [(0.0, "a"), (2.5, "b")]
    assert repr(recorder) == "<Recording of 2 events in 2.5 s>"


def test_it_keeps_what_came_and_not_what_callbacks_made_of_it(hub: VirtualHub, recorder: Recording) -> None:
    hub.subscribe("topic=a", lambda event: event.data.update(n=2))
    hub.publish(Event("a", data={"n": 1}))
    hub.advance(0)
    assert recorder.events[0].data == {"n": 1}


def test_secrets_are_not_recorded(hub: VirtualHub, recorder: Recording) -> None:
    hub.publish(Event("a", data={"user": {"apiKey": "geheim", "name": "jane"}}))
    hub.advance(0)
    assert "geheim" not in str(recorder.events[0])
    assert recorder.events[0].data["user"]["name"] == "jane"


def test_it_takes_what_a_subscription_matches_and_ends_with_its_block(hub: VirtualHub) -> None:
    with record(hub, "topic=studio.*") as recording:
        for topic in ("studio.render.failed", "ftrack.update"):
            hub.publish(Event(topic))
        hub.advance(0)
    hub.publish(Event("studio.late"))
    hub.advance(0)
    assert [event.topic for event in recording.events] == ["studio.render.failed"]


def test_a_full_recording_drops_the_oldest_and_counts() -> None:
    recording = Recording([(float(n), Event(str(n))) for n in range(5)], capacity=2)
    assert [event.topic for event in recording.events] == ["3", "4"]
    assert recording.dropped == 3
    with pytest.raises(ValueError, match="at least 1"):
        Recording(capacity=0)


@given(event_streams())
def test_what_is_replayed_comes_at_its_time(recording: Recording) -> None:
    with virtual_hub() as hub, record(hub) as again:
        recording.replay().subscribe(hub.publish, scheduler=hub.scheduler)
        hub.advance(recording.duration)
    # The hub fills in where an event comes from, and no token is recorded.
    assert [(seconds, event.id) for seconds, event in again] == [(seconds, event.id) for seconds, event in recording]


def test_without_a_scheduler_a_replay_comes_at_once_and_leaves_the_recording_alone() -> None:
    recording = Recording.load(DATA)
    seen: list[Event] = []
    recording.replay().pipe(ops.do_action(lambda event: event.data.clear())).subscribe(seen.append)
    assert len(seen) == len(recording) == 1_000
    assert recording.events[0].data


def test_a_disposed_replay_stops(hub: VirtualHub) -> None:
    seen: list[Event] = []
    replay = Recording([(1.0, Event("a")), (2.0, Event("b"))]).replay(hub.scheduler).subscribe(seen.append)
    hub.advance(1)
    replay.dispose()
    hub.advance(9)
    assert [event.topic for event in seen] == ["a"]


@given(recording=event_streams(), blank=st.booleans())
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, recording: Recording, blank: bool) -> None:
    path = tmp_path_factory.mktemp("recording") / "events.jsonl"
    recording.save(path)
    if blank:
        path.write_bytes(b"\n" + path.read_bytes())
    assert Recording.load(path) == recording
    with path.open("rb") as file:
        assert all(line.fault == "" for line in read_lines(file))


def test_rxhub_filter_reads_a_recording(tmp_path: Path) -> None:
    recording = Recording([(0.5, Event("studio.render.failed")), (61.0, Event("studio.render.finished"))])
    recording.save(tmp_path / "run.jsonl")
    command = [sys.executable, "-m", "rxhub.cli", "filter", "recorded > 60", str(tmp_path / "run.jsonl")]
    found = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert found.count(b"\n") == 1
    assert b"studio.render.finished" in found
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "1 is not a recorded event"),
        (b'{"topic": 1}', "must be a string"),
        (b'{"topic": "a", "recorded": "now"}', "number of seconds"),
        (b'{"topic": "a", "recorded": true}', "number of seconds"),
        (b"[" * 100_000, "not a recorded event"),
        (b'{"topic": "\xff"}', "not a recorded event"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: bytes, reason: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(line + b"\n")
    with pytest.raises(EventError, match=reason):
        Recording.load(tmp_path / "a.jsonl")


def test_in_a_notebook_it_is_a_marble_diagram():
    recording = Recording([(0.0, Event("studio.a")), (1.5, Event("studio.b")), (2.0, Event("studio.a"))])
    shown = recording._repr_mimebundle_()
    assert "3 events" in shown["text/plain"]
    assert "studio.a" in shown["text/plain"]
    assert "<svg" in shown["text/html"]
