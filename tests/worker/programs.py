"""`rxhub work` in a process of its own, with modules that a test writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGTERM, Signals
from socket import create_server
from typing import Any
from urllib.error import HTTPError, URLError

from rxhub import Event, EventHub
from rxhub.testing import Nats
from tests.threads import LIMIT, until

__all__ = ["Program", "children", "free_port", "jobs", "notes", "probe", "publish", "working"]

_JOBS = """
import os, time
from rxhub import EventHub

hub = EventHub(*os.environ["NATS"].split(), stream=os.environ["STREAM"])
out = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what, event):
    os.write(out, f"{what} {event.data['value']}\\n".encode())


@hub.process("topic=job", group="jobs", since="first", retries=OPTIONS_RETRIES, concurrency=OPTIONS_CONCURRENCY)
def job(event):
    note("begin", event)
    time.sleep(event.data.get("seconds", 0))
    note("done", event)
"""
"""A module that notes in a file which events a handler has begun and done."""


class Program:
    """A running command.

    Attributes:
        process: the process; its stderr goes to a file.
    """

    def __init__(self, directory: Path, nats: Nats | None, *arguments: str) -> None:
        self._directory = directory
        self._log = directory / f"stderr-{os.urandom(4).hex()}"
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        if nats is not None:
            environment |= {"NATS": f"{nats.url} {nats.user} {nats.password}", "STREAM": nats.stream}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rxhub", "work", *arguments],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def until_said(self, text: str) -> None:
        until(lambda: text in self.said or self.process.poll() is not None, 2 * LIMIT)
        assert text in self.said

    def until_running(self) -> None:
        self.until_said("Running ")

    def end(self, number: Signals = SIGTERM) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(2 * LIMIT)


@contextmanager
def working(directory: Path, nats: Nats | None, *arguments: str) -> Generator[Program]:
    program = Program(directory, nats, *arguments)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.wait(LIMIT)


def children(program: Program) -> set[int]:
    """The process ids of its children."""
    found: set[int] = set()
    for task in Path(f"/proc/{program.process.pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread, which has ended
            found.update(map(int, (task / "children").read_text().split()))
    return found


def jobs(directory: Path, retries: int = 5, concurrency: int = 1) -> None:
    """Write the module `farm`."""
    text = _JOBS.replace("OPTIONS_RETRIES", str(retries)).replace("OPTIONS_CONCURRENCY", str(concurrency))
    (directory / "farm.py").write_text(text)


def notes(directory: Path) -> list[str]:
    path = directory / "notes"
    return path.read_text().splitlines() if path.exists() else []


def publish(hub: EventHub, topic: str, *values: int, seconds: float = 0.0) -> None:
    for sent in [hub.publish(Event(topic, data={"value": value, "seconds": seconds})) for value in values]:
        assert sent is not None and not isinstance(sent, list)
        sent.result(LIMIT)


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def probe(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """The answer to a probe; status 0 if nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LIMIT) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)
    except URLError:
        return 0, {}
