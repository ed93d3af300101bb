"""`rxhub filter` picks lines as grep does, and no line can break it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rxhub.cli.app import app
from rxhub.event import Event
from rxhub.expression import Dialect, parse
from tests.cli.terminal import COMMAND, EVENTS, on_a_terminal, rxhub

UPDATE = b'{"topic": "ftrack.update",   "data": {"n": 10}}\n'
REPLY = b'{"topic":"ftrack.meta.reply","inReplyToEvent":"abc","data":{"inReplyToEvent":"mine"}}\n'
PLAIN = b'{"level":"info","inReplyToEvent":"abc"}\n'


def test_matching_lines_come_out_byte_for_byte() -> None:
    lines = EVENTS.read_bytes().splitlines(keepends=True)
    text = "topic=ftrack.update and data.entities.action=update"
    tree = parse(text)
    wanted = [line for line in lines if tree.matches(Event.from_wire(json.loads(line)))]
    assert 0 < len(wanted) < len(lines)
    ran = rxhub("filter", text, EVENTS)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"".join(wanted), b"")


@pytest.mark.parametrize(
    "line",
    [
        b'{ "topic" : "a" , "topic":"ftrack.update" }\n',
        b'{"topic":"ftrack.update"}\r\n',
        b'{"topic":"ftrack.update","x":"\\u00e9\xc3\xa9"}',
        b'\xef\xbb\xbf{"topic":"ftrack.update"}\n',
        b'  {"topic":"ftrack.update"}  \n',
    ],
    ids=["spaces and a key twice", "CRLF", "no line break at the end", "byte order mark", "indented"],
)
def test_no_byte_of_a_line_changes(line: bytes) -> None:
    ran = rxhub("filter", "topic=ftrack.update", stdin=line)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, line, b"")


@pytest.mark.parametrize(
    ("subscription", "stdin", "status"),
    [
        ("topic=ftrack.*", UPDATE + PLAIN, 0),
        ("topic=studio.*", UPDATE + PLAIN, 1),
        ("topic=ftrack.*", b"", 1),
        ("topic=ftrack.*", b"\n  \n", 1),
        ("topic=ftrack.*", UPDATE + b"{\n", 2),
        ("topic==ftrack", UPDATE, 2),
    ],
    ids=["some line", "no line", "no input", "blank lines", "a broken line", "no subscription"],
)
def test_it_ends_as_grep_does(subscription: str, stdin: bytes, status: int) -> None:
    assert rxhub("filter", subscription, stdin=stdin).returncode == status


BROKEN = {
    "cut off": b'{"topic":"ftrack.update","data":{"n"\n',
    "invalid UTF-8 in a text": b'{"topic":"ftrack.update","x":"\xff"}\n',
    "invalid UTF-8 in a key": b'{"topic":"ftrack.update","\xff":1}\n',
    "no text at all": b"\x80\x81\x82\x00\n",
    "an array": b'[{"topic":"ftrack.update"}]\n',
    "a text": b'"ftrack.update"\n',
    "a number": b"5\n",
    "null": b"null\n",
    "two on a line": b'{"topic":"ftrack.update"} {"topic":"ftrack.update"}\n',
    "too deep": b'{"topic":"ftrack.update","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
    "objects too deep": b'{"topic":' * 200_000 + b"\n",
    "NaN": b'{"topic":"ftrack.update","x":NaN}\n',
    "a number out of range": b'{"topic":"ftrack.update","x":1e400}\n',
    "a huge integer": b'{"topic":"ftrack.update","x":' + b"9" * 5_000 + b"}\n",
    "half a surrogate pair": b'{"topic":"ftrack.update","x":"\\ud800"}\n',
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_a_broken_line_is_told_of_and_passed_over(line: bytes) -> None:
    ran = CliRunner().invoke(app, ["filter", "topic=ftrack.*"], input=UPDATE + b"\n" + line + REPLY)
    assert ran.stdout_bytes == UPDATE + REPLY
    assert ran.stderr.startswith("rxhub: (standard input):3: ")
    assert ran.stderr.count("\n") == 1
    assert ran.exit_code == 2


def test_a_line_longer_than_max_line_is_broken_and_not_held(tmp_path: Path) -> None:
    long = b'{"topic":"ftrack.update","x":"' + b"x" * 5_000 + b'"}\n'
    (tmp_path / "a.jsonl").write_bytes(UPDATE + long + REPLY)
    ran = rxhub("filter", "topic=ftrack.*", tmp_path / "a.jsonl", "--max-line", "100")
    assert ran.stdout == UPDATE + REPLY
    assert ran.stderr.decode() == f"rxhub: {tmp_path / 'a.jsonl'}:2: longer than 100 bytes\n"
    assert ran.returncode == 2
    fits = str(len(long))
    assert rxhub("filter", "topic=ftrack.*", tmp_path / "a.jsonl", "--max-line", fits).returncode == 0


def test_a_bad_subscription_is_shown_with_a_caret_and_without_a_traceback() -> None:
    ran = rxhub("filter", "topic==ftrack.update", EVENTS)
    assert ran.stdout == b""
    assert b"\n  topic==ftrack.update\n        ^\n" in ran.stderr
    assert b"Hint: " in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_a_file_that_cannot_be_read_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(UPDATE)
    ran = rxhub("filter", "topic=*", tmp_path / "missing", tmp_path, tmp_path / "good")
    assert ran.stdout == UPDATE
    assert ran.stderr.decode().splitlines() == [
        f"rxhub: {tmp_path / 'missing'}: No such file or directory",
        f"rxhub: {tmp_path}: Is a directory",
    ]
    assert ran.returncode == 2


def test_count_prints_how_many_lines_match_in_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(UPDATE + PLAIN)
    (tmp_path / "b").write_bytes(REPLY)
    assert rxhub("filter", "--count", "topic=*", tmp_path / "a", tmp_path / "b").stdout == b"2\n"
    none = rxhub("filter", "-c", "topic=x", tmp_path / "a")
    assert (none.returncode, none.stdout) == (1, b"0\n")


def test_invert_picks_the_events_that_do_not_match_and_no_broken_line() -> None:
    ran = rxhub("filter", "--invert", "topic=*", stdin=UPDATE + b"{\n\n" + PLAIN)
    assert (ran.returncode, ran.stdout) == (2, PLAIN)


def test_the_dialect_decides_what_a_star_means() -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["filter", "topic=update*"], input=UPDATE).exit_code == 1
    assert runner.invoke(app, ["filter", "topic=update*", "--dialect", "ftrack"], input=UPDATE).exit_code == 0
    assert parse("topic=update*", Dialect.FTRACK).matches({"topic": "ftrack.update"})


@pytest.mark.parametrize(
    ("subscription", "picked"),
    [
        ("in_reply_to_event=abc", REPLY),
        ("inReplyToEvent=abc", PLAIN),
        ("data.inReplyToEvent=mine", REPLY),
        ("target='' and in_reply_to_event=null", UPDATE),
        ("level=info", PLAIN),
    ],
)
def test_an_object_with_a_topic_is_seen_as_a_hub_sees_it_and_any_other_as_it_is(
    subscription: str, picked: bytes
) -> None:
    assert rxhub("filter", subscription, stdin=UPDATE + REPLY + PLAIN).stdout == picked


def test_a_file_without_a_last_line_break_is_not_glued_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(UPDATE.rstrip())
    (tmp_path / "b").write_bytes(REPLY.rstrip())
    ran = rxhub("filter", "topic=*", tmp_path / "a", tmp_path / "b")
    assert ran.stdout == UPDATE + REPLY.rstrip()


def test_a_file_is_not_read_while_it_is_written(tmp_path: Path) -> None:
    events = tmp_path / "events"
    events.write_bytes(UPDATE)
    with events.open("ab") as stdout:
        ran = rxhub("filter", "topic=*", events, stdout=stdout.fileno())
    assert ran.returncode == 2
    assert b"the file is also the output" in ran.stderr
    assert events.read_bytes() == UPDATE


def test_a_line_from_a_pipe_is_printed_before_the_next_one_comes() -> None:
    with subprocess.Popen([*COMMAND, "filter", "topic=*"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for line in (UPDATE, REPLY):
            running.stdin.write(line)
            running.stdin.flush()
            assert running.stdout.readline() == line
        running.stdin.close()
        assert running.wait(timeout=60) == 0


def test_a_reader_that_goes_away_ends_it_without_a_word() -> None:
    with subprocess.Popen(
        [*COMMAND, "filter", "topic=*", EVENTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=60) == 128 + signal.SIGPIPE


def test_ctrl_c_ends_it_with_130_and_without_a_traceback() -> None:
    with subprocess.Popen(
        [*COMMAND, "filter", "topic=*"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdin.write(UPDATE)
        running.stdin.flush()
        assert running.stdout.readline() == UPDATE
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
        assert running.stderr.read() == b""


def test_a_full_disk_and_a_closed_stdout_are_errors_in_a_sentence() -> None:
    full = Path("/dev/full")
    with full.open("wb") as stdout:
        ran = rxhub("filter", "topic=*", EVENTS, stdout=stdout.fileno())
    assert (ran.returncode, ran.stderr) == (2, b"rxhub: No space left on device\n")
    shell = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *COMMAND, "filter", "topic=*", str(EVENTS)], check=False, capture_output=True
    )
    assert (shell.returncode, shell.stderr) == (2, b"rxhub: (standard output): Bad file descriptor\n")


def test_a_terminal_shows_progress_unless_the_lines_themselves_appear_there(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stdout:
        status, seen = on_a_terminal("filter", "topic=*", EVENTS, stdout=stdout.fileno())
    assert status == 0
    assert "1.8/1.8 MB" in seen
    assert (tmp_path / "out").read_bytes() == EVENTS.read_bytes()
    status, seen = on_a_terminal("filter", "topic=ftrack.meta.reply", EVENTS)
    assert status == 0
    assert "MB" not in seen
    assert seen.count("\n") == 29
    status, seen = on_a_terminal("filter", "--count", "topic=ftrack.meta.reply", EVENTS)
    assert "1.8/1.8 MB" in seen
    assert "29" in seen.splitlines()[-1]


def test_a_broken_line_is_told_of_above_the_bar(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(UPDATE + b"{\n" + REPLY)
    with (tmp_path / "out").open("wb") as stdout:
        status, seen = on_a_terminal("filter", "topic=*", tmp_path / "events", stdout=stdout.fileno())
    assert status == 2
    told = next(line for line in re.split(r"\r\n|\x1b\[2K", seen) if "rxhub:" in line)
    assert told.startswith("rxhub: ")
