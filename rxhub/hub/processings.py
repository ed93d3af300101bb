"""The processings of one hub: started, stopped together, and watched for failures."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Lock, Thread

from rxhub.concurrency.awaitables import is_generator_function
from rxhub.errors import HubClosed
from rxhub.rx.scope import current_scope
from rxhub.transport.durable import Durable, GroupProcessing, Handler, ProcessOptions

__all__ = ["Processings"]


class Processings:
    """The processings of one hub. `check_open` raises HubClosed if the hub is closed."""

    def __init__(self, check_open: Callable[[], None]) -> None:
        self._check_open = check_open
        self._running: set[GroupProcessing] = set()
        self._transport: Durable | None = None
        self._error: Exception | None = None
        self._on_error: Callable[[], object] | None = None

    def __bool__(self) -> bool:
        return bool(self._running)

    @property
    def running(self) -> tuple[GroupProcessing, ...]:
        return tuple(self._running)

    def starter(
        self, transport: Durable, subscription: str, options: ProcessOptions
    ) -> Callable[[Handler], GroupProcessing]:
        """Check the options; the result starts a processing with a handler."""
        begin = transport.processor(subscription, options, self._ended)
        self._transport = transport

        def start(handler: Handler) -> GroupProcessing:
            if not callable(handler):
                raise TypeError(f"A handler must be callable, but {type(handler).__name__} was given.")
            if is_generator_function(handler):
                raise TypeError(f"{handler!r} has a yield, so a call would run none of its code.")
            self._check_open()
            processing = begin(handler)
            self._running.add(processing)
            try:
                # Another thread may have closed the hub while this one connected.
                self._check_open()
            except HubClosed:
                processing.stop(0.0)
                raise
            if (scope := current_scope()) is not None:
                scope.add(processing.stop)
            return processing

        return start

    def begin_to_stop(self, timeout: float) -> list[GroupProcessing]:
        """Stop all at the same time, without waiting; the stopping ones."""
        stopping = list(self._running)
        for processing in stopping:
            processing.begin_to_stop(timeout)
        return stopping

    def stop_program(self, grace: float) -> None:
        """Stop the processings of all hubs of the program, and wait."""
        if self._running and self._transport is not None:
            self._transport.stop_processing(grace)

    @contextmanager
    def shut_down_on_error(self, shut_down: Callable[[], object]) -> Generator[Thread]:
        """Call `shut_down` in the returned thread when a processing ends by an error."""
        self._check_open()
        thread = Thread(target=shut_down, name="rxhub-shutdown", daemon=True)
        starting = Lock()

        def start() -> None:
            # Several processings may fail at once.
            if starting.acquire(blocking=False):
                thread.start()

        self._on_error = start
        try:
            if self._error is not None:
                start()
            yield thread
        finally:
            self._on_error = None

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def forked(self) -> None:
        for processing in list(self._running):
            processing.forked()
        self._running.clear()

    def _ended(self, processing: GroupProcessing) -> None:
        self._running.discard(processing)
        if processing.error is not None:
            self._error = processing.error
            if self._on_error is not None:
                self._on_error()
