"""The configuration of a private server: on loopback alone, with a password, and every write on the disk."""

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

MONITOR: Final = "rxhub-monitor"
"""The user of the system account, which alone may ask for the server's health."""

_LARGEST_MESSAGE = 8 * 1024 * 1024
_MEMORY = 256 * 1024 * 1024
_LOG_SIZE = 10 * 1024 * 1024
_OF_FREE = 0.75


def configuration(
    directory: Path, user: str, password: str, monitor_password: str, port: int | None = None
) -> dict[str, object]:
    """What the server reads; its language has JSON in it.

    Args:
        directory: where everything of it is.
        user: who may connect.
        password: the user's password.
        monitor_password: the password of `MONITOR`.
        port: where it listens; a free one if it is not given, which it tells in a file of its own.
    """
    return {
        "server_name": "rxhub",
        "listen": f"127.0.0.1:{-1 if port is None else port}",
        "ports_file_dir": str(directory),
        # Users outside of `accounts` have the global account, where the streams are.
        "authorization": {"users": [{"user": user, "password": password}]},
        "accounts": {"$SYS": {"users": [{"user": MONITOR, "password": monitor_password}]}},
        "max_payload": _LARGEST_MESSAGE,
        "log_file": str(directory / LOG),
        "logfile_size_limit": _LOG_SIZE,
        "logfile_max_num": 3,
        "jetstream": {
            "store_dir": str(directory),
            # One machine has no other copy: acknowledged means that it is on the disk, also when the power fails.
            "sync_interval": "always",
            "max_memory_store": _MEMORY,
            "max_file_store": _room(directory),
        },
    }


def write(directory: Path, settings: dict[str, object]) -> Path:
    """Write a configuration that only its owner can read, whatever was at its path before.

    The text goes into a new file that replaces the old one: a file that exists keeps its mode, and a link leads
    elsewhere.

    Returns:
        The path of the configuration.

    Raises:
        OSError: if it cannot be written.
    """
    path = directory / CONFIGURATION
    fresh = directory / f".{CONFIGURATION}.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor is no path
            file.write(json.dumps(settings, indent=2, ensure_ascii=False))
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    return path


def make_private(output: int, log: Path) -> None:
    """Let only their owner read what the server writes: its output, and its log if there is one already."""
    with suppress(PermissionError):
        os.fchmod(output, 0o600)
    # Neither through a link, nor waiting for whoever is at the other end of a pipe.
    with suppress(OSError):
        descriptor = os.open(log, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def _room(directory: Path) -> int:
    """Bytes that the store may have: what it has, and most of what is free, so that others find some too."""
    # By itself the server counts what is free alone: after a restart, a store that has most of a disk would be full.
    used = sum(file.stat().st_size for file in (directory / "jetstream").rglob("*") if file.is_file())
    return used + int(shutil.disk_usage(directory).free * _OF_FREE)
