"""The npm package socket.io 0.9 as a server, in a process of its own: for tests and benchmarks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["relaying"]


@contextmanager
def relaying(installed: Path, interval: float = 25, timeout: float = 60) -> Iterator[str]:
    """Its URL; it sends heartbeats at an interval, and waits for answers, in seconds."""
    process = subprocess.Popen(
        ["node", "--no-deprecation", "relay.js", str(interval), str(timeout)],
        cwd=installed,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None and process.stderr is not None
            port = process.stdout.readline().strip()
            assert port, process.stderr.read()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
