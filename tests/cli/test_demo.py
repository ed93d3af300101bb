"""The demo: what it tells is what the subscriptions say, in any terminal and without one."""

from __future__ import annotations

import json
import os
import pty
import re
import runpy
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex.scheduler import VirtualTimeScheduler
from rich.console import Console
from typer.testing import CliRunner, Result

from rxhub import Delivery, Event, EventHub, sample_events
from rxhub.cli.demo.command import command
from rxhub.cli.demo.studio import play, studio
from rxhub.cli.demo.view import Tally, View
from rxhub.expression import parse

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DEMO = [sys.executable, "-c", "import typer; from rxhub.cli.demo.command import command; typer.run(command)"]
COUNTS = re.compile(r"(\d+) of (\d+) events played, (\d+) more from callbacks; (\d+) delivered, (\d+) calls")

app = typer.Typer()
app.command()(command)


def samples() -> list[Event]:
    return list(sample_events())


def demo(*arguments: str | Path) -> Result:
    """Run the demo where stdout is no terminal."""
    return CliRunner().invoke(app, [*map(str, arguments)])


def played(events: list[Event]) -> tuple[Tally, list[Run]]:
    """Play the events as fast as possible: the tally, and all deliveries."""
    seen: list[Delivery] = []
    with EventHub() as hub:
        clock = VirtualTimeScheduler()
        tally = Tally(hub, studio(hub, clock), len(events))
        hub.deliveries.subscribe(seen.append)
        for tally.played in play(hub, events, 0, clock):
            pass
    return tally, [run(tally, delivery) for delivery in seen]


class Step(NamedTuple):
    name: str
    priority: float
    error: BaseException | None


class Run(NamedTuple):
    topic: str
    steps: list[Step]
    stopped_by: str


def run(tally: Tally, delivery: Delivery) -> Run:
    steps = [
        Step(tally.rows[outcome.subscriber.id].name, outcome.subscriber.priority, outcome.error) for outcome in delivery
    ]
    stopper = delivery.stopped_by
    return Run(delivery.event.topic, steps, "" if stopper is None else tally.rows[stopper.id].name)


@pytest.fixture(scope="module")
def shipped() -> tuple[Tally, list[Run]]:
    return played(samples())


# What the shipped events tell


def test_the_shipped_events_are_many_and_varied() -> None:
    topics = [event.topic for event in samples()]
    assert 120 <= len(topics) <= 200
    assert len(set(topics)) >= 12


def test_each_event_goes_to_whom_the_plain_trees_say_until_one_stops_it(
    shipped: tuple[Tally, list[Run]],
) -> None:
    tally, seen = shipped
    ranked = [(row.name, parse(row.subscription)) for row in tally.rows.values()]
    # What callbacks publish is told from the played events by topic; replies go where their target says.
    told = [one for one in seen if one.topic not in ("studio.render.started", "ftrack.meta.reply")]
    sent = [event for event in samples() if event.topic != "ftrack.meta.reply"]
    assert [one.topic for one in told] == [event.topic for event in sent]
    for one, event in zip(told, sent, strict=True):
        matching = [name for name, expression in ranked if expression.matches(event)] if not event.target else []
        if one.stopped_by:
            matching = matching[: matching.index(one.stopped_by) + 1]
        assert [step.name for step in one.steps] == matching


def test_lower_priorities_come_first(shipped: tuple[Tally, list[Run]]) -> None:
    for one in shipped[1]:
        priorities = [step.priority for step in one.steps]
        assert priorities == sorted(priorities)


def test_every_part_of_the_story_happens(shipped: tuple[Tally, list[Run]]) -> None:
    rows = {row.name: row for row in shipped[0].rows.values()}
    assert rows["quarantine"].stops == rows["quarantine"].calls > 10
    assert rows["retry"].stops == rows["retry"].calls > 3
    assert rows["launch"].replies == rows["launch"].calls > 3
    assert 1 < rows["thumbnail"].errors < rows["thumbnail"].calls
    assert rows["render"].calls > 3
    assert sum(row.errors for row in rows.values()) == rows["thumbnail"].errors


def test_a_callback_that_fails_keeps_the_event_from_nobody(shipped: tuple[Tally, list[Run]]) -> None:
    failed = [one for one in shipped[1] if any(step.error for step in one.steps)]
    assert failed
    for one in failed:
        assert [step.name for step in one.steps] == ["audit", "thumbnail", "notify", "farm"]


def test_a_stopped_event_does_not_reach_the_pipelines_either(shipped: tuple[Tally, list[Run]]) -> None:
    tally, seen = shipped
    failed = sum(event.topic == "studio.render.failed" for event in samples())
    retried = sum(one.stopped_by == "retry" for one in seen)
    counted = sum(int(n) for text in tally.values["farm"] for n in re.findall(r"(\d+) failed", text))
    assert counted == failed - retried


