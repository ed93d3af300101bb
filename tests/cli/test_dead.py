"""`rxhub dead` beside a real NATS server."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import Any

import pytest
from typer.testing import CliRunner

from rxhub import Event, EventHub
from rxhub.cli.app import app
from rxhub.testing import Nats
from tests.cli.terminal import COMMAND, on_a_terminal, rxhub
from tests.threads import LIMIT, until


def environment(nats: Nats) -> dict[str, str]:
    url = nats.url.replace("://", f"://{nats.user}:{nats.password}@")
    return {**os.environ, "RXHUB_NATS": url}


def dead(nats: Nats, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return rxhub("dead", *arguments, "--stream", nats.stream, env=environment(nats), **options)


def lines(nats: Nats, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in dead(nats, "list", *arguments).stdout.splitlines()]


def fail(event: Event) -> None:
    raise ValueError(f"no \x1b[31m{event.data['value']}")


@pytest.fixture
def filled(nats: Nats) -> Nats:
    """Two dead letters of the group `g`, and one of `h`."""
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        for group, values in (("g", [1, 2]), ("h", [3])):
            with hub.process(f"topic={group}", fail, group=group, retries=0) as processing:
                for value in values:
                    future = hub.publish(Event(group, data={"value": value}))
                    assert future is not None
                    future.result(LIMIT)
                until(lambda processing=processing, values=values: processing.counts.dead == len(values))
    return nats


def test_letters_are_json_lines_in_a_pipe(filled: Nats) -> None:
    assert [(one["id"], one["group"], one["event"]["data"]["value"]) for one in lines(filled)] == [
        (1, "g", 1),
        (2, "g", 2),
        (3, "h", 3),
    ]
    assert [one["id"] for one in lines(filled, "--group", "h")] == [3]
    assert dead(filled, "list", "-g", "nobody").returncode == 1
    shown = dead(filled, "show", "2")
    assert shown.returncode == 0 and json.loads(shown.stdout) == lines(filled)[1]


def test_on_a_terminal_they_are_a_table_without_control_characters(filled: Nats) -> None:
    variables = {"RXHUB_NATS": environment(filled)["RXHUB_NATS"]}
    status, seen = on_a_terminal("dead", "list", "--stream", filled.stream, **variables)
    assert status == 0 and "attempts" in seen and "ValueError: no" in seen and "\x1b[31m" not in seen
    status, seen = on_a_terminal("dead", "show", "1", "--stream", filled.stream, **variables)
    assert status == 0 and "in fail" in seen and '"value":1' in seen and "\x1b[31m" not in seen


def test_a_retried_letter_is_handled_again(filled: Nats) -> None:
    ran = dead(filled, "retry", "1")
    assert (ran.returncode, ran.stdout) == (0, b"1 delivered again\n")
    assert [one["id"] for one in lines(filled)] == [2, 3]
    seen: list[Any] = []
    with EventHub(filled.url, filled.user, filled.password, stream=filled.stream) as hub:
        hub.process("topic=g", lambda event: seen.append(event.data["value"]), group="g")
        until(lambda: seen == [1])
        ran = dead(filled, "retry", "--all", "--group", "g")
        assert (ran.returncode, ran.stdout) == (0, b"1 delivered again\n")
        until(lambda: seen == [1, 2])


def test_letters_are_dropped_and_what_is_not_there_is_told(filled: Nats) -> None:
    ran = dead(filled, "drop", "1", "9")
    assert ran.returncode == 1 and ran.stdout == b"1 deleted\n" and b"no dead letter 9" in ran.stderr
    ran = dead(filled, "drop", "--all")
    assert (ran.returncode, ran.stdout) == (2, b"") and b"--yes" in ran.stderr
    assert len(lines(filled)) == 2
    ran = dead(filled, "drop", "--all", "--yes")
    assert (ran.returncode, ran.stdout) == (0, b"2 deleted\n")
    ran = dead(filled, "list")
    assert (ran.returncode, ran.stdout) == (1, b"") and b"no dead letters" in ran.stderr


def test_letters_since_a_time_or_a_number_are_listed(filled: Nats) -> None:
    assert [one["id"] for one in lines(filled, "--since", "2")] == [2, 3]
    assert [one["id"] for one in lines(filled, "--since", "1h")] == [1, 2, 3]
    assert [one["id"] for one in lines(filled, "--since", "2999-01-01")] == []
    second = lines(filled)[1]["died"]
    assert [one["id"] for one in lines(filled, "--since", second)] == [2, 3]
    ran = dead(filled, "list", "--since", "yesterday")
    assert ran.returncode == 2 and b"--since" in ran.stderr


def test_json_lines_come_on_a_terminal_if_asked_for(filled: Nats) -> None:
    variables = {"RXHUB_NATS": environment(filled)["RXHUB_NATS"]}
    status, seen = on_a_terminal("dead", "list", "--json", "--stream", filled.stream, **variables)
    assert status == 0 and [json.loads(line)["id"] for line in seen.splitlines()] == [1, 2, 3]


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 3), (b"y\n", 0)])
def test_on_a_terminal_dropping_all_is_asked_first(filled: Nats, answer: bytes, left: int) -> None:
    master, slave = pty.openpty()
    command = [*COMMAND, "dead", "drop", "--all", "--stream", filled.stream]
    ran = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment(filled))
    os.close(slave)
    os.write(master, answer)
    asked = b""
    try:
        while chunk := os.read(master, 65536):
            asked += chunk
    except OSError:  # Linux says EIO where the last writer has closed a terminal
        pass
    os.close(master)
    assert ran.wait(LIMIT) == (1 if left else 0)
    assert b"Delete all dead letters of all groups" in asked
    assert len(lines(filled)) == left


@pytest.mark.parametrize("arguments", [["retry"], ["drop", "1", "--all"], ["drop", "1", "-g", "g"]])
def test_what_is_meant_has_to_be_said(arguments: list[str]) -> None:
    ran = CliRunner().invoke(app, ["dead", *arguments, "--nats", "nats://127.0.0.1:9"])
    assert ran.exit_code == 2 and "--all" in ran.output


def test_a_stream_that_is_not_there_is_told_and_not_made(nats: Nats) -> None:
    ran = dead(nats, "list")
    assert ran.returncode == 2 and f"there is no stream {nats.stream}".encode() in ran.stderr
    with EventHub(nats.url, nats.user, nats.password, stream=f"{nats.stream}-other") as hub:
        hub.connect()
        assert nats.stream not in [stream.name for stream in hub.streams()]
