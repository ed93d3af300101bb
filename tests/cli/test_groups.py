"""`rxhub groups` beside a real NATS server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from rxhub import EventHub
from rxhub.testing import Nats
from tests.cli.terminal import on_a_terminal, rxhub
from tests.cli.test_dead import environment
from tests.cli.test_stream_changes import answered
from tests.transport.nats.processing.working import Seen, publish


def groups(nats: Nats, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return rxhub("groups", *arguments, "--stream", nats.stream, env=environment(nats))


def state(nats: Nats) -> dict[str, Any]:
    (line,) = groups(nats, "--interval", "1s").stdout.splitlines()
    return json.loads(line)


@pytest.fixture
def hub(nats: Nats) -> Iterator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        yield hub


@pytest.fixture
def filled(nats: Nats, hub: EventHub) -> Nats:
    """Five events, of which the group `ingest` has handled two."""
    with hub.process("topic=a", Seen(), group="ingest"):
        pass
    publish(hub, "a", *range(3))
    publish(hub, "a", 3, id="fourth")
    publish(hub, "a", 4)
    hub.groups.reset("ingest", 3)
    return nats


def test_groups_are_json_lines_in_a_pipe_and_a_table_on_a_terminal(filled: Nats) -> None:
    found = state(filled)
    assert (found["name"], found["waiting"], found["pending"], found["is_paused"]) == ("ingest", 3, 0, False)
    assert found["rate"] == 0.0 and found["oldest"]
    options = ["--stream", filled.stream, "--interval", "1s"]
    status, seen = on_a_terminal("groups", *options, RXHUB_NATS=environment(filled)["RXHUB_NATS"], COLUMNS="200")
    assert status == 0 and "per second" in seen and "idle" in seen


def test_a_stream_without_groups_and_a_missing_one_are_reported(nats: Nats, hub: EventHub) -> None:
    ran = groups(nats)
    assert (ran.returncode, ran.stdout) == (1, b"") and b"has no groups" in ran.stderr
    ran = rxhub("groups", "--stream", "no-such-stream", env=environment(nats))
    assert ran.returncode == 2 and b"no stream" in ran.stderr
    ran = groups(nats, "pause", "none")
    assert ran.returncode == 2 and b"no group 'none'" in ran.stderr


def test_a_group_is_paused_and_resumed(filled: Nats, hub: EventHub) -> None:
    assert groups(filled, "pause", "ingest").returncode == 0 and state(filled)["is_paused"]
    seen = Seen()
    with hub.process("topic=a", seen, group="ingest"):
        assert state(filled)["waiting"] == 3 and not seen
        assert groups(filled, "resume", "ingest").returncode == 0
        assert seen.wait(3) == [2, 3, 4]


def test_a_reset_says_what_it_changes_and_asks(filled: Nats, hub: EventHub) -> None:
    ran = groups(filled, "reset", "ingest", "--to", "first")
    assert ran.returncode == 2 and b"handles 2 events again, and skips 0" in ran.stderr and b"--yes" in ran.stderr
    command = ["groups", "reset", "ingest", "--to-event", "fourth", "--stream", filled.stream]
    status, seen = answered(filled, b"n\n", *command)
    assert status == 1 and b"handles 0 events again, and skips 1" in seen and state(filled)["waiting"] == 3
    status, seen = answered(filled, b"y\n", *command)
    assert status == 0 and state(filled)["waiting"] == 2
    assert groups(filled, "reset", "ingest", "--to", "1h", "--yes").returncode == 0
    assert state(filled)["waiting"] == 5


def test_a_removal_says_what_is_not_handled(filled: Nats, hub: EventHub) -> None:
    ran = groups(filled, "remove", "ingest")
    assert ran.returncode == 2 and b"will not handle 3 waiting and 0 pending events" in ran.stderr
    with hub.process("topic=none", Seen(), group="other"):
        ran = groups(filled, "remove", "other")
        assert ran.returncode == 2 and b"Stop them first" in ran.stderr
    ran = groups(filled, "remove", "ingest", "-y")
    assert (ran.returncode, ran.stdout) == (0, b"ingest removed\n")
    assert [group.name for group in hub.groups()] == ["other"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], b"either --to or --to-event"),
        (["--to", "1", "--to-event", "x"], b"either --to or --to-event"),
        (["--to", "soon"], b"--to"),
        (["--to", "0"], b"is reset to"),
        (["--to-event", "no-such"], b"no event with the id"),
    ],
)
def test_mistakes_are_reported(filled: Nats, arguments: list[str], told: bytes) -> None:
    ran = groups(filled, "reset", "ingest", "--yes", *arguments)
    assert ran.returncode == 2 and told in ran.stderr
