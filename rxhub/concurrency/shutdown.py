"""Graceful shutdown: SIGTERM and SIGINT let work finish instead of ending the process at once.

Python runs signal handlers in the main thread, between two steps of its code, so a handler must take no lock. Ours only
puts the signal into a `SimpleQueue`, which is reentrant; a thread that waits for it does the rest. Handlers are
installed when the first block is entered and restored when the last one is left, so blocks may be nested, sequential,
or concurrent on an asyncio loop.

The first signal calls the `stop` of every block, and the handler that the program had installed. The second one
restores the former handlers and raises the signal again, so that it has its original effect.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread, current_thread, main_thread
from types import FrameType
from typing import Any

from rxhub.concurrency.fork import run_after_fork

__all__ = ["GRACE_S", "ShutdownWatch", "is_shutting_down", "on_shutdown_signal"]

GRACE_S = 25.0
"""Seconds for running work to finish after a signal. Service managers kill a process 30 to 90 seconds after SIGTERM."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_watched: list[ShutdownWatch] = []
_former: dict[int, Any] = {}
_received: list[int] = []
_process = os.getpid()

logger = logging.getLogger("rxhub")


class ShutdownWatch:
    """A block, and the thread that waits for a signal.

    Attributes:
        signals: the signals received; None ends the thread.
        is_asked: whether a signal was received.
        received: the number of the first signal; 0 before.
        finished: done when `stop` has returned, or will not be called any more.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self.signals: SimpleQueue[int | None] = SimpleQueue()
        self.is_asked = False
        self.received = 0
        self.finished: Future[None] = Future()
        self._stop = stop
        self._thread = Thread(target=self._serve, name="rxhub-shutdown", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        number = self.signals.get()
        if number is not None:
            self._shut_down(number)
        self.finished.set_result(None)

    def _shut_down(self, number: int) -> None:
        logger.info(
            "%s: finishing running work. A second signal ends the process at once.", signal.Signals(number).name
        )
        try:
            self._stop()
        except BaseException as error:
            logger.error("The shutdown after %s failed: %s", signal.Signals(number).name, error, exc_info=error)


@contextmanager
def on_shutdown_signal(stop: Callable[[], object], *, waits: bool = True) -> Generator[ShutdownWatch | None]:
    """Let SIGTERM and SIGINT call `stop`, in a separate thread, while the block runs.

    Signals that the program ignores stay ignored. Nothing happens, and None is yielded, outside of the main thread,
    which alone may install handlers. If `waits`, leaving the block waits until `stop` has returned, if it was called.
    """
    if current_thread() is not main_thread():
        yield None
        return
    watch = ShutdownWatch(stop)
    if not _watched:
        _install()
    _watched.append(watch)
    try:
        yield watch
    finally:
        # Still installed: a second signal while `stop` runs ends the wait.
        try:
            watch.signals.put(None)
            if waits:
                watch.finished.result()
        finally:
            if watch in _watched:
                _watched.remove(watch)
            if not _watched:
                _restore()


def is_shutting_down() -> bool:
    """Whether a signal was received for the present blocks, even if their `stop` was not called yet."""
    return bool(_received and _watched)


def _install() -> None:
    global _process
    _process = os.getpid()
    _received.clear()
    for number in _SIGNALS:
        former = signal.getsignal(number)
        # None is a handler that was not installed by Python, and cannot be restored.
        if former is not signal.SIG_IGN and former is not None:
            _former[number] = former
            signal.signal(number, _handle)


def _restore() -> None:
    for number, former in list(_former.items()):
        # The program may have installed another handler since.
        if signal.getsignal(number) is _handle:
            signal.signal(number, former)
    _former.clear()


def _handle(number: int, frame: FrameType | None) -> None:
    former = _former.get(number)
    # A second one; or a child process received it before it could restore the former handlers.
    if _received or os.getpid() != _process:
        _forget()
        signal.raise_signal(number)
        return
    _received.append(number)
    for watch in _watched:
        watch.is_asked, watch.received = True, number
        watch.signals.put(number)
    if callable(former) and former is not signal.default_int_handler and not _is_of_asyncio(former):
        former(number, frame)


def _is_of_asyncio(handler: Any) -> bool:
    """Whether `asyncio.run` has installed it: it cancels the main task, where Ctrl-C raises KeyboardInterrupt."""
    function = getattr(handler, "func", None)
    return getattr(function, "__qualname__", "") == "Runner._on_sigint"


def _forget() -> None:
    """Restore the former handlers; also in a child process, which lacks the waiting threads."""
    _restore()
    _watched.clear()


run_after_fork(_forget)
