"""The event loop of the current thread, and errors where it is missing or the wrong one."""

from __future__ import annotations

import asyncio
import sys
from asyncio.events import _get_running_loop  # pyright: ignore[reportPrivateUsage]
from collections.abc import Callable
from typing import Any

from rxhub.errors import BlockingCallWarning, HubConnectionError, WrongLoop
from rxhub.text.caller_warning import warn_caller

__all__ = ["check_asyncio", "check_threads", "is_cancelling", "running_loop", "warn_if_blocking"]


running_loop: Callable[[], asyncio.AbstractEventLoop | None] = _get_running_loop
"""Returns the event loop that runs in this thread, or None; `asyncio.get_running_loop` raises, which is slow."""


def check_asyncio(what: str) -> None:
    """Raise WrongLoop if no asyncio loop runs in this thread; `what` is the call, such as `hub.run()`."""
    if running_loop() is None:
        name = "trio" if _trio_runs() else "no event loop"
        raise WrongLoop(
            f"{what} needs asyncio, but {name} runs in this thread. Handle the hub in a separate thread by "
            "hub.start() and publish by hub.publish(), or use asyncio (with anyio: anyio.run(main, backend='asyncio'))."
        )


def warn_if_blocking(what: str, instead: str) -> None:
    """Warn that a call blocks the event loop of this thread, except in notebooks, whose cells block it anyway."""
    if running_loop() is not None and not _is_interactive():
        warn_caller(f"{what} blocks the event loop that runs in this thread. Use {instead}.", BlockingCallWarning)


def is_cancelling() -> bool:
    """Whether cancellation of the running task was requested; False without a task.

    Not inlined: a task that its own traceback refers to would be freed by the garbage collector only.
    """
    loop = running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    return task is not None and task.cancelling() > 0


def check_threads() -> None:
    """Raise HubConnectionError if gevent or eventlet has patched the standard library.

    All greenlets of the thread would be blocked by the network's event loop.
    """
    gevent: Any = sys.modules.get("gevent.monkey")
    eventlet: Any = sys.modules.get("eventlet.patcher")
    name = ""
    if gevent is not None and any(map(gevent.is_module_patched, ("thread", "threading", "socket"))):
        name = "gevent"
    elif eventlet is not None and any(map(eventlet.is_monkey_patched, ("thread", "socket"))):
        name = "eventlet"
    if name:
        raise HubConnectionError(
            f"{name} has patched the threads or sockets of this process, and rxhub does not support that: its "
            "network runs asyncio in a thread. Connect in a process that is not patched, or use memory://."
        )


def _is_interactive() -> bool:
    """Whether the code runs in IPython, whose notebooks run cells on an event loop."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def _trio_runs() -> bool:
    trio: Any = sys.modules.get("trio")
    try:
        return trio is not None and trio.lowlevel.current_task() is not None
    except RuntimeError:
        return False
