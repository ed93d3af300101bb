"""A store on a disk that fills up: publishers get errors, and everything works again when there is space."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from concurrent.futures import wait
from contextlib import ExitStack
from pathlib import Path

import pytest
from reactivex import operators as ops

from rxhub import Event, EventHub
from rxhub.cli.doctor.diagnosis import Verdict
from rxhub.cli.doctor.server import check_server as examine
from rxhub.embedded import PrivateServer, store
from rxhub.embedded.config import CONFIGURATION
from rxhub.errors import EventError, Refused, StoreError
from rxhub.server import Backplane, running
from tests.threads import LIMIT, until


class Disk:
    """A file system of 48 MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT)
        try:
            with pytest.raises(OSError, match="No space left"):
                while True:
                    os.write(descriptor, bytes(4_096))
        finally:
            os.close(descriptor)

    def free(self) -> None:
        self._filler.unlink()

    def use_up_inodes(self) -> None:
        with pytest.raises(OSError, match="No space left"):
            for number in range(1_000):
                (self.path / f"empty-{number}").touch()

    def free_inodes(self) -> None:
        for path in self.path.glob("empty-*"):
            path.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", path], check=True)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def few_inodes(tmp_path: Path) -> Generator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    path = tmp_path / "few"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,nr_inodes=200", "tmpfs", path], check=True)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def publish(hub: EventHub, count: int, size: int = 1_000) -> tuple[list[str], list[Exception]]:
    """Publish events of `size` bytes; the ids of those that were acknowledged, and the errors of the others."""
    futures, errors = {}, []
    for _ in range(count):
        event = Event("studio.work", data={"text": "x" * size})
        try:
            futures[event.id] = hub.publish(event)
        except (EventError, Refused) as error:  # the answer to an earlier one is there already
            errors.append(error)
    assert not wait(futures.values(), LIMIT).not_done
    errors += [error for future in futures.values() if isinstance(error := future.exception(), Exception)]
    return [id for id, future in futures.items() if future.exception() is None], errors


def connected(stack: ExitStack, server: PrivateServer) -> EventHub:
    hub = stack.enter_context(EventHub(server.url, server.user, server.password, stream="studio"))
    stack.enter_context(hub.start())
    hub.connect()
    return hub


def test_publishers_get_errors_and_acknowledged_events_are_there_when_there_is_space(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(store(disk.path / "store"))
        hub = connected(stack, server)
        acknowledged, errors = publish(hub, 500)
        assert not errors
        disk.fill()
        stored, errors = publish(hub, 1_500)
        acknowledged += stored
        assert errors
        assert {type(error) for error in errors} == {Refused}
        assert "Free up space" in str(errors[0])
        until(lambda: "no space left" in server.trouble)
        assert "Free up space" in caplog.text
        # Also what is published later gets an error.
        assert publish(hub, 5)[0] == []
        disk.free()
        until(lambda: server.trouble == "" and hub.connected)
        stored, errors = publish(hub, 100)
        assert not errors
        acknowledged += stored
        replayed = hub.replay("").pipe(ops.to_list()).run()
        ids = [event.id for event in replayed]
        assert set(acknowledged) <= set(ids)
        assert len(ids) == len(set(ids))


def test_a_server_is_not_restarted_while_no_file_can_be_made_though_bytes_are_free(few_inodes: Disk) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(store(few_inodes.path / "store"))
        hub = connected(stack, server)
        acknowledged, errors = publish(hub, 20)
        assert not errors
        few_inodes.use_up_inodes()
        first = server.pid
        # More than fits into the file that is open.
        for _ in range(10):
            stored, errors = publish(hub, 20, 400_000)
            acknowledged += stored
            if errors:
                break
        assert errors
        until(lambda: server.trouble != "")
        assert "trial write failed" in server.trouble
        for _ in range(5):
            assert publish(hub, 5)[0] == []
            time.sleep(0.5)
        assert server.trouble != ""
        assert server.pid == first
        few_inodes.free_inodes()
        until(lambda: server.trouble == "" and hub.connected)
        stored, errors = publish(hub, 10)
        assert not errors
        acknowledged += stored
        ids = [event.id for event in hub.replay("").pipe(ops.to_list()).run()]
        assert set(acknowledged) <= set(ids)
        assert len(ids) == len(set(ids))


def health(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=LIMIT) as answer:
            return answer.status, json.load(answer)["status"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["status"]


def failed(url: str) -> set[str]:
    """The checks of `/readyz` that fail."""
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{url}/readyz", timeout=LIMIT)
    with raised.value as error:
        assert error.code == 503
        body = error.read().decode()
        assert "/" not in json.loads(body)["reason"]
        return {name for name, check in json.loads(body)["checks"].items() if not check["ok"]}


def test_a_server_reports_a_full_disk_and_recovers(disk: Disk) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(store(disk.path / "store"))
        backplane = Backplane(
            server.url,
            server.user,
            server.password,
            "studio",
            store_trouble=lambda: server.trouble,
            store_directory=disk.path,
        )
        front = stack.enter_context(running(backplane=backplane))
        hub = stack.enter_context(EventHub(front.url, front.api_user, front.api_key))
        stack.enter_context(hub.start())
        hub.connect()
        assert len(publish(hub, 100)[0]) == 100
        assert health(front.url) == (200, "ok")
        disk.fill()
        _, errors = publish(hub, 1_000)
        assert errors
        until(lambda: health(front.url) == (503, "not storing"))
        assert front.stats["backplane_storing"] == 0
        assert failed(front.url) >= {"store_writable", "disk_space"}
        findings = list(examine(front.url, front.api_user, front.api_key))
        assert any(found.verdict is Verdict.PROBLEM and "cannot store events" in found.found for found in findings)
        assert publish(hub, 5)[0] == []
        disk.free()
        until(lambda: health(front.url) == (200, "ok"))
        assert front.stats["backplane_storing"] == 1
        assert len(publish(hub, 10)[0]) == 10


def test_a_store_is_not_opened_without_space(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(StoreError, match="MiB.*Free up space"), store(disk.path):
        pass
    disk.free()
    with store(disk.path) as server:
        assert server.trouble == ""


def test_a_server_that_dies_on_a_full_disk_is_started_again_when_there_is_space(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack, caplog.at_level(logging.WARNING, "rxhub.embedded"):
        server = stack.enter_context(store(disk.path / "store"))
        hub = connected(stack, server)
        acknowledged, _ = publish(hub, 500)
        disk.fill()
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: "cannot store" in server.trouble)
        assert server.pid is None
        disk.free()
        until(lambda: server.pid not in {None, first} and hub.connected)
        assert [event.id for event in hub.replay("").pipe(ops.to_list()).run()] == acknowledged


@pytest.mark.parametrize("kind", ["file", "link"])
def test_the_password_is_readable_by_its_owner_alone_whatever_was_there(tmp_path: Path, kind: str) -> None:
    directory, other = tmp_path / "store", tmp_path / "other"
    directory.mkdir()
    other.write_text("mine")
    other.chmod(0o644)
    path = directory / CONFIGURATION
    if kind == "file":
        path.write_text("old")
        path.chmod(0o644)
    else:
        path.symlink_to(other)
    with store(directory) as server:
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o600
        assert server.password in path.read_text()
    assert other.read_text() == "mine"


@pytest.mark.parametrize("name", ["owner.json", "nats-server.out"])
def test_no_file_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    directory, other = tmp_path / "store", tmp_path / "other"
    directory.mkdir()
    other.write_text("mine")
    (directory / name).symlink_to(other)
    with pytest.raises(StoreError, match=name), store(directory):
        pass
    assert other.read_text() == "mine"
