"""Runs `rxhub` in forked processes, which need not import it again: most of a short command's time.

Run as a program, this is the server: for each command it receives the file descriptors and the settings, forks, and the
child goes on as `python -m rxhub.cli` does. Only the imports are shared.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from typing import Any

__all__ = ["ForkServer"]

_MAX_REQUEST = 1_000_000  # bytes


class ForkServer:
    """A server process, which is started at once and ends with this process."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, _MAX_REQUEST)
            other.setsockopt(socket.SOL_SOCKET, option, _MAX_REQUEST)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.fork_server", str(other.fileno())], pass_fds=[other.fileno()]
            )

    def start(self, arguments: Sequence[str], environment: dict[str, str], cwd: str, files: Sequence[int]) -> int:
        """Start a command with stdin, stdout and stderr; its process id."""
        request = json.dumps([list(arguments), environment, cwd]).encode()
        socket.send_fds(self._socket, [request], files)
        return int(self._socket.recv(100))

    def wait(self, timeout: float) -> int:
        """The exit status of the command that was started last, negative for a signal."""
        self._socket.settimeout(timeout)
        try:
            return int(self._socket.recv(100))
        finally:
            self._socket.settimeout(None)


def _serve(server: socket.socket) -> bool:
    """Fork a child for each request. Returns True in a child, and False in the server at the end of the requests."""
    while True:
        request, files, _, _ = socket.recv_fds(server, _MAX_REQUEST, 3)
        if not request:
            return False
        child = os.fork()
        if child == 0:
            server.close()
            _become(*json.loads(request), files)
            return True
        for file in files:
            os.close(file)
        server.send(str(child).encode())
        server.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _become(arguments: list[str], environment: dict[str, str], cwd: str, files: list[int]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # The old streams have cached whether their files can seek.
    sys.stdin = TextIOWrapper(BufferedReader(FileIO(0, closefd=False)), sys.stdin.encoding, sys.stdin.errors)
    for number, name in ((1, "stdout"), (2, "stderr")):
        old = getattr(sys, name)
        file = BufferedWriter(FileIO(number, "w", closefd=False))
        setattr(
            sys, name, TextIOWrapper(file, old.encoding, old.errors, line_buffering=number == 2 or os.isatty(number))
        )
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    import rxhub.cli

    sys.argv = [f"{rxhub.cli.__path__[0]}/__main__.py", *arguments]


def _import() -> None:
    import rxhub.cli.app
    import rxhub.hub
    import rxhub.transport.nats
    import rxhub.transport.socketio  # noqa: F401


def _main() -> Any:
    _import()
    with socket.socket(fileno=int(sys.argv[1])) as server:
        if not _serve(server):
            return 0
    from rxhub.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(_main())
