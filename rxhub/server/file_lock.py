"""An exclusive lock on a file that is replaced as a whole, for a read-modify-write cycle.

The lock belongs to the operating system, so it ends with its process. If possible, it is taken on the file itself, so
that no lock file is needed, and everyone who may change the file can lock it. If the file was replaced while waiting,
the lock is taken again on the new file. Threads of one process exclude each other too, because each opens the file.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["locked"]

_BETWEEN_S = 0.01


@contextmanager
def locked(path: Path, timeout: float) -> Generator[None]:
    """Hold the lock on a file during a `with` block.

    Args:
        path: the file, without symbolic links. If it does not exist, it is created empty, readable for its owner only,
            and removed again if the block raises.
        timeout: seconds to wait for another holder.

    Raises:
        TimeoutError: if another process or thread holds the lock for longer.
        OSError: if the file cannot be opened or locked.
    """
    deadline = time.monotonic() + timeout
    while True:
        descriptor, is_new = _opened(_lock_path(path))
        try:
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} is locked by another process.")
                time.sleep(random.uniform(0.5, 1.5) * _BETWEEN_S)
            if not _is_current(descriptor, _lock_path(path)):
                continue
            try:
                yield
            except BaseException:
                if is_new and _is_current(descriptor, path):
                    path.unlink()
                raise
            return
        finally:
            os.close(descriptor)


def _opened(path: Path) -> tuple[int, bool]:
    """The descriptor of a file, and whether it was created."""
    flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
    while True:
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
        try:
            return os.open(path, flags), False
        except FileNotFoundError:  # removed between the two calls
            continue
        except PermissionError:  # a read-only file can be replaced and, except on NFS, locked
            return os.open(path, flags & ~os.O_RDWR | os.O_RDONLY), False


def _is_current(descriptor: int, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock_path(path: Path) -> Path:
        """A separate file, because Windows cannot replace an open file."""
        return path.with_name(f".{path.name}.lock")

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock_path(path: Path) -> Path:
        return path

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
