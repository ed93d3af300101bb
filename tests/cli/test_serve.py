"""`rxhub serve` and `rxhub user`: a server and its users, at a terminal."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.terminal import COMMAND, rxhub
from tests.server.wire import request, wire


def serving(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> str:
    """The second word of the next line."""
    assert process.stdout is not None
    return process.stdout.readline().split()[1]


def test_it_prints_where_it_is_and_a_key_once_and_ends_at_ctrl_c() -> None:
    with serving() as process:
        server = SimpleNamespace(url=told(process), api_user=told(process), api_key=told(process))
        with wire(server) as client:  # type: ignore[arg-type]
            assert client.subscribe("topic=a") == {"success": True}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_users_of_a_file_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    added = rxhub("user", "add", "jane", "--users", path, "--publish", "studio.*")
    key = added.stdout.decode().strip()
    assert (added.returncode, len(key)) == (0, 43)
    assert '"scrypt$16384$8$5$' in path.read_text()
    listed = rxhub("user", "list", "--users", path)
    assert listed.stdout.decode() == "jane\tpublish studio.*\tsubscribe *\n"
    with serving("--users", path) as process:
        server = SimpleNamespace(url=told(process), api_user="jane", api_key=key)
        with wire(server) as client:  # type: ignore[arg-type]
            assert client.do("studio.a") == {"success": True}
            assert client.do("other")["success"] is False
        removed = rxhub("user", "remove", "jane", "--users", path)
        assert (removed.returncode, removed.stdout, removed.stderr) == (0, b"", b"")
        headers = {"ftrack-user": "jane", "ftrack-api-key": key}
        assert request(server, "/socket.io/1/", headers)[0] == 401  # type: ignore[arg-type]
        process.terminate()
        process.wait(20)
    assert rxhub("user", "list", "--users", path).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--host", "0.0.0.0"], "plain text"),
        (["serve", "--users", "missing.toml"], "rxhub user add"),
        (["serve", "--port", "0", "--certificate", "missing.pem"], "missing.pem"),
        (["serve", "--port", "0", "--nats", "nats://127.0.0.1:1"], "Is the server running there?"),
        (["serve", "--port", "0", "--store", "/proc/rxhub"], "Choose a directory"),
        (["user", "remove", "jane", "--users", "missing.toml"], "no user 'jane'"),
        (["user", "add", "a b", "--users", "missing.toml"], "name"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    ran = rxhub(*arguments, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.startswith(b"rxhub: ")
    assert message in ran.stderr.decode()
    assert b"Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [["--nats", "http://studio"], ["--nats", "nats://a", "--stream", "a.b"]])
def test_what_is_no_backplane_is_said_to_be_none(option: list[str]) -> None:
    ran = rxhub("serve", *option)
    assert ran.returncode == 2
    assert b"--nats, --stream" in ran.stderr


def test_events_are_stored_in_one_place(tmp_path: Path) -> None:
    ran = rxhub("serve", "--nats", "nats://127.0.0.1:1", "--store", tmp_path / "events")
    assert ran.returncode == 2
    assert b"--nats, --store" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_printed_and_let_go_at_ctrl_c(tmp_path: Path) -> None:
    for _ in range(2):
        with serving("--store", tmp_path / "events") as process:
            server = SimpleNamespace(url=told(process), api_user=told(process), api_key=told(process))
            assert told(process) == "key"
            assert told(process) == "events"
            with wire(server) as client:  # type: ignore[arg-type]
                assert client.do("studio.a") == {"success": True}
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert process.stderr is not None
            assert process.stderr.read() == ""


def test_a_key_may_be_asked_for(tmp_path: Path) -> None:
    ran = rxhub("user", "add", "jane", "--ask", "--users", tmp_path / "users.toml", stdin=b"my key\nmy key\n")
    assert ran.returncode == 0
    assert b"my key" not in ran.stdout
    assert "jane" in (tmp_path / "users.toml").read_text()
