"""A child that ends when this process does, however that ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["command_bound_to_parent"]

_PROGRAM: Final = """\
import ctypes, os, sys
try:
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
except (AttributeError, OSError):
    pass
if os.getppid() == int(sys.argv[1]):  # else it died before this could be asked for
    os.execv(sys.argv[2], sys.argv[2:])
"""


def command_bound_to_parent(command: Sequence[str]) -> list[str]:
    """A command whose process gets SIGTERM when the *thread* that starts it ends; as it was where that cannot be.

    The child asks for it itself, in a few lines of Python before it becomes the program. Between a fork and an exec of
    ours (`preexec_fn`) it could deadlock where other threads run.
    """
    # Within a host application, `sys.executable` is the host.
    if sys.platform != "linux" or "python" not in Path(sys.executable).name:
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, str(os.getpid()), *command]
