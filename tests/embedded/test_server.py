"""A private NATS server, from its start to its end, and whatever comes between."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from itertools import count
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import nats
import pytest

from rxhub.embedded import PrivateServer, store
from rxhub.embedded import server as module
from rxhub.embedded.binary import find
from rxhub.embedded.probe import Account, ask_for_streams
from rxhub.errors import StoreError
from tests.threads import LIMIT, suspend, until

HOLD = """
import sys, time
from rxhub.embedded import store

with store(sys.argv[1]) as server:
    print(server.pid, flush=True)
    time.sleep(100)
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def published(server: PrivateServer, text: str) -> int:
    """Publish into the stream `kept`; how many messages it has then."""

    async def publish() -> int:
        client = await nats.connect(server.url, user=server.user, password=server.password)
        try:
            stream = client.jetstream()
            await stream.add_stream(name="kept", subjects=["kept.>"])
            await stream.publish("kept.event", text.encode())
            return (await stream.stream_info("kept")).state.messages
        finally:
            await client.close()

    return asyncio.run(publish())


def test_what_was_stored_is_there_again(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        with store(tmp_path / "deep" / "store") as server:
            assert published(server, "text") == expected
            pid = server.pid
            assert pid is not None and is_running(pid)
        assert not is_running(pid)
        assert server.pid is None


def test_only_who_knows_the_password_is_let_in(tmp_path: Path) -> None:
    with store(tmp_path) as server:
        where = urlsplit(server.url)
        assert where.hostname == "127.0.0.1" and where.port is not None
        assert server.password not in repr(server)
        for password in ("", "x", server.password[1:]):
            with pytest.raises(OSError, match="Authorization Violation"):
                ask_for_streams(Account(where.port, server.user, password))
        ask_for_streams(Account(where.port, server.user, server.password))
    assert (tmp_path / "nats-server.json").stat().st_mode & 0o077 == 0


def test_files_that_others_could_read_become_private(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("owner.json", "nats-server.out", "nats-server.log")]
    for file in files:
        file.touch()
        file.chmod(0o666)
    with store(tmp_path):
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * 3


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o702])
def test_a_directory_in_which_others_can_replace_files_is_reported(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "shared store"
    shared.mkdir()
    shared.chmod(mode)
    with store(shared):
        pass
    (record,) = [record for record in caplog.records if record.name == "rxhub.embedded"]
    assert f"mode {mode:04o}" in record.getMessage() and f"chmod 700 '{shared}'" in record.getMessage()


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_directory_that_others_cannot_write_to_is_not(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(mode)
    with store(tmp_path):
        pass
    assert not [record for record in caplog.records if record.name == "rxhub.embedded"]


def test_one_directory_is_not_opened_twice(tmp_path: Path) -> None:
    with store(tmp_path):
        with pytest.raises(StoreError, match="in use by this process itself"):
            with store(tmp_path):
                pass
    with store(tmp_path):
        pass


def test_who_holds_a_directory_is_told(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline()
            with pytest.raises(StoreError, match=f"in use by process {holder.pid} on {socket.gethostname()}"):
                with store(tmp_path):
                    pass
        finally:
            holder.kill()


def test_a_server_ends_with_a_process_that_is_killed_and_its_directory_is_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert is_running(pid)
        holder.kill()
    with store(tmp_path) as server:
        assert not is_running(pid)
        assert published(server, "text") == 1


def test_a_server_that_outlives_a_killed_process_is_ended_by_the_next_one(
    tmp_path: Path,
) -> None:
    # As on systems that tell no child of its parent's death.
    unbind = "import rxhub.embedded.server\nrxhub.embedded.server.command_bound_to_parent = list\n"
    unbound = HOLD.replace("\nwith", f"{unbind}with", 1)
    with subprocess.Popen([sys.executable, "-c", unbound, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        holder.kill()
    assert is_running(pid)
    with store(tmp_path):
        assert not is_running(pid)


def test_a_server_that_dies_is_noticed_and_started_again_at_the_same_port(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    with caplog.at_level(logging.WARNING, "rxhub.embedded"), store(tmp_path, told.append) as server:
        url, first = server.url, server.pid
        assert published(server, "text") == 1
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: "Restarted the NATS server" in caplog.text)
        assert server.pid not in {None, first}
        assert server.url == url
        assert published(server, "text") == 2
    assert len(told) == 1
    assert "died (by signal 9)" in told[0]


def test_who_is_told_of_the_death_may_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(message: str) -> None:
        raise ValueError("mine")

    with store(tmp_path, fail) as server:
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: server.pid not in {None, first})
    assert "ValueError: mine" in caplog.text


def test_a_port_that_somebody_else_took_meanwhile_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    died, taken = Event(), Event()

    def hold(message: str) -> None:
        died.set()
        assert taken.wait(LIMIT)

    with store(tmp_path, hold) as server:
        first, port = server.pid, urlsplit(server.url).port
        assert first is not None and port is not None
        os.kill(first, signal.SIGKILL)
        assert died.wait(LIMIT)
        with socket.create_server(("127.0.0.1", port)):
            taken.set()
            until(lambda: "address already in use" in caplog.text)
        until(lambda: "Restarted the NATS server" in caplog.text)
        assert urlsplit(server.url).port == port


def test_the_end_does_not_wait_for_a_server_that_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_STOP_TIMEOUT_S", 0.2)
    with store(tmp_path) as server:
        pid = server.pid
        assert pid is not None
        suspend(pid)
    assert not is_running(pid)
    assert "is killed" in caplog.text


def test_the_end_does_not_wait_for_a_server_that_is_to_come_again(tmp_path: Path) -> None:
    died = Event()
    with store(tmp_path, lambda message: died.set()) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert died.wait(LIMIT)
    assert server.pid is None
    with store(tmp_path):
        pass


def test_a_forked_child_ends_no_server_of_its_parent(tmp_path: Path) -> None:
    with store(tmp_path) as server:
        pid = server.pid
        assert pid is not None
        server._parent = -1  # as it is for a child  # noqa: SLF001
        server.stop()
        assert is_running(pid)
        server._parent = os.getpid()  # noqa: SLF001


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/rxhub"])
def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        with store(tmp_path / place):
            pass
    assert str(tmp_path / place) in str(caught.value)


def test_a_store_that_cannot_be_opened_shows_what_the_server_said(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("in the way")
    with pytest.raises(StoreError, match=r"ended at its start \(with status 1\)") as caught:
        with store(tmp_path):
            pass
    assert "[FTL]" in str(caught.value)
    (tmp_path / "jetstream").unlink()
    with store(tmp_path):
        pass


def test_a_server_that_never_listens_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "nats-server"
    silent.write_text("#!/bin/sh\nexec sleep 100\n")
    silent.chmod(0o755)
    monkeypatch.setattr(module, "find", lambda: silent)
    monkeypatch.setattr(module, "_START_TIMEOUT_S", 0.3)
    with pytest.raises(StoreError, match=r"not ready after 0\.3 s"):
        with store(tmp_path / "store"):
            pass


def test_the_program_is_found_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert find().name == "nats-server"


def test_a_server_whose_streams_come_and_go_is_not_restarted(tmp_path: Path) -> None:
    with store(tmp_path) as server:
        first = server.pid

        async def come_and_go() -> None:
            client = await nats.connect(server.url, user=server.user, password=server.password)
            stream = client.jetstream()
            ended = asyncio.get_running_loop().time() + 3.0
            # nats-server removes the files after it has answered, and their directory with the last of them. So one
            # stream stays, and each of the others has a name of its own.
            await stream.add_stream(name="kept", subjects=["kept.>"])
            for name in map("brief{}".format, count()):
                if asyncio.get_running_loop().time() > ended:
                    break
                await stream.add_stream(name=name, subjects=[f"{name}.>"])
                await stream.publish(f"{name}.event", b"text")
                await stream.delete_stream(name)
            await client.close()

        asyncio.run(come_and_go())
        assert server.pid == first and server.trouble == ""
