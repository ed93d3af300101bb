"""A NATS server as it is when nobody has told it anything: streams in files, written to the disk now and then.

`rxhub.embedded` has each event on the disk before it is acknowledged, which takes longer than all that is compared.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from rxhub.embedded.binary import find

__all__ = ["jetstream"]

_PATIENCE = 10.0


@contextmanager
def jetstream() -> Generator[str]:
    """The URL of a server on the loopback, as long as the `with` block lasts."""
    with socket.socket() as probe, TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        with subprocess.Popen(
            [find(), "-js", "-sd", folder, "-a", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                deadline = monotonic() + _PATIENCE
                while not _listens(port):
                    assert process.poll() is None and monotonic() < deadline, "nats-server does not start"
                    sleep(0.02)
                yield f"nats://127.0.0.1:{port}"
            finally:
                process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
