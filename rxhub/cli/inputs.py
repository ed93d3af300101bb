"""Open the inputs of commands: files and stdin."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

__all__ = ["STDIN", "input_name", "open_input"]

STDIN = Path("-")


def input_name(path: Path) -> str:
    """Return the name of an input for messages."""
    return "(standard input)" if path == STDIN else str(path)


def open_input(path: Path) -> AbstractContextManager[BinaryIO]:
    """Open a file for reading bytes; `-` is stdin."""
    if path != STDIN:
        return path.open("rb")
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]  # closed by the shell: `<&-`
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), input_name(path))
    return nullcontext(sys.stdin.buffer)
