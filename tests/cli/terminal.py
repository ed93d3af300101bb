"""The real command, in a process of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["COMMAND", "DATA", "EVENTS", "on_a_terminal", "rxhub"]

COMMAND = [sys.executable, "-m", "rxhub.cli"]
DATA = Path(__file__).parents[1] / "data"
EVENTS = DATA / "events.jsonl"


def rxhub(*arguments: str | Path, stdin: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `rxhub` to its end; stdout and stderr are bytes."""
    options = {"capture_output": True, "input": stdin, **options}
    return subprocess.run([*COMMAND, *map(str, arguments)], timeout=60, check=False, **options)


def on_a_terminal(*arguments: str | Path, stdout: int | None = None, **variables: str) -> tuple[int, str]:
    """Run `rxhub` where stderr is a terminal, and stdout too unless it is given: its status and what was seen."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **variables}
    command = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=slave,
        stdout=slave if stdout is None else stdout,
        stderr=slave,
        env=environment,
    )
    os.close(slave)
    seen = b""
    try:
        while chunk := os.read(master, 65536):
            seen += chunk
    except OSError:  # Linux says EIO where the last writer has closed a terminal
        pass
    finally:
        os.close(master)
    return command.wait(timeout=60), seen.decode()
