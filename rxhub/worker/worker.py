"""One worker process: loads modules, serves their hubs, and shuts down gracefully."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event as Flag
from threading import Lock, Thread
from time import monotonic
from typing import NoReturn

from rxhub.concurrency.shutdown import on_shutdown_signal
from rxhub.errors import HubConnectionError, error_text
from rxhub.hub.lifetime import shut_down_all
from rxhub.telemetry.probes import LoopLag, Readiness
from rxhub.transport.io_thread import io_loop
from rxhub.worker.loading import NamedHub, load
from rxhub.worker.readiness import liveness, readiness

__all__ = ["EXIT_MARGIN_S", "WorkerProcess"]

EXIT_MARGIN_S = 4.0
"""The process ends at most so many seconds after the grace period: Kubernetes kills it 30 s after SIGTERM."""

# For exit handlers, such as those of error trackers, and threads that are not daemons, when all hubs are closed.
_EXIT_TIMEOUT_S = 3.0
_MIN_EXIT_TIMEOUT_S = 1.0
_FLUSH_TIMEOUT_S = 0.5
# A signal may arrive in another thread, and Python calls its handler when the main thread wakes.
_POLL_S = 0.2
_FAILED = 2
_INTERRUPTED = 130

logger = logging.getLogger("rxhub.worker")


class WorkerProcess:
    """Serves the hubs of modules in this process until a signal, `stop()`, or an error.

    Handlers and callbacks run in daemon threads, so those that do not end cannot prevent the exit. `run` is for a
    program of its own: the process ends soon after it has returned, even if other threads still run. `on_loaded` is
    called when the modules are imported.
    """

    def __init__(self, targets: Sequence[str], grace: float, on_loaded: Callable[[], object] = lambda: None) -> None:
        self._targets = targets
        self._grace = grace
        self._on_loaded = on_loaded
        self._phase = "the modules are not loaded yet"
        self._hubs: list[NamedHub] = []
        self._serving = 0
        self._error: BaseException | None = None
        self._lock = Lock()
        self._is_stopping = False
        self._finished = Flag()
        self._lag: LoopLag | None = None

    # Probes

    def readiness(self) -> Readiness:
        phase = "the worker is stopping" if self._is_stopping else self._phase
        return readiness(phase, self._hubs, self._lag)

    def liveness(self) -> Readiness:
        return liveness(self._lag)

    # Running

    def run(self) -> None:
        """Run until stopped. Raises the error that ended it; LoadError or HubConnectionError if it could not start."""
        with on_shutdown_signal(self.stop, waits=False):
            try:
                self._start()
            except KeyboardInterrupt:
                _exit(_INTERRUPTED)
            except BaseException as error:
                # Importing and connecting also fail because the hubs are closed.
                if not self._is_stopping:
                    self._end(error)
            try:
                while not self._finished.wait(_POLL_S):
                    pass
            except KeyboardInterrupt:  # a second Ctrl-C
                _exit(_INTERRUPTED)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Shut down, without waiting; a second call does nothing."""
        with self._lock:
            if self._is_stopping:
                return
            self._is_stopping = True
        Thread(target=self._shut_down, name="rxhub-worker-stop", daemon=True).start()
        Thread(target=self._ensure_exit, name="rxhub-worker-exit", daemon=True).start()

    def _start(self) -> None:
        self._watch_loop()
        try:
            self._hubs = load(self._targets)
        finally:
            self._on_loaded()
        self._phase = "the hubs are not connected yet"
        for name, hub in self._hubs:
            if not hub.connected:
                try:
                    hub.connect()
                except HubConnectionError as error:
                    raise HubConnectionError(f"Could not connect {name}: {error_text(error)}") from error
        self._serving = len(self._hubs)
        for each in self._hubs:
            Thread(target=self._serve, args=(each,), name=f"rxhub-{each.name}", daemon=True).start()
        self._phase = ""
        logger.info("Running %s.", ", ".join(f"{name} at {hub.get_server_url()}" for name, hub in self._hubs))

    def _watch_loop(self) -> None:
        """Measure the lag of the network loop, for the probes."""

        async def watch() -> None:
            self._lag = LoopLag()

        asyncio.run_coroutine_threadsafe(watch(), io_loop())

    def _serve(self, served: NamedHub) -> None:
        error: BaseException | None = None
        try:
            served.hub.serve_forever(grace=self._grace)
        except BaseException as raised:  # also SystemExit of a callback
            error = raised
        with self._lock:
            self._serving -= 1
            is_last = not self._serving
        if not self._is_stopping and error is not None:
            self._end(error)
        elif is_last:
            self.stop()

    def _end(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error
        self.stop()

    def _shut_down(self) -> None:
        try:
            shut_down_all(self._grace)
        except Exception as error:
            logger.error("The shutdown failed: %s", error, exc_info=error)
        self._finished.set()

    def _ensure_exit(self) -> None:
        """End the process when its time is over; a thread that ends with the process."""
        limit = self._grace + EXIT_MARGIN_S
        deadline = monotonic() + limit
        if not self._finished.wait(limit - _MIN_EXIT_TIMEOUT_S):
            logger.warning("The shutdown takes longer than %g s; exiting now.", limit)
        Flag().wait(max(_MIN_EXIT_TIMEOUT_S, min(_EXIT_TIMEOUT_S, deadline - monotonic())))
        _exit(0 if self._error is None else _FAILED)


def _exit(status: int) -> NoReturn:
    """End the process without waiting for threads."""

    def flush() -> None:
        for file in (sys.stdout, sys.stderr):
            with suppress(Exception):
                file.flush()

    # A thread that hangs may hold the lock of a file.
    flushing = Thread(target=flush, daemon=True)
    with suppress(RuntimeError):  # the interpreter is exiting
        flushing.start()
        flushing.join(_FLUSH_TIMEOUT_S)
    os._exit(status)
