"""Output of a cell that is updated at a limited rate, from any thread.

Any thread may call `invalidate`. Only the thread that created the output draws it (in a notebook the main thread of the
kernel): its event loop redraws at most `rate` times a second. While a cell blocks that loop (`hub.wait()`), changes
reported by the same thread are drawn at once. The display handle updates the output of the cell that created it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from rxhub.display.page import Page
from rxhub.jupyter.cells import Cells

__all__ = ["LiveOutput"]


class Handle(Protocol):
    """IPython's display handle."""

    def update(self, obj: object, **kwargs: Any) -> None:
        """Replace what is displayed."""
        ...


class LiveOutput:
    """A page below the running cell.

    Args:
        page: creates the page; called in the thread that created the output.
        rate: the maximum number of updates per second.
        cells: the cells of the shell.
        poll_interval: seconds between calls of `has_changed`; None for no such calls.
        has_changed: whether the page must be redrawn.
    """

    def __init__(
        self,
        page: Callable[[], Page],
        rate: float,
        cells: Cells,
        poll_interval: float | None = None,
        has_changed: Callable[[], bool] = bool,
    ) -> None:
        self._page = page
        self._pause = 1 / rate
        self._poll_interval = poll_interval
        self._has_changed = has_changed
        self._is_requested = False
        self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        self._handle: Handle = cells.display(Snapshot(page()))
        self._drawn_at = monotonic()
        self._poll_later()

    def invalidate(self) -> None:
        """Redraw soon. Thread-safe."""
        with self._lock:
            is_new, self._is_requested = not self._is_requested, True
        if threading.get_ident() == self._thread and monotonic() - self._drawn_at >= self._pause:
            self._draw()
        elif is_new:
            self._request()

    def close(self) -> None:
        """Draw for the last time: at once in the thread of the output, else soon."""
        self._is_closed = True
        if threading.get_ident() == self._thread:
            self._draw()
        else:
            with self._lock:
                self._is_requested = True
            self._request()

    def _request(self) -> None:
        """Let the loop redraw after the pause."""
        if self._loop is None:
            self._is_requested = False  # without a loop, the next call tries again
            return
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
        view = Snapshot(self._page())
        self._drawn_at = monotonic()
        self._handle.update(view)

    def _poll_later(self) -> None:
        if self._loop is not None and self._poll_interval is not None and not self._is_closed:
            self._loop.call_later(self._poll_interval, self._poll)

    def _poll(self) -> None:
        if not self._is_closed:
            if self._has_changed():
                self.invalidate()
            self._poll_later()


class Snapshot:
    """A rendered page, which later changes do not affect."""

    def __init__(self, page: Page) -> None:
        self._bundle = page.bundle()
        self._text = self._bundle["text/plain"]

    def __repr__(self) -> str:
        return self._text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self._bundle
