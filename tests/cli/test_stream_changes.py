"""`rxhub streams set`, `purge` and `remove` beside a real NATS server: they say what is lost, and ask."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import Any

import pytest

from rxhub import EventHub
from rxhub.testing import Nats
from tests.cli.terminal import COMMAND, rxhub
from tests.cli.test_dead import environment
from tests.threads import LIMIT
from tests.transport.nats.processing.working import publish


def streams(nats: Nats, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return rxhub("streams", *arguments, env=environment(nats))


def answered(nats: Nats, answer: bytes, *arguments: str) -> tuple[int, bytes]:
    """The status and the output of a command on a terminal where a user answers."""
    master, slave = pty.openpty()
    ran = subprocess.Popen([*COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment(nats))
    os.close(slave)
    os.write(master, answer)
    seen = b""
    try:
        while chunk := os.read(master, 65536):
            seen += chunk
    except OSError:  # Linux says EIO where the last writer has closed a terminal
        pass
    os.close(master)
    return ran.wait(LIMIT), seen


def listed(nats: Nats) -> dict[str, Any] | None:
    found = [json.loads(line) for line in streams(nats).stdout.splitlines()]
    return next((one for one in found if one["name"] == nats.stream), None)


def messages(nats: Nats) -> int:
    state = listed(nats)
    assert state is not None
    return state["messages"]


@pytest.fixture
def filled(nats: Nats) -> Nats:
    """Four events of two topics, which the group `idle` has not handled."""
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        hub.process("topic=*", lambda _: None, group="idle").stop()
        publish(hub, "studio.a", 0, 1)
        publish(hub, "studio.b", 2, 3)
    return nats


def test_without_a_terminal_a_loss_is_shown_and_nothing_is_changed(filled: Nats) -> None:
    for command in (["purge"], ["remove"], ["set", "--max-bytes", "1K", "--when-full", "delete"]):
        ran = streams(filled, command[0], filled.stream, *command[1:])
        assert (ran.returncode, ran.stdout) == (2, b"")
        assert b"deletes" in ran.stderr and b"--yes" in ran.stderr and b"idle" in ran.stderr
    assert messages(filled) == 4


def test_a_purge_reports_its_loss_and_its_number(filled: Nats) -> None:
    ran = streams(filled, "purge", filled.stream, "--topic", "studio.a", "--yes")
    assert (ran.returncode, ran.stdout) == (0, b"2 deleted\n")
    assert b"this deletes 2 events" in ran.stderr and b"not handled all of them: idle" in ran.stderr
    ran = streams(filled, "purge", filled.stream, "--until", "3", "-y")
    assert (ran.returncode, ran.stdout) == (0, b"1 deleted\n") and messages(filled) == 1
    ran = streams(filled, "purge", filled.stream, "--until", "1h", "-y")
    assert ran.returncode == 1 and b"no such events" in ran.stderr


@pytest.mark.parametrize(("answer", "status", "left"), [(b"n\n", 1, 4), (b"y\n", 0, 0)])
def test_a_purge_is_asked_first_on_a_terminal(filled: Nats, answer: bytes, status: int, left: int) -> None:
    code, seen = answered(filled, answer, "streams", "purge", filled.stream)
    assert code == status and b"this deletes 4 events" in seen and b"Delete these events?" in seen
    assert messages(filled) == left


def test_limits_without_a_loss_are_set_at_once(filled: Nats) -> None:
    ran = streams(filled, "set", filled.stream, "--max-age", "30d", "--max-bytes", "1G", "--when-full", "delete")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    state = listed(filled)
    assert state is not None and (state["max_age"], state["max_bytes"], state["discard"]) == (2_592_000.0, 2**30, "old")
    ran = streams(filled, "set", filled.stream, "--max-age", "never", "--max-bytes", "unlimited")
    state = listed(filled)
    assert state is not None and (state["max_age"], state["max_bytes"]) == (0.0, -1)


def test_a_full_stream_is_reported_before(filled: Nats) -> None:
    ran = streams(filled, "set", filled.stream, "--max-bytes", "500B")
    assert ran.returncode == 2 and b"will reject new events" in ran.stderr


def test_a_stream_is_removed(filled: Nats) -> None:
    assert streams(filled, "remove", filled.stream, "--yes").returncode == 0
    assert listed(filled) is None
    ran = streams(filled, "remove", filled.stream, "--yes")
    assert ran.returncode == 2 and b"no stream of events" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["set"], b"at least one limit"),
        (["set", "--max-age", "30"], b"--max-age"),
        (["set", "--when-full", "wait"], b"--when-full"),
        (["purge", "--topic", "studio*"], b"exact topic"),
        (["purge", "--until", "soon"], b"--until"),
    ],
)
def test_mistakes_are_reported(filled: Nats, arguments: list[str], told: bytes) -> None:
    ran = streams(filled, arguments[0], filled.stream, *arguments[1:], "--yes")
    assert ran.returncode == 2 and told in ran.stderr and messages(filled) == 4
