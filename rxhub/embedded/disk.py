"""Whether the directory of a private server is private, has free space and can be written to."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from shlex import quote
from typing import Final

from rxhub.errors import StoreError

__all__ = ["check_room", "warn_if_shared", "write_fault"]

_MIN_FREE_BYTES: Final = 16 * 1024 * 1024  # the free space needed to start: for logs and the index of a stream
_TRIAL_BYTES: Final = 1024 * 1024
_TRIAL: Final = "trial-write.tmp"

_logger = logging.getLogger("rxhub.embedded")


def warn_if_shared(directory: Path) -> None:
    """Warn of a directory in which other users can replace files: the server's configuration, password and events.

    No error: in a container, volumes are often like this, and there are no other users.
    """
    if os.name != "posix":
        return
    found = directory.stat()
    if found.st_uid not in {0, os.geteuid()}:
        _logger.warning(
            "The store %s belongs to another user (%d), who can read and change the events in it. Make it yours "
            "(`chown`), or choose another directory.",
            directory,
            found.st_uid,
        )
    elif found.st_mode & 0o022:
        _logger.warning(
            "Other users can replace the files in the store %s (mode %04o), and so read and change events. Make it "
            "private: `chmod 700 %s`.",
            directory,
            found.st_mode & 0o7777,
            quote(str(directory)),
        )


def check_room(directory: Path) -> None:
    """Raise StoreError if the disk has too little free space."""
    if (free := shutil.disk_usage(directory).free) < _MIN_FREE_BYTES:
        raise StoreError(
            f"The NATS server of {directory} was not started: only {free / 1_048_576:.1f} MiB are free there, and "
            f"it needs {_MIN_FREE_BYTES // 1_048_576} MiB. Free up space, or choose another directory."
        )


def write_fault(directory: Path) -> str:
    """Why a server could not store in a directory, by a trial write; empty if it could."""
    try:
        if (free := shutil.disk_usage(directory).free) < _MIN_FREE_BYTES:
            return f"only {free / 1_048_576:.1f} MiB are free"
        path = directory / _TRIAL
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123
                file.write(bytes(_TRIAL_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            path.unlink(missing_ok=True)
    except OSError as error:
        return f"a trial write failed ({error})"
    return ""
