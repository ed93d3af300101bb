"""The life of a hub: serving until a signal, closing, and the `async with` block.

All hubs are closed when the interpreter exits, and reset in forked children.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from time import monotonic
from typing import Any
from weakref import WeakSet

from rxhub.concurrency.awaitables import ignore_error
from rxhub.concurrency.fork import ForkSafeLock, run_after_fork
from rxhub.concurrency.shutdown import on_shutdown_signal
from rxhub.concurrency.supervise import supervise
from rxhub.concurrency.wakeup import Flag
from rxhub.errors import AlreadyHandled, HubClosed, HubConnectionError
from rxhub.hub.connection import HubConnection
from rxhub.hub.inbox import Inbox
from rxhub.hub.processings import Processings
from rxhub.hub.runner import CLOSE_TIMEOUT_S, Runner
from rxhub.transport.durable import GroupProcessing
from rxhub.transport.io_thread import in_io_thread, refuse_new_threads

__all__ = ["UNHANDLED", "Lifetime", "hubs", "shut_down_all"]

UNHANDLED = "%d events were waiting unhandled when the hub was closed."
"""Logged as a warning, with their number."""

_POLL_INTERVAL_S = 0.2
# Time for the transport to disconnect, beyond the timeout for unsent events.
_DISCONNECT_S = 2.0
# Time for unsent events when the handlers have used up the time to shut down.
_SEND_S = 1.0

logger = logging.getLogger("rxhub")


class Lifetime:
    """Closes the parts of a hub in order, once.

    Processings are stopped first, so that their handlers can still publish; then the inbox is closed, the current event
    is finished, and unsent events are sent. `complete` is called when nothing runs any more.

    Attributes:
        closing: set when the hub starts to close.
    """

    def __init__(
        self,
        inbox: Inbox,
        runner: Runner,
        connection: HubConnection,
        processings: Processings,
        complete: Callable[[], object],
    ) -> None:
        self.closing = Flag()
        self._inbox = inbox
        self._runner = runner
        self._connection = connection
        self._processings = processings
        self._complete = complete
        self._lock = ForkSafeLock()
        self._finished = False
        self._task: asyncio.Task[None] | None = None
        _lifetimes.add(self)

    # Serving

    def serve(self, close: Callable[[], None], grace: float) -> None:
        def shut_down() -> None:
            self._shut_down(close, grace)

        with self._processings.shut_down_on_error(shut_down) as failing, on_shutdown_signal(shut_down):
            while self._inbox.open:
                if self._runner.claimed_by:
                    self.closing.wait(_POLL_INTERVAL_S)
                else:
                    with suppress(AlreadyHandled, HubClosed):
                        self._runner.wait(None)
        if failing.is_alive():
            failing.join()
        self._processings.raise_error()

    async def aserve(self, close: Callable[[], None], grace: float) -> None:
        def shut_down() -> None:
            self._shut_down(close, grace)

        with (
            self._processings.shut_down_on_error(shut_down) as failing,
            on_shutdown_signal(shut_down, waits=False) as watch,
        ):
            while self._inbox.open:
                if self._runner.claimed_by:
                    await asyncio.sleep(_POLL_INTERVAL_S)
                else:
                    with suppress(AlreadyHandled, HubClosed):
                        await self._runner.run()
            if watch is not None and watch.is_asked:
                await asyncio.wrap_future(watch.finished)
        if failing.is_alive():
            await asyncio.to_thread(failing.join)
        self._processings.raise_error()

    def _shut_down(self, close: Callable[[], None], grace: float) -> None:
        # Handlers may publish and wait for replies as long as the hub is open.
        self._processings.stop_program(grace)
        close()

    # Closing

    def close(self, timeout: float) -> None:
        end = monotonic() + timeout
        for processing in self._processings.begin_to_stop(timeout):
            processing.stop(max(0.0, end - monotonic()))
        sent = self._begin_to_close(timeout)
        if sent is None:
            return
        if in_io_thread():
            # Waiting here would block all hubs of the process, this one included.
            self.finish()
            return
        if not self._runner.runs_here and not self._runner.join(timeout):
            logger.warning("A callback still runs %g s after close(). The hub closes when it returns.", timeout)
        with suppress(TimeoutError, HubConnectionError):
            sent.result(max(0.0, end - monotonic()) + _DISCONNECT_S)
        self._end_closing(sent)

    def _begin_to_close(self, timeout: float) -> Future[None] | None:
        """Accept nothing more; the future of the transport's end, or None if the hub was closed before."""
        with self._lock:
            if not self._inbox.open:
                return None
            lost = self._inbox.close()
        self.closing.set()
        # Contexts that started in the meantime.
        self._processings.begin_to_stop(timeout)
        if lost:
            logger.warning(UNHANDLED, lost)
        return self._connection.transport.close(timeout)

    def _end_closing(self, sent: Future[None]) -> None:
        error = sent.exception() if sent.done() else "no time was left."
        if error is not None:
            logger.warning("Not everything could be sent before the hub was closed: %s", error)
        self.finish()

    def finish(self) -> None:
        """Complete the observables, once the hub is closed and not running."""
        with self._lock:
            if self._inbox.open or self._finished or self._runner.claimed_by:
                return
            self._finished = True
        self._complete()

    # async with

    async def enter(self, connect: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = supervise(self._runner.run, "running a hub", expected=(AlreadyHandled, HubClosed))
        try:
            await asyncio.sleep(0)
            if task.done():
                task.result()
            await connect()
        except BaseException:
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
            raise
        self._task = task

    async def exit(self, error: BaseException | None) -> None:
        """As `close`, without blocking the loop."""
        task, self._task = self._task, None
        for processing in self._processings.begin_to_stop(CLOSE_TIMEOUT_S):
            await processing.astop(CLOSE_TIMEOUT_S)
        sent = self._begin_to_close(CLOSE_TIMEOUT_S)
        if sent is not None:
            waiting = asyncio.wrap_future(sent)
            ignore_error(waiting)  # `_end_closing` logs it
            await asyncio.wait([waiting], timeout=CLOSE_TIMEOUT_S + _DISCONNECT_S)
            self._end_closing(sent)
        if task is None:
            return
        await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
        if not task.done():
            logger.warning("A callback still runs %g s after close() and is cancelled.", CLOSE_TIMEOUT_S)
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
        if error is None and task.done() and not task.cancelled():
            task.result()

    def forked(self) -> None:
        self.closing = Flag()

    def begin_to_stop(self, timeout: float) -> list[GroupProcessing]:
        """Stop the processings without waiting; the stopping ones."""
        return self._processings.begin_to_stop(timeout)


hubs: WeakSet[Any] = WeakSet()
"""The hubs of this process; each is added when it has been created."""

_lifetimes: WeakSet[Lifetime] = WeakSet()


def shut_down_all(grace: float) -> None:
    """Shut down all hubs of the program: let running handlers and callbacks finish for `grace` seconds, then close.

    As `serve_forever` does after a signal. Hubs are closed when all handlers have ended, because a handler may publish
    with another hub. Waits a second longer for unsent events.
    """
    end = monotonic() + grace
    for processing in [each for lifetime in list(_lifetimes) for each in lifetime.begin_to_stop(grace)]:
        processing.stop(max(0.0, end - monotonic()))
    closing = [
        Thread(target=lifetime.close, args=(max(_SEND_S, end - monotonic()),), daemon=True)
        for lifetime in list(_lifetimes)
    ]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()


def _close_all() -> None:
    refuse_new_threads()
    for hub in list(hubs):
        try:
            hub.close(timeout=1)
        except Exception as error:
            logger.error("%r could not be closed: %s", hub, error, exc_info=error)


def _fork_all() -> None:
    for hub in list(hubs):
        hub.forked()


atexit.register(_close_all)
run_after_fork(_fork_all)
