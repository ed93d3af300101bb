"""A child process that ends with this one, however that ends."""

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
if os.getppid() == int(sys.argv[1]):  # else the parent has ended already
    os.execv(sys.argv[2], sys.argv[2:])
"""


def command_bound_to_parent(command: Sequence[str]) -> list[str]:
    """A command whose process gets SIGTERM when the *thread* that starts it ends; unchanged where that is impossible.

    The child requests it, in a few lines of Python before it executes the program. A `preexec_fn` could deadlock in a
    program with threads.
    """
    # In a host application, `sys.executable` is the host.
    if sys.platform != "linux" or "python" not in Path(sys.executable).name:
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, str(os.getpid()), *command]