def test_every_note_is_in_one_digest_and_every_burst_makes_one(shipped: tuple[Tally, list[Run]]) -> None:
    sizes = [int(text.split()[2]) for text in shipped[0].values["digest"]]
    assert sum(sizes) == sum(event.topic == "studio.review.note" for event in samples())
    assert len(sizes) >= 4
    assert min(sizes) > 1


def test_a_callbacks_own_event_comes_after_the_one_under_way(shipped: tuple[Tally, list[Run]]) -> None:
    topics = [one.topic for one in shipped[1]]
    retried = [n for n, one in enumerate(shipped[1]) if one.stopped_by == "retry"]
    assert all("studio.render.started" in topics[n + 1 : n + 3] for n in retried)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
topics = st.sampled_from([event.topic for event in samples()]) | st.text(min_size=1, max_size=8).filter(str.strip)
any_events = st.builds(
    lambda topic, data, rest: Event.from_wire({"topic": topic, "data": data, **rest}),
    topics,
    json_values | st.fixed_dictionaries({"job": json_values, "frames": json_values, "progress": json_values}),
    st.dictionaries(st.sampled_from(["id", "source", "target", "sent", "inReplyToEvent"]), json_values, max_size=2),
)


@pytest.mark.parametrize("refused", [Event(""), Event("a", data={"n": float("inf")})])
def test_an_event_that_cannot_be_published_is_reported_and_the_next_is_played(
    refused: Event, capsys: pytest.CaptureFixture[str]
) -> None:
    tally, seen = played([refused, Event("b")])
    assert (tally.played, tally.deliveries) == (2, 1)
    assert [one.topic for one in seen] == ["b"]
    assert "An event was not published" in capsys.readouterr().err


@settings(max_examples=40)
@given(st.lists(any_events, max_size=6))
def test_any_events_are_played_to_the_end_and_shown(events: list[Event]) -> None:
    tally, seen = played(events)
    assert tally.played == len(events) <= tally.deliveries == len(seen)
    assert len(screen(tally, 80, 24)) == 24


# As lines


def test_plain_output_is_the_same_each_time_and_without_escape_codes() -> None:
    first, second = demo("--plain"), demo()
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout == second.stdout
    assert "\x1b" not in first.stdout


def test_plain_output_lists_subscriptions_as_code_and_each_delivery_in_order() -> None:
    lines = demo().stdout.splitlines()
    assert 'retry      @hub.on("topic=*.failed and data.progress<0.5", priority=20)' in lines
    assert 'digest     hub.on("topic=studio.review.note", priority=100).pipe(…)' in lines
    shown = "\n".join(lines)
    assert "studio.farm.heartbeat  → audit(0) → quarantine(10) ■ stopped by quarantine\n" in shown
    assert "ftrack.action.launch   → audit(0) → launch(50) ↩ reply\n" in shown
    assert "thumbnail(50) ✗ → notify(100) → farm(100)  StatisticsError: no median for empty data\n" in shown


def test_the_summary_counts_what_the_lines_show() -> None:
    out = demo().stdout
    counts = COUNTS.search(out)
    assert counts
    played_, total, more, delivered, calls = map(int, counts.groups())
    assert played_ == total == len(samples())
    assert played_ + more == delivered == len(re.findall(r"^ *\d+  ", out, re.MULTILINE))
    assert calls == len(re.findall(r"→ \w+\(\d+\)", out))
    for name in ("quarantine", "retry"):
        assert f"■ stopped {out.count(f'stopped by {name}')} of" in out


def test_a_broken_line_is_told_of_with_its_number_and_skipped(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"topic": "a"}\nnonsense\n\n{"no": "topic"}\n{"topic": "b"}\n', encoding="utf-8")
    ran = demo("--events", file)
    assert ran.exit_code == 2
    assert f"{file}:2: skipped: not JSON" in ran.stderr
    assert f'{file}:4: skipped: The "topic" of an event must be a string' in ran.stderr
    assert "2 of 2 events played" in ran.stdout


