"""The asyncio loop of a process for all input and output; it runs no user code.

It is started on first network use, in a daemon thread, and runs until the process ends. A forked child has none of the
parent's threads, so it forgets the parent's loop and starts its own on first use.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Thread

from rxhub.concurrency.event_loop import check_threads
from rxhub.concurrency.fork import ForkSafeLock, run_after_fork
from rxhub.concurrency.supervise import report
from rxhub.errors import HubClosed

__all__ = ["cut", "forget", "in_io_thread", "io_loop", "is_exiting", "refuse_new_threads"]

_lock = ForkSafeLock()
_loop: asyncio.AbstractEventLoop | None = None
_exiting = False

# Loops that a fork has copied, with their tasks. If one were collected, its finalizers would use the parent's sockets.
_of_the_parent: list[asyncio.AbstractEventLoop] = []


def io_loop() -> asyncio.AbstractEventLoop:
    """The running loop, started on first use. Raises HubClosed if no thread can be started, as when exiting."""
    global _loop
    if (loop := _loop) is not None:
        return loop
    with _lock:
        if _loop is None:
            if _exiting:
                raise HubClosed("Cannot connect: the interpreter is exiting.")
            check_threads()
            loop = asyncio.new_event_loop()
            try:
                Thread(target=_run, args=(loop,), name="rxhub-network", daemon=True).start()
            except RuntimeError as error:
                loop.close()
                raise HubClosed(f"Cannot connect, since no thread can be started: {error}.") from error
            if _loop is None:
                _loop = loop
            else:  # a signal handler in this thread has started another one
                loop.call_soon_threadsafe(loop.stop)
        return _loop


def in_io_thread() -> bool:
    """Whether the caller runs on the loop, as callbacks of futures do, and so must not wait for the network."""
    try:
        return asyncio.get_running_loop() is _loop
    except RuntimeError:
        return False


def cut(transport: asyncio.WriteTransport) -> None:
    """Abort a connection, even if it has unsent data or is closed."""
    # asyncio raises it if the connection was closed with unsent data that has been sent since.
    with suppress(AttributeError):
        transport.abort()


def refuse_new_threads() -> None:
    """Start no threads from now on: the interpreter is exiting."""
    global _exiting
    _exiting = True


def is_exiting() -> bool:
    """Whether no threads may be started any more."""
    return _exiting


def forget() -> None:
    """Forget the loop in a forked child."""
    global _loop
    if _loop is not None:
        _of_the_parent.append(_loop)
    _loop = None


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while not loop.is_closed():
        try:
            loop.run_forever()
            return
        except BaseException as error:
            # A SystemExit in a callback passes through the loop, but all hubs of the process need this thread.
            report("network thread", error)


run_after_fork(forget)
