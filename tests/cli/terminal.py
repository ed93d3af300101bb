"""The real command, in a process of its own, which is forked where that makes no difference."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cli.fork_server import ForkServer

__all__ = ["COMMAND", "DATA", "EVENTS", "on_a_terminal", "rxhub"]

COMMAND = [sys.executable, "-m", "rxhub.cli"]
DATA = Path(__file__).parents[1] / "data"
EVENTS = DATA / "events.jsonl"

_TIMEOUT_S = 60

# Those that run no command now.
_idle: list[ForkServer] = []


def rxhub(
    *arguments: str | Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run `rxhub` to its end; stdout (if it is not given) and stderr are bytes."""
    environment = dict(os.environ if env is None else env)
    with ThreadPoolExecutor(3) as threads:
        (read, given), (printed, write), (reported, report) = os.pipe(), os.pipe(), os.pipe()
        writing = threads.submit(_write, given, stdin)
        outputs = [threads.submit(_read, pipe) for pipe in (printed, reported)]
        files = [read, write if stdout is None else stdout, report]
        with _running(arguments, environment, files, cwd) as ended:
            for file in (read, write, report):
                os.close(file)
            status = ended()
        writing.result()
        written, errors = (output.result() for output in outputs)
        return subprocess.CompletedProcess(arguments, status, written if stdout is None else None, errors)


def _write(file: int, data: bytes) -> None:
    # A command may end before it has read everything.
    with suppress(BrokenPipeError), open(file, "wb") as pipe:
        pipe.write(data)


def _read(file: int) -> bytes:
    with open(file, "rb") as pipe:
        return pipe.read()


@contextmanager
def _running(
    arguments: Sequence[str | Path], environment: dict[str, str], files: Sequence[int], cwd: Path | None = None
) -> Iterator[Callable[[], int]]:
    """A command that runs during the block, and a function that waits for its end and returns its exit status."""
    words = [str(argument) for argument in arguments]
    if any(environment.get(name) != os.environ.get(name) for name in _interpreter_variables(environment)):
        read, write, report = files
        with subprocess.Popen(
            [*COMMAND, *words], stdin=read, stdout=write, stderr=report, env=environment, cwd=cwd
        ) as process:
            try:
                yield lambda: process.wait(_TIMEOUT_S)
            finally:
                process.kill()
        return
    server = _idle.pop() if _idle else ForkServer()
    child = server.start(words, environment, str(cwd or Path.cwd()), files)
    ended = False

    def wait() -> int:
        nonlocal ended
        status = server.wait(_TIMEOUT_S)
        ended = True
        return status

    try:
        yield wait
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            server.wait(_TIMEOUT_S)
        _idle.append(server)


def _interpreter_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Variables that the interpreter reads when it starts, so that they cannot be changed in a fork."""
    return (name for name in {*environment, *os.environ} if name.startswith(("PYTHON", "LC_", "LANG", "LD_")))


def on_a_terminal(*arguments: str | Path, stdout: int | None = None, **variables: str) -> tuple[int, str]:
    """Run `rxhub` where stderr is a terminal, and stdout too unless it is given: its status and what was seen."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **variables}
    files = [slave, slave if stdout is None else stdout, slave]
    try:
        with _running(arguments, environment, files) as ended:
            os.close(slave)
            seen = b""
            # Linux says EIO where the last writer has closed a terminal.
            with suppress(OSError):
                while chunk := os.read(master, 65536):
                    seen += chunk
            return ended(), seen.decode()
    finally:
        os.close(master)
