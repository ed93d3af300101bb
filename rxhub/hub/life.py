"""The methods of a hub that are about its life: the contexts in which it is handled, its end, and a fork."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from reactivex import abc

from rxhub.concurrency.awaitables import ignore_error
from rxhub.concurrency.event_loop import check_asyncio, warn_if_blocking
from rxhub.concurrency.flag import Flag
from rxhub.concurrency.shutdown import GRACE_S, on_shutdown_signal
from rxhub.concurrency.supervise import supervise
from rxhub.dispatching.pipeline import Pipeline
from rxhub.errors import AlreadyHandled, HubClosed, HubConnectionError, NotConnectedWarning
from rxhub.hub.parts import Parts
from rxhub.hub.runner import CLOSE_TIMEOUT_S, Invoke
from rxhub.text.caller_warning import warn_caller
from rxhub.transport.io_thread import in_io_thread

if TYPE_CHECKING:
    from rxhub.hub.hub import EventHub
    from rxhub.transport.nats.processing.processing import Processing

__all__ = ["Life"]

# Seconds between two looks whether the context that handles the hub has ended.
_LOOK = 0.2

logger = logging.getLogger("rxhub")


class Life(Parts):
    """From when a hub is first handled to when it has ended."""

    _run_task: asyncio.Task[None] | None = None
    _finished = False

    # The handling contexts

    def start(self, invoke: Invoke | None = None) -> abc.DisposableBase:
        """Handle events in a background thread, or wherever `invoke` brings them.

        Warns (`NotConnectedWarning`) if neither `connect` nor `init_connection` was called.

        Args:
            invoke: hands a function to a host application's main loop, such as
                `maya.utils.executeDeferred`; called with one batch at a time.

        Returns:
            What ends the handling when disposed, after the event under way; also usable in `with`.

        Raises:
            AlreadyHandled: if another context handles the hub.
        """
        self._warn_if_not_connected("start()")
        return self._runner.start(invoke)

    def wait(self, duration: float | None = None) -> None:
        """Handle events in this thread as they come.

        Warns (`BlockingCallWarning`) if an event loop runs in this thread, except in notebooks.

        Args:
            duration: seconds; None is until the hub is disconnected or closed, or Ctrl-C.

        Raises:
            AlreadyHandled: if another context handles the hub.
            HubConnectionError: if the hub is not connected and nothing is left to handle.
        """
        if not self._link.accepts and not self._inbox.ready:
            raise HubConnectionError(f"No event can arrive, as {self._link.why_not} first.")
        warn_if_blocking("hub.wait()", "`await hub.run()`, or `async with hub:`")
        self._runner.wait(duration)

    def drain(self) -> int:
        """Handle what waits, and what that brings about; how many events it was.

        Raises:
            AlreadyHandled: if another context handles the hub.
        """
        return self._runner.drain()

    async def run(self) -> None:
        """Handle events on the running loop until cancelled or closed.

        Warns (`NotConnectedWarning`) if the hub is not connected.

        Raises:
            AlreadyHandled: if another context handles the hub.
            WrongLoop: if no asyncio loop runs in this thread.
        """
        check_asyncio("hub.run()")
        self._warn_if_not_connected("run()")
        await self._runner.run()

    def serve_forever(self, *, grace: float = GRACE_S) -> None:
        """Handle events and work in groups until SIGTERM, SIGINT or `close()`, then shut down gracefully.

        Events are handled in this thread as by `wait()`, unless another context handles the hub. After a signal, the
        processings of `process` take no further events, handlers that run have `grace` seconds to finish, all that is
        not finished is handed back, and the hub is closed. A second signal ends the program at once. Handlers of these
        signals that the program has installed itself are called too, and are back when this returns. In other threads
        than the main one there are no signals, and `close()` ends it.

        Args:
            grace: seconds that running handlers of `process` have after a signal.

        Raises:
            HubClosed: if the hub was closed before.
            GroupError: if a processing ended since its group was given other terms. The others are stopped before.
        """
        warn_if_blocking("hub.serve_forever()", "`await hub.aserve_forever()`")
        if not self._processings:  # they have connections of their own
            self._warn_if_not_connected("serve_forever()")
        with self._until_failure(grace) as failing, on_shutdown_signal(lambda: self._shut_down(grace)):
            while self._inbox.open:
                if self.is_running:
                    self._closing.wait(_LOOK)
                else:
                    with suppress(AlreadyHandled, HubClosed):
                        self._runner.wait(None)
        if failing.is_alive():
            failing.join()
        self._raise_failure()

    async def aserve_forever(self, *, grace: float = GRACE_S) -> None:
        """As `serve_forever`, on the running loop: events are handled as by `run()`.

        Args:
            grace: seconds that running handlers of `process` have after a signal.

        Raises:
            HubClosed: if the hub was closed before.
            GroupError: if a processing ended since its group was given other terms. The others are stopped before.
        """
        check_asyncio("hub.aserve_forever()")
        if not self._processings:
            self._warn_if_not_connected("aserve_forever()")
        with (
            self._until_failure(grace) as failing,
            on_shutdown_signal(lambda: self._shut_down(grace), waits=False) as watch,
        ):
            while self._inbox.open:
                if self.is_running:
                    await asyncio.sleep(_LOOK)
                else:
                    with suppress(AlreadyHandled, HubClosed):
                        await self._runner.run()
            if watch is not None and watch.is_asked:
                await asyncio.wrap_future(watch.finished)
        if failing.is_alive():
            await asyncio.to_thread(failing.join)
        self._raise_failure()

    def _warn_if_not_connected(self, what: str) -> None:
        if self._inbox.open and not self.is_running and not self._accepts and not self._inbox.ready:
            warn_caller(f"No event can arrive for hub.{what}, as {self._link.why_not} first.", NotConnectedWarning)

    @property
    def is_running(self) -> bool:
        """Whether a context handles the hub."""
        return bool(self._runner.claimed_by)

    @property
    def is_running_here(self) -> bool:
        """Whether it is this thread that handles the hub, and so would wait for itself."""
        return self._runner.runs_here

    @property
    def dropped(self) -> int:
        """How many events the full inbox has dropped or refused so far."""
        return self._inbox.dropped

    # The end

    def _shut_down(self, grace: float) -> None:
        # First: their handlers may publish, and wait for replies, as long as the hub is open.
        if self._processings:
            from rxhub.transport.nats.processing.processing import stop_all

            stop_all(grace)
        self.close()

    @contextmanager
    def _until_failure(self, grace: float) -> Generator[Thread]:
        """Shut down when a processing ends by an error; gives what does so."""
        self._publisher.check_open()
        failing = Thread(target=self._shut_down, args=(grace,), name="rxhub-shutdown", daemon=True)
        starting = Lock()

        def shut_down() -> None:
            # Several may fail at once, or one before we look.
            if starting.acquire(blocking=False):
                failing.start()

        self._on_failure = shut_down
        try:
            if self._failure is not None:
                shut_down()
            yield failing
        finally:
            self._on_failure = None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def close(self, timeout: float = CLOSE_TIMEOUT_S) -> None:
        """End the hub: take nothing new, end the event under way, flush, disconnect, complete the observables.

        Args:
            timeout: seconds to wait for the event under way and for what is still to be sent. A callback
                that runs longer keeps running; the observables then complete when it has ended.
        """
        end = monotonic() + timeout
        # First: what a handler publishes at its end still goes out.
        for processing in self._begin_to_stop(timeout):
            processing.stop(max(0.0, end - monotonic()))
        sent = self._begin_to_close(timeout)
        if sent is None:
            return
        if in_io_thread():
            # All hubs of the process would wait with us, and we for ourselves.
            self._finish()
            return
        if not self._runner.runs_here and not self._runner.join(timeout):
            logger.warning(
                "A callback of the hub still runs %g s after close(); the hub ends when the callback does.", timeout
            )
        # Hanging up takes a moment more.
        with suppress(TimeoutError, HubConnectionError):
            sent.result(max(0.0, end - monotonic()) + 2.0)
        self._end_closing(sent)

    def _begin_to_stop(self, timeout: float) -> list[Processing]:
        """Have all processings stop at the same time; which they are."""
        processings = list(self._processings)
        for processing in processings:
            processing.begin_to_stop(timeout)
        return processings

    def _begin_to_close(self, timeout: float) -> Future[None] | None:
        """Take nothing new; what is done when all has been sent, or None if the hub was closed before."""
        with self._lock:
            if not self._inbox.open:
                return None
            lost = self._inbox.close()
        self._closing.set()
        # What has begun since the others were told to.
        self._begin_to_stop(timeout)
        if lost:
            logger.warning("%d events were waiting unhandled when the hub was closed.", lost)
        return self._link.transport.close(timeout)

    def _end_closing(self, sent: Future[None]) -> None:
        error = sent.exception() if sent.done() else "no time was left."
        if error is not None:
            logger.warning("Not everything could be sent before the hub was closed: %s", error)
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        """Handle the hub on the running loop, and connect it as `aconnect` does, unless it is connected.

        Leaving closes the hub.

        Raises:
            HubConnectionError: if it cannot be connected. Then it is not handled either, and can be entered again.
            AlreadyHandled: if another context handles the hub.
            WrongLoop: if no asyncio loop runs in this thread.
        """
        check_asyncio("async with hub")
        runner = supervise(self._runner.run, "handling a hub", expected=(AlreadyHandled, HubClosed))
        try:
            await asyncio.sleep(0)
            if runner.done():
                runner.result()
            await self._aconnect(implicitly=True)
        except BaseException:
            runner.cancel()
            await asyncio.wait([runner], timeout=CLOSE_TIMEOUT_S)
            raise
        self._run_task = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._run_task = self._run_task, None
        for processing in self._begin_to_stop(CLOSE_TIMEOUT_S):
            await processing.astop(CLOSE_TIMEOUT_S)
        sent = self._begin_to_close(CLOSE_TIMEOUT_S)
        if sent is not None:
            # As close(), but the loop goes on meanwhile.
            waiting = asyncio.wrap_future(sent)
            ignore_error(waiting)  # which is logged below
            await asyncio.wait([waiting], timeout=CLOSE_TIMEOUT_S + 2.0)
            self._end_closing(sent)
        if runner is None:
            return
        await asyncio.wait([runner], timeout=CLOSE_TIMEOUT_S)
        if not runner.done():
            logger.warning("A callback of the hub still ran %g s after close(), and is cancelled.", CLOSE_TIMEOUT_S)
            runner.cancel()
            await asyncio.wait([runner], timeout=CLOSE_TIMEOUT_S)
        if error is None and runner.done() and not runner.cancelled():
            runner.result()

    def _finish(self) -> None:
        """Complete what there is to observe, once the hub is closed and nobody handles it any more."""
        with self._lock:
            if self._inbox.open or self._finished or self.is_running:
                return
            self._finished = True
        # First: a plugin may look at the hub while it ends, and its pipelines are completed with the others.
        if self._plugins is not None:
            self._plugins.end(cast("EventHub", self))
        for bridge in list(self._bridges.values()):
            bridge.dispose()
        self.events.on_completed()
        self._dispatcher.complete()
        for subscriber in self._dispatcher.subscribers:
            if isinstance(subscriber.callback, Pipeline):
                subscriber.callback.complete()
        self._complete_removed()
        self._link.end()

    def _complete_removed(self) -> None:
        while self._removed:
            self._removed.popleft().complete()

    def forked(self) -> None:
        """Start anew in a forked child, where nothing is connected; what hubs are made of resets itself."""
        self._closing = Flag()
        self._publisher.forked()
        self._link.forked()
        for processing in list(self._processings):
            processing.forked()
        self._processings.clear()
