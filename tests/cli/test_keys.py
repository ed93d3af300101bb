"""`rxhub keys`, and `rxhub filter --explain`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.terminal import EVENTS, on_a_terminal, rxhub


def test_keys_are_printed_as_a_table() -> None:
    ran = rxhub("keys", EVENTS)
    lines = ran.stdout.decode().splitlines()
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert lines[0].split() == ["events", "key", "types", "examples"]
    assert lines[1].split()[:4] == ["100", "%", "id", "string"]


def test_keys_are_printed_as_json_lines() -> None:
    ran = rxhub("keys", "--json", "-", stdin=b'[{"topic":"a","data":{"x":[1,null]}},{"other":1.5}]')
    keys = {key.pop("name"): key for key in map(json.loads, ran.stdout.splitlines())}
    assert keys["data.x"] == {"events": 1, "types": {"integer": 1, "list": 1, "null": 1}, "examples": ["1", "None"]}
    assert keys["other"]["events"] == 1


def test_invalid_lines_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"a":1}\nno\n')
    ran = rxhub("keys", path)
    assert ran.returncode == 2 and ran.stderr.startswith(f"rxhub: {path}:2: not JSON".encode())
    assert b" a " in ran.stdout
    assert rxhub("keys", "-", stdin=b"").returncode == 1
    assert rxhub("keys", tmp_path / "none").returncode == 2


def test_no_control_character_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text('{"topic":"\u202e","\u009b":"x"}\n', encoding="utf-8")
    _, seen = on_a_terminal("keys", path)
    assert "\u202e" not in seen and "\u009b" not in seen and r"\x9b" in seen


def test_filter_explains_how_many_events_each_part_matches() -> None:
    ran = rxhub("filter", "--explain", "topic=ftrack.update and data.tags=urgent", EVENTS)
    assert ran.stdout.decode().splitlines() == [
        "[ ] all of  0 of 1,000",
        "  [x] topic=ftrack.update  527 of 1,000",
        "  [x] data.tags=urgent  78 of 1,000",
    ]
    assert ran.returncode == 1 and b"no event matched all of them" in ran.stderr
    ran = rxhub("filter", "--explain", "topic=ftrack.update", EVENTS)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"[x] topic=ftrack.update  527 of 1,000\n", b"")
    assert rxhub("filter", "--explain", "--count", "topic=a", EVENTS).returncode == 2
