"""The one background asyncio loop of a process, on which all input and output runs, and no user code.

It is started on first network use, in a daemon thread, and lives as long as the process. A forked child has
none of the parent's threads, so it forgets the parent's loop and starts one of its own when it needs it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Thread

from rxhub.concurrency.event_loop import check_threads
from rxhub.concurrency.fork import ForkSafeLock, run_after_fork
from rxhub.concurrency.supervise import report
from rxhub.errors import HubClosed

__all__ = ["cut", "forget", "in_io_thread", "io_loop", "start_no_more"]

_lock = ForkSafeLock()
_loop: asyncio.AbstractEventLoop | None = None
_exiting = False

# Loops that a fork has copied, with all that their tasks hold. Were one collected, its finalizers would
# speak to sockets and to an epoll set that are the parent's.
_of_the_parent: list[asyncio.AbstractEventLoop] = []


def io_loop() -> asyncio.AbstractEventLoop:
    """The running loop; started if it is not.

    Raises:
        HubClosed: if the interpreter is exiting, when no thread is started any more.
    """
    global _loop
    if (loop := _loop) is not None:
        return loop
    with _lock:
        if _loop is None:
            if _exiting:
                raise HubClosed("No connection is made any more: the interpreter is exiting.")
            check_threads()
            loop = asyncio.new_event_loop()
            try:
                Thread(target=_run, args=(loop,), name="rxhub-network", daemon=True).start()
            except RuntimeError as error:
                loop.close()
                raise HubClosed(f"No connection can be made, since no thread can be started: {error}.") from error
            if _loop is None:
                _loop = loop
            else:  # a signal handler in this thread was first
                loop.call_soon_threadsafe(loop.stop)
        return _loop


def in_io_thread() -> bool:
    """Whether this code runs on the loop, as callbacks of futures do: what waits for the network here never ends."""
    try:
        return asyncio.get_running_loop() is _loop
    except RuntimeError:
        return False


def cut(transport: asyncio.WriteTransport) -> None:
    """End a connection now, whatever it still had to send; also one that has ended."""
    # asyncio fails where the connection was closed while it had something to send, and has sent it since.
    with suppress(AttributeError):
        transport.abort()


def start_no_more() -> None:
    """From now on no thread is started: the interpreter is exiting."""
    global _exiting
    _exiting = True


def forget() -> None:
    """Have no loop; for a child process, where its thread is gone."""
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
            # `SystemExit` in one callback passes through the loop. All hubs of the process depend on this thread.
            report("network thread", error)


run_after_fork(forget)
