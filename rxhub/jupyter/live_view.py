"""A view below a cell, which follows a source and is redrawn at a limited rate, from any thread.

Any thread may call `_invalidate`. Only the thread that created the view draws it (in a notebook the main thread of the
kernel): its event loop redraws at most `rate` times a second. While a cell blocks that loop (`hub.wait()`), changes
reported by the same thread are drawn at once. The display handle updates the output of the cell that created it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Self

from reactivex import abc
from reactivex.disposable import SerialDisposable

from rxhub.display.page import Page
from rxhub.jupyter.cells import Cells

__all__ = ["LiveView"]

_POLL_INTERVAL_S = 1.0  # for changes that the source does not report, such as new subscribers


class LiveView:
    """A view that follows a source until it is stopped. Without cells, it is not shown."""

    def __init__(self, cells: Cells | None, rate: float) -> None:
        self.status = "live"  # later "stopped", or how the source ended
        self.cell = None if cells is None else cells.current  # the id of the cell that created it, if known
        self._cells = cells
        self._pause = 1 / rate
        self._lock = threading.Lock()
        self._subscription = SerialDisposable()
        self._thread = threading.get_ident()
        self._handle: Any = None  # the display handle of IPython
        self._is_requested = False
        self._drawn_at = 0.0
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    @property
    def running(self) -> bool:
        """Whether it follows its source."""
        return self.status == "live"

    def stop(self) -> None:
        """Unsubscribe. The last output stays below the cell."""
        self._end("stopped")

    dispose = stop

    def _page(self) -> Page:
        """Create the page; called in the thread that created the view."""
        raise NotImplementedError

    def _has_changed(self) -> bool:
        """Whether the page must be redrawn, although `_invalidate` was not called."""
        return False

    def _follow(self, subscribe: Callable[[], abc.DisposableBase]) -> None:
        if self._cells is not None:
            self._handle = self._cells.display(_Snapshot(self._page()))
            self._drawn_at = monotonic()
            self._cells.add(self)
            self._poll_later()
        self._subscription.disposable = subscribe()

    def _end(self, status: str) -> None:
        with self._lock:
            if not self.running:
                return
            self.status = status
        self._subscription.dispose()
        if self._cells is not None:
            self._cells.remove(self)
            self._pause = 0.0
            self._invalidate()

    def _invalidate(self) -> None:
        """Redraw soon. Thread-safe."""
        if self._handle is None:
            return
        with self._lock:
            is_new, self._is_requested = not self._is_requested, True
        if threading.get_ident() == self._thread and monotonic() - self._drawn_at >= self._pause:
            self._draw()
        elif self._loop is None:
            self._is_requested = False  # without a loop, the next call tries again
        elif is_new or not self.running:
            try:
                self._loop.call_soon_threadsafe(self._schedule)
            except RuntimeError:
                pass  # the loop was closed: the kernel is shutting down

    def _schedule(self) -> None:
        if self._loop is not None:
            self._loop.call_later(max(0.0, self._drawn_at + self._pause - monotonic()), self._draw_requested)

    def _draw_requested(self) -> None:
        if self._is_requested:
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            self._is_requested = False
        snapshot = _Snapshot(self._page())
        self._drawn_at = monotonic()
        self._handle.update(snapshot)

    def _poll_later(self) -> None:
        if self._loop is not None and self.running:
            self._loop.call_later(_POLL_INTERVAL_S, self._poll)

    def _poll(self) -> None:
        if self.running and self._has_changed():
            self._invalidate()
        self._poll_later()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Snapshot:
    """A rendered page, which later changes do not affect."""

    def __init__(self, page: Page) -> None:
        self._bundle = page.bundle()

    def __repr__(self) -> str:
        return self._bundle["text/plain"]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self._bundle
