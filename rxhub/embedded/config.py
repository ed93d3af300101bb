"""The configuration of a private server: loopback only, with a password, and synchronous writes."""

from __future__ import annotations

import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["LOG", "MONITOR", "configuration", "make_private", "write"]

LOG: Final = "nats-server.log"
CONFIGURATION: Final = "nats-server.json"

MONITOR: Final = "rxhub-monitor"  # the user of the system account, which may read the server's health
_LARGEST_MESSAGE = 8 * 1024 * 1024
_MEMORY = 256 * 1024 * 1024
_LOG_SIZE = 10 * 1024 * 1024
_OF_FREE = 0.75


def configuration(
    directory: Path, user: str, password: str, monitor_password: str, port: int | None = None
) -> dict[str, object]:
    """The configuration of the server, as JSON, which its language includes; without `port`, on a free one."""
    return {
        "server_name": "rxhub",
        "listen": f"127.0.0.1:{-1 if port is None else port}",
        "ports_file_dir": str(directory),
        # Users outside `accounts` belong to the global account, which has the streams.
        "authorization": {"users": [{"user": user, "password": password}]},
        "accounts": {"$SYS": {"users": [{"user": MONITOR, "password": monitor_password}]}},
        "max_payload": _LARGEST_MESSAGE,
        "log_file": str(directory / LOG),
        "logfile_size_limit": _LOG_SIZE,
        "logfile_max_num": 3,
        "jetstream": {
            "store_dir": str(directory),
            # There is no other copy: acknowledged events must survive a power failure.
            "sync_interval": "always",
            "max_memory_store": _MEMORY,
            "max_file_store": _room(directory),
        },
    }


def write(directory: Path, settings: dict[str, object]) -> Path:
    """Write a configuration that only its owner can read; returns its path.

    A new file replaces the old one, which may have another mode or be a link.
    """
    path = directory / CONFIGURATION
    fresh = directory / f".{CONFIGURATION}.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor, not a path
            file.write(json.dumps(settings, indent=2, ensure_ascii=False))
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    return path


def make_private(output: int, log: Path) -> None:
    """Make the output and an existing log of the server readable for their owner only."""
    with suppress(PermissionError):
        os.fchmod(output, 0o600)
    # Neither follow a link nor wait for the reader of a pipe.
    with suppress(OSError):
        descriptor = os.open(log, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def _room(directory: Path) -> int:
    """The size limit of the store in bytes: its present size and most of the free space."""
    # By default the server counts only free space, so a store that uses most of a disk would be full after a restart.
    used = sum(file.stat().st_size for file in (directory / "jetstream").rglob("*") if file.is_file())
    return used + int(shutil.disk_usage(directory).free * _OF_FREE)
