"""The npm package socket.io 0.9 as a server, in a process of its own: for tests and benchmarks."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["install", "relaying"]

_RELAY = Path(__file__).parents[2] / "peers" / "relay"


def install(folder: Path) -> Path:
    """Put the relay into `folder`, beside its package, which is downloaded if it is not there."""
    for file in _RELAY.iterdir():
        shutil.copy(file, folder)
    if not (folder / "node_modules" / "socket.io" / "package.json").exists():
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"],
            cwd=folder,
            check=True,
            timeout=100,
            capture_output=True,
        )
    return folder


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
