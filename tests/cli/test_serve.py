"""`rxhub serve` and `rxhub user`: a server and its users, at a terminal."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import httpx
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
    """The value of the variable that the next line exports."""
    assert process.stdout is not None
    export, _, variable = process.stdout.readline().partition(" ")
    assert export == "export"
    return variable.strip().partition("=")[2]


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
    listed = rxhub("user", "list", "--users", path)
    assert (listed.returncode, listed.stdout) == (1, b"") and b"rxhub user add" in listed.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--host", "0.0.0.0"], "--plain-text"),
        (["serve", "--host", "::"], "--certificate"),
        (["serve", "--users", "missing.toml"], "rxhub user add"),
        (["serve", "--port", "0", "--certificate", "missing.pem"], "missing.pem"),
        (["serve", "--port", "0", "--nats", "nats://127.0.0.1:1"], "Is the server running there?"),
        (["serve", "--port", "0", "--store", "/proc/rxhub"], "Choose a writable directory"),
        (["user", "remove", "jane", "--users", "missing.toml"], "The user 'jane' does not exist"),
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
            assert told(process).startswith("nats://")
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


def test_what_it_prints_can_be_pasted_into_a_shell() -> None:
    with serving() as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        assert [line.partition("=")[0] for line in lines[:3]] == [
            "export FTRACK_SERVER",
            "export FTRACK_API_USER",
            "export FTRACK_API_KEY",
        ]
        assert all(line.startswith("# ") for line in lines[3:])
        script = "".join([*lines, f"{COMMAND[0]} -m rxhub.cli publish studio.hello\n"])
        ran = subprocess.run(["sh"], input=script, text=True, capture_output=True, timeout=60, check=False)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_no_key_is_printed_that_was_not_made_just_now(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    key = rxhub("user", "add", "jane", "--users", path).stdout.decode().strip()
    with serving("--users", path) as process:
        assert told(process).startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None and process.stderr is not None
        printed = process.stdout.read() + process.stderr.read()
        assert "export" not in printed and key not in printed
        assert process.wait(20) == 130


@pytest.mark.parametrize(
    ("user", "key", "reason"),
    [("rxhub", "wrong-key", "The key is wrong."), ("nobody\x9b", "wrong-key", "The user does not exist.")],
)
def test_a_rejected_handshake_logs_the_reason_without_the_key(user: str, key: str, reason: str) -> None:
    with serving() as process:
        url = told(process)
        ran = rxhub("publish", "a", "--server", url, "--user", user.replace("\x9b", ""), "--key", key)
        assert ran.returncode == 2
        assert b"did not accept" in ran.stderr and b"The user or the key is wrong" in ran.stderr
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        log = process.stderr.read()
        process.wait(20)
    assert reason in log and key not in log and user.replace("\x9b", "") in log


def test_the_printed_link_signs_one_browser_in() -> None:
    with serving() as process:
        assert process.stdout is not None
        printed = "".join(process.stdout.readline() for _ in range(6))
        console, _, token = printed.strip().rpartition(" ")[2].partition("#token=")
        for status in (200, 401):
            response = httpx.post(f"{console}api/session", json={"token": token}, trust_env=False)
            assert response.status_code == status
        assert httpx.get(console, trust_env=False).text.startswith("<!doctype html>")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_the_demo_publishes_events_and_ends_with_the_server(tmp_path: Path) -> None:
    with serving("--demo", "--store", tmp_path / "events") as process:
        url, user, key = told(process), told(process), told(process)
        stream = f"{url}/api/events?subscription=topic=studio.*&since=first"
        with httpx.stream("GET", stream, auth=(user, key), trust_env=False, timeout=60) as response:
            assert next(line for line in response.iter_lines() if line.startswith("event: ")) != "event: rxhub.gap"
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_the_demo_has_its_own_user(tmp_path: Path) -> None:
    ran = rxhub("serve", "--demo", "--users", tmp_path / "users.toml")
    assert ran.returncode == 2
    assert b"--demo, --users" in ran.stderr
