"""Who may open a directory: one process at a time.

Two servers in one store would destroy it. The lock is the system's own (`flock`), so it goes with who holds it, however
that ended. The server inherits it: where it outlives the process that started it, the directory stays locked until it
has ended too. The text in the file only tells people, and the next process, who that is.
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

# Seconds. A process that is being restarted may not have ended yet; the server of one that was killed is told so by
# the system, and needs a moment to close its files.
_HELD_TIMEOUT_S = 1.0
_ORPHANED_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 0.05


class DirectoryLock:
    """A directory that is ours until `release`.

    Args:
        directory: it exists.

    Raises:
        StoreError: if somebody else has it, and who that is.
        OSError: if it cannot be written to.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Not through a link, which could lead to any file of this user. Windows has none of these, nor `flock`.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        self.descriptor = os.open(directory / FILE, flags, 0o600)
        """What a child inherits, to hold the lock as well."""
        try:
            self._take()
        except BaseException:
            os.close(self.descriptor)
            raise

    def tell(self, server: int | None = None) -> None:
        """Write down who has it.

        Args:
            server: the process id of the server, once there is one.
        """
        told = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "server": server,
        }
        text = json.dumps(told).encode()
        os.pwrite(self.descriptor, text, 0)
        os.ftruncate(self.descriptor, len(text))

    def release(self) -> None:
        """Let it go; whoever has inherited the lock has it no more."""
        import fcntl

        os.ftruncate(self.descriptor, 0)
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)

    def _take(self) -> None:
        try:
            import fcntl
        except ImportError:
            raise StoreError(
                "There are no private NATS servers on this system: run `nats-server -js` as a service and name its URL."
            ) from None
        began = time.monotonic()
        asked = False
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                with suppress(PermissionError):  # it is another user's
                    os.fchmod(self.descriptor, 0o600)
                self.tell()
                return
            holder = self._holder()
            is_orphaned = holder.get("host") == socket.gethostname() and not _is_alive(holder.get("pid"))
            if time.monotonic() - began > (_ORPHANED_TIMEOUT_S if is_orphaned else _HELD_TIMEOUT_S):
                raise StoreError(self._complaint(holder, is_orphaned))
            if is_orphaned and not asked:
                asked = True
                self._end(holder.get("server"))
            time.sleep(_POLL_INTERVAL_S)

    def _holder(self) -> dict[str, Any]:
        try:
            told: Any = json.loads(os.pread(self.descriptor, 4_096, 0))
        except ValueError:  # it is just being written
            return {}
        return cast("dict[str, Any]", told) if isinstance(told, dict) else {}

    def _complaint(self, holder: dict[str, Any], is_orphaned: bool) -> str:
        pid, since = holder.get("pid"), holder.get("since")
        if is_orphaned:
            return (
                f"The store {self._directory} is still held by the NATS server (process {holder.get('server')}) of "
                f"process {pid}, which has ended. End it by `kill {holder.get('server')}`."
            )
        who = "this process itself" if pid == os.getpid() else f"process {pid} on {holder.get('host')}"
        return (
            f"The store {self._directory} is in use by {who}, since {since}. Two servers cannot share a store: connect "
            "to the one that is there, end it, or choose another directory."
        )

    def _end(self, server: object) -> None:
        """Ask a server to end whose process was killed, where the system has not told it."""
        if not isinstance(server, int) or not _is_alive(server):
            return
        # The number may be another process's by now; a server names its configuration when it is started.
        with suppress(OSError, subprocess.SubprocessError):
            named = subprocess.run(
                ["ps", "-ww", "-o", "args=", "-p", str(server)], capture_output=True, timeout=5, check=False
            )
            if os.fsencode(self._directory) in named.stdout:
                os.kill(server, signal.SIGTERM)


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return True  # who holds it has not told yet
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
