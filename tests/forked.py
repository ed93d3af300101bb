"""What a check finds in a forked child."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Event, Thread
from typing import Any

__all__ = ["in_child", "while_held"]


def in_child(check: Callable[[], bool]) -> bool:
    """Whether `check` is true in a forked child; a child that hangs is killed."""
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def while_held(lock: AbstractContextManager[Any], check: Callable[[], bool]) -> bool:
    """`in_child(check)`, while another thread of the parent holds the lock."""
    held, release = Event(), Event()

    def hold() -> None:
        with lock:
            held.set()
            release.wait(30)

    thread = Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        return in_child(check)
    finally:
        release.set()
        thread.join()
