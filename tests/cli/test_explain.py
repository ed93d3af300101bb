"""`rxhub explain` shows how a subscription was understood, and what each condition found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxhub.exploration.jsonl import parse_candidate
from rxhub.expression import explain
from tests.cli.terminal import EVENTS, on_a_terminal, rxhub

FIRST = EVENTS.read_bytes().splitlines()[0]
THIRD = EVENTS.read_bytes().splitlines()[2]
ADDED = "topic=ftrack.update and data.entities.action=add"


def explanation_of(subscription: str, line: bytes) -> str:
    candidate, _ = parse_candidate(line)
    return str(explain(subscription, candidate))


def test_a_subscription_alone_is_shown_as_a_tree() -> None:
    ran = rxhub("explain", "topic=a and (b in (1, 2) or not c >= 5)")
    assert ran.returncode == 0
    assert ran.stdout.decode().splitlines() == [
        "all of",
        "  topic=a",
        "  any of",
        "    any of",
        "      b=1",
        "      b=2",
        "    not",
        "      c >= 5",
    ]
    assert rxhub("explain", "").stdout == b"everything\n"


def test_a_misspelled_key_is_asked_about() -> None:
    alone = rxhub("explain", "topc=a")
    assert alone.stdout == b"topc=a\n" and b"did you mean 'topic'?" in alone.stderr
    with_event = rxhub("explain", "topc=a", EVENTS)
    assert b"missing: no 'topc'; did you mean 'topic'?" in with_event.stdout and not with_event.stderr
    assert not rxhub("explain", "topic=a").stderr


def test_an_event_that_matches_ends_it_with_0_and_one_that_does_not_with_1() -> None:
    missed = rxhub("explain", ADDED, EVENTS)
    assert missed.stdout.decode() == f"{EVENTS}:1: does not match\n{explanation_of(ADDED, FIRST)}\n"
    assert missed.returncode == 1
    matched = rxhub("explain", ADDED, EVENTS, "--line", "3")
    assert matched.stdout.decode() == f"{EVENTS}:3: matches\n{explanation_of(ADDED, THIRD)}\n"
    assert matched.returncode == 0


@pytest.mark.parametrize("indent", [None, 2], ids=["on one line", "over many lines"])
def test_an_event_is_read_from_stdin(indent: int | None) -> None:
    event = json.dumps({"topic": "a", "inReplyToEvent": "b"}, indent=indent).encode()
    ran = rxhub("explain", "in_reply_to_event=b", "-", stdin=b"\n" + event)
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, b"(standard input):2: matches")


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        (["a==1"], b"", "\n  a==1\n    ^\n"),
        (["a=1", "-"], b"", "(standard input):1: the input is empty"),
        (["a=1", "-"], b"{\n", "(standard input):1: not JSON"),
        (["a=1", "-"], b'{"a":' * 100_000, "(standard input):1: nested too deeply"),
        (["a=1", "-", "--line", "2"], b'{"a":1}\n\n{"a":1}\n', "(standard input):2: the line is blank"),
        (["a=1", "-", "--line", "4"], b'{"a":1}\n\n{"a":1}\n', "(standard input):4: the file has no such line"),
        (["a=1", "/nowhere.json"], b"", "/nowhere.json: No such file or directory"),
        (["a=1", "--line", "2"], b"", "Specify the file as the argument EVENT"),
    ],
    ids=["no subscription", "empty", "cut off", "too deep", "blank line", "no such line", "no such file", "no file"],
)
def test_what_cannot_be_explained_is_an_error_in_words(arguments: list[str], stdin: bytes, told: str) -> None:
    ran = rxhub("explain", *arguments, stdin=stdin)
    assert ran.returncode == 2
    assert ran.stdout == b""
    assert told in ran.stderr.decode()
    assert b"Traceback" not in ran.stderr


def test_a_terminal_shows_colours_and_branches_unless_plain_is_asked_for() -> None:
    status, seen = on_a_terminal("explain", ADDED, EVENTS)
    assert status == 1
    assert "├── " in seen
    assert "\x1b[" in seen
    status, seen = on_a_terminal("explain", "--plain", ADDED, EVENTS)
    assert status == 1
    assert "├── " not in seen
    assert "\x1b[" not in seen


def test_a_terminal_shows_the_first_lines_of_a_long_tree_and_that_there_are_more() -> None:
    subscription = " or ".join(f"(data.a{n}=1 and data.b{n}=2)" for n in range(120))
    for arguments in ([subscription], [subscription, EVENTS]):
        _, seen = on_a_terminal("explain", *arguments)
        assert "any of" in seen and "data.a0=1" in seen
        assert "or more parts that are not shown" in seen


def test_what_the_encoding_lacks_is_shown_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"a": "✓"}', encoding="utf-8")
    status, seen = on_a_terminal("explain", "a=*", tmp_path / "event.json", PYTHONIOENCODING="ascii")
    assert status == 0
    assert "\\u2713" in seen
