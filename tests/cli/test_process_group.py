"""Ctrl-C at a terminal reaches all programs of a process group at once, and `systemctl stop` their children too."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest
from reactivex import operators as ops

from rxhub import Event, EventHub
from rxhub.embedded import store
from rxhub.errors import RxHubError
from tests.cli.terminal import COMMAND
from tests.threads import LIMIT, until

Program = subprocess.Popen[str]


@contextmanager
def group_of(
    *arguments: str | Path, leader: Program | None = None, env: dict[str, str] | None = None
) -> Generator[Program]:
    """`rxhub` in the process group of `leader`, or in one of its own."""
    program = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (env or {}),
        process_group=0 if leader is None else leader.pid,
    )
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


def exports(server: Program) -> dict[str, str]:
    """The variables that `rxhub serve --store` prints, once it serves."""
    lines: list[str] = []
    assert server.stdout is not None
    while not lines or "RXHUB_NATS configures" not in lines[-1]:
        lines.append(server.stdout.readline())
        assert lines[-1], "the server has ended"
    return dict(re.findall(r"export (\w+)='?([^'\n]*)'?", "".join(lines)))


class Publishing:
    """Publishes until it is told to stop, and notes which events were acknowledged."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.acknowledged: set[int] = set()
        self._hub = EventHub(*(variables[f"FTRACK_{name}"] for name in ("SERVER", "API_USER", "API_KEY")), outbox=50)
        self._is_over = threading.Event()
        self._hub.connect()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()

    def _publish(self) -> None:
        number = 0
        while not self._is_over.wait(0.001):
            number += 1
            try:
                sent = self._hub.publish(Event("studio.tick", data={"n": number}))
            except RxHubError:  # the outbox is full
                continue
            assert sent is not None
            sent.add_done_callback(lambda sent, n=number: self._note(sent.exception(), n))

    def _note(self, error: BaseException | None, number: int) -> None:
        if error is None:
            self.acknowledged.add(number)

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(LIMIT)
        self._hub.close(0)


def children(pid: int) -> list[int]:
    """Those of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def stored(directory: Path) -> list[int]:
    with store(directory) as server, EventHub(server.url, server.user, server.password) as hub:
        hub.connect()
        with hub.start():
            events = hub.replay("topic=studio.tick", since=1).pipe(ops.to_list()).run()
    return [event.data["n"] for event in events]


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
@pytest.mark.parametrize("reaches_nats", [False, True], ids=["terminal", "service manager"])
def test_a_server_its_store_and_its_listeners_end_cleanly_and_lose_no_acknowledged_event(
    tmp_path: Path, number: Signals, reaches_nats: bool
) -> None:
    with group_of("serve", "--store", tmp_path, "--port", "0") as server:
        variables = exports(server)
        publishing = Publishing(variables)
        try:
            with group_of("listen", "topic=studio.*", leader=server, env=variables) as listener:
                assert listener.stdout is not None and listener.stdout.readline()
                before = len(publishing.acknowledged)
                until(lambda: len(publishing.acknowledged) > before + 50)
                nats = children(server.pid)
                assert len(nats) == 1 and os.getpgid(nats[0]) != server.pid
                if reaches_nats:
                    os.kill(nats[0], number)
                os.killpg(server.pid, number)
                _, server_said = server.communicate(timeout=2 * LIMIT)
                _, listener_said = listener.communicate(timeout=LIMIT)
        finally:
            publishing.stop()
        ended = 130 if number is SIGINT else -SIGTERM
        assert (server.returncode, listener.returncode) == (ended, ended)
        assert "Traceback" not in server_said + listener_said
        assert not listener_said
        assert reaches_nats or not server_said
    # Nothing runs there any more, else the directory would be in use.
    numbers = stored(tmp_path)
    assert publishing.acknowledged <= {*numbers} and len({*numbers}) == len(numbers)


def test_a_server_that_ends_while_nobody_publishes_says_nothing(tmp_path: Path) -> None:
    for number in (SIGINT, SIGTERM):
        with group_of("serve", "--store", tmp_path, "--port", "0") as server:
            exports(server)
            os.killpg(server.pid, number)
            assert server.communicate(timeout=2 * LIMIT) == ("", "")


def test_a_second_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with group_of("serve", "--store", tmp_path, "--port", "0") as server:
        exports(server)
        for _ in range(5):
            os.killpg(server.pid, signal.SIGINT)
        _, said = server.communicate(timeout=2 * LIMIT)
        assert server.returncode == 130 and "Traceback" not in said
    assert stored(tmp_path) == []