def test_of_many_broken_lines_only_the_first_are_told_of(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("?\n" * 500, encoding="utf-8")
    ran = demo("--events", file)
    assert ran.exit_code == 2
    assert len(ran.stderr.splitlines()) == 11
    assert "490 more invalid lines" in ran.stderr


def test_of_a_large_file_only_the_beginning_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxhub.cli.demo.studio._MAX_EVENTS", 3)
    file = tmp_path / "events.jsonl"
    file.write_text('{"topic": "a"}\n' * 5, encoding="utf-8")
    ran = demo("--events", file)
    assert "3 of 3 events played" in ran.stdout
    assert "only the first 3 events are played" in ran.stderr


@pytest.mark.parametrize("speed", ["nan", "inf", "-1", "1e-300", "1e9", "fast"])
def test_a_speed_that_none_can_play_at_is_refused(speed: str) -> None:
    assert demo("--speed", speed).exit_code == 2


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.jsonl", Path(os.devnull)):
        ran = demo("--events", path)
        assert ran.exit_code == 2
        assert "Traceback" not in ran.output


def test_nothing_in_an_event_steers_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    data: dict[str, Any] = {"frames": ["\x1b]0;title\x07", 1]}
    events = [{"topic": "\x1b[2J\r\n" + "x" * 10_000}, {"topic": "studio.render.finished", "data": data}]
    file.write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    out = demo("--events", file).stdout
    assert not set(out) & {"\x1b", "\r", "\x07"}
    assert max(map(len, out.splitlines())) < 400


def test_a_stdout_without_arrows_gets_ascii() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(DEMO, check=True, capture_output=True, env=environment, timeout=60)
    assert b"> audit(0) > quarantine(10) # stopped by quarantine" in ran.stdout


def test_a_reader_that_goes_away_ends_the_demo() -> None:
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""


# On a terminal


def screen(tally: Tally, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, color_system=None)
    with console.capture() as captured:
        console.print(View(tally), height=height)
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 40), (200, 60)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_view_fills_a_terminal_and_cuts_no_subscription(
    width: int, height: int, when: str, shipped: tuple[Tally, list[Run]]
) -> None:
    tally = shipped[0] if when == "after" else played([])[0]
    lines = screen(tally, width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    for row in tally.rows.values():
        assert sum(f'"{row.subscription}"' in line for line in lines) == 1
    if width >= 100:
        assert all(any(row.code().plain in line for line in lines) for row in tally.rows.values())


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20, 5), (40, 10), (79, 13)])
def test_a_small_terminal_gets_what_fits(width: int, height: int, shipped: tuple[Tally, list[Run]]) -> None:
    screen(shipped[0], width, height)


def test_the_view_ends_with_the_latest_deliveries(shipped: tuple[Tally, list[Run]]) -> None:
    told = [line[6:] for line in demo().stdout.splitlines() if re.match(r" *\d+  ", line)]
    lines = [line.rstrip() for line in screen(shipped[0], 200, 40)]
    below = lines.index(next(line for line in lines if line.startswith("deliveries")))
    assert lines[below + 1 :][:24] == told[-24:]


def on_a_terminal(*arguments: str, interrupted: bool = False, terminal: str = "xterm-256color") -> tuple[int, str]:
    """Run the demo on a terminal, with Ctrl-C once the first stop is seen if asked for: its status and its output."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": terminal, "COLUMNS": "100", "LINES": "30", "PYTHONUTF8": "1"}
    process = subprocess.Popen(
        [*DEMO, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    seen = b""
    try:
        while select.select([master], [], [], 60)[0] and (chunk := os.read(master, 65536)):
            seen += chunk
            if interrupted and b"stopped by" in seen:
                process.send_signal(signal.SIGINT)
                interrupted = False
    except OSError:  # Linux says EIO where the last writer has closed a terminal.
        pass
    finally:
        os.close(master)
    return process.wait(timeout=60), seen.decode(errors="replace")


def test_on_a_terminal_it_plays_live_gives_the_screen_back_and_sums_up() -> None:
    status, seen = on_a_terminal("--speed", "100")
    assert status == 0
    view, back, after = seen.partition("\x1b[?1049l")
    assert "\x1b[?1049h" in view
    assert back
    assert f"{len(samples())} of {len(samples())} events played" in after
    assert "Traceback" not in seen


def test_ctrl_c_ends_it_with_the_summary_so_far() -> None:
    status, seen = on_a_terminal("--speed", "2", interrupted=True)
    assert status == 130
    _, back, after = seen.partition("\x1b[?1049l")
    assert back
    counts = COUNTS.search(after)
    assert counts
    assert 0 < int(counts[1]) < int(counts[2]) == len(samples())
    assert "Traceback" not in seen


@pytest.mark.parametrize(("arguments", "terminal"), [([], "dumb"), (["--plain"], "xterm-256color")])
def test_where_the_view_cannot_be_shown_or_is_not_wanted_there_are_lines(arguments: list[str], terminal: str) -> None:
    status, seen = on_a_terminal(*arguments, terminal=terminal)
    assert status == 0
    assert "\x1b" not in seen
    assert "events played" in seen


# The picture


def test_the_picture_loads_nothing_and_shows_the_demo() -> None:
    svg = (IMAGES / "demo.svg").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"' )]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert "@font-face" not in svg
    assert "@import" not in svg
    for word in ("quarantine", "stopped", "reply", "✗", "digest"):
        assert word in svg


def test_the_picture_is_drawn_from_the_live_view() -> None:
    drawing = runpy.run_path(str(IMAGES / "make_demo.py"))
    svg = drawing["picture"](played([])[0])
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "studio.farm.heartbeat" in svg
