"""Locks a directory for one process.

Two servers would destroy a store. The system releases the lock (`flock`) when its holder ends, however that happens.
The server inherits the lock: if it outlives the process that started it, the directory stays locked until it ends.
The content of the file only tells people, and the next process, who holds the lock.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from rxhub.errors import StoreError

__all__ = ["FILE", "DirectoryLock"]

FILE: Final = "owner.json"

# A restarted process may not have ended yet. The server of a killed process gets a signal from the system and needs a
# moment to close its files.
_HELD_TIMEOUT_S = 1.0
_ORPHANED_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 0.05


class DirectoryLock:
    """The lock of an existing directory, until `release`. Raises StoreError if another process holds it; names it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Not through a link, which could point to any file of this user. Windows has neither these flags nor `flock`.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        self.descriptor = os.open(directory / FILE, flags, 0o600)
        """A child that inherits it holds the lock, too."""
        try:
            self._acquire()
        except BaseException:
            os.close(self.descriptor)
            raise

    def write_holder(self, server: int | None = None) -> None:
        content = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "server": server,
        }
        text = json.dumps(content).encode()
        os.pwrite(self.descriptor, text, 0)
        os.ftruncate(self.descriptor, len(text))

    def release(self) -> None:
        """Release the lock, also for children that inherited it."""
        import fcntl

        os.ftruncate(self.descriptor, 0)
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)

    def _acquire(self) -> None:
        try:
            import fcntl
        except ImportError:
            raise StoreError(
                "Private NATS servers do not run on this system. Run `nats-server -js` as a service and use its URL."
            ) from None
        began = time.monotonic()
        stopped = False
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                with suppress(PermissionError):  # the file belongs to another user
                    os.fchmod(self.descriptor, 0o600)
                self.write_holder()
                return
            holder = self._holder()
            is_orphaned = holder.get("host") == socket.gethostname() and not _is_alive(holder.get("pid"))
            if time.monotonic() - began > (_ORPHANED_TIMEOUT_S if is_orphaned else _HELD_TIMEOUT_S):
                raise StoreError(self._message(holder, is_orphaned))
            if is_orphaned and not stopped:
                stopped = True
                self._stop_server(holder.get("server"))
            time.sleep(_POLL_INTERVAL_S)

    def _holder(self) -> dict[str, Any]:
        try:
            content: Any = json.loads(os.pread(self.descriptor, 4_096, 0))
        except ValueError:  # being written
            return {}
        return cast("dict[str, Any]", content) if isinstance(content, dict) else {}

    def _message(self, holder: dict[str, Any], is_orphaned: bool) -> str:
        pid, since = holder.get("pid"), holder.get("since")
        if is_orphaned:
            return (
                f"The store {self._directory} is still in use by the NATS server (process {holder.get('server')}) of "
                f"process {pid}, which has ended. Stop it with `kill {holder.get('server')}`."
            )
        who = "this process itself" if pid == os.getpid() else f"process {pid} on {holder.get('host')}"
        return (
            f"The store {self._directory} is in use by {who}, since {since}. Two servers cannot share a store: connect "
            "to the running one, stop it, or choose another directory."
        )

    def _stop_server(self, server: object) -> None:
        """Stop the server of a killed process, in case the system has not done so."""
        if not isinstance(server, int) or not _is_alive(server):
            return
        # Another process may have this id by now. The arguments of a server contain the path of its configuration.
        with suppress(OSError, subprocess.SubprocessError):
            named = subprocess.run(
                ["ps", "-ww", "-o", "args=", "-p", str(server)], capture_output=True, timeout=5, check=False
            )
            if os.fsencode(self._directory) in named.stdout:
                os.kill(server, signal.SIGTERM)


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return True  # not written yet
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
