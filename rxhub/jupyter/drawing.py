"""Drawing below a cell, at a bounded rate, whatever thread the news comes in.

Theory of operation. A thread that has news only says so. The thread that made the display draws, which in a notebook is
the kernel's: its event loop is asked to draw once when there is news, at most `rate` times a second. While a cell
keeps that loop from running (`hub.wait()`), news that comes in that very thread is drawn at once. The display handle
updates the output of the cell that made it; nothing is printed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from rxhub.display.page import Page
from rxhub.jupyter.cells import Cells

__all__ = ["Drawing"]


class Handle(Protocol):
    """IPython's display handle."""

    def update(self, obj: object, **kwargs: Any) -> None:
        """Replace what is displayed."""
        ...


class Drawing:
    """A page below the present cell.

    Args:
        page: makes it anew; called in the thread that made the drawing.
        rate: how often it is drawn at most, in 1/s.
        cells: of the shell.
        beat: seconds between looks for news that nobody tells; None for no such looks.
        is_news: whether such a look found any.
    """

    def __init__(
        self,
        page: Callable[[], Page],
        rate: float,
        cells: Cells,
        beat: float | None = None,
        is_news: Callable[[], bool] = bool,
    ) -> None:
        self._page = page
        self._pause = 1 / rate
        self._beat = beat
        self._is_news = is_news
        self._is_asked = False
        self._is_over = False
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        self._drawn_at = monotonic()
        self._handle: Handle = cells.display(View(page()))
        self._look_later()

    def news(self) -> None:
        """Have it drawn soon. Safe in any thread."""
        with self._lock:
            ask, self._is_asked = not self._is_asked, True
        if threading.get_ident() == self._thread and monotonic() - self._drawn_at >= self._pause:
            self._draw()
        elif ask:
            self._ask()

    def end(self) -> None:
        """Draw it for the last time: at once in its own thread, else soon."""
        self._is_over = True
        if threading.get_ident() == self._thread:
            self._draw()
        else:
            with self._lock:
                self._is_asked = True
            self._ask()

    def _ask(self) -> None:
        """Have the loop draw, once the pause is over."""
        if self._loop is None:
            self._is_asked = False  # without a loop, the next news tries again
            return
        try:
            self._loop.call_soon_threadsafe(self._schedule)
        except RuntimeError:
            pass  # the loop was closed: the kernel ends, and nobody looks any more

    def _schedule(self) -> None:
        if self._loop is not None:
            self._loop.call_later(max(0.0, self._drawn_at + self._pause - monotonic()), self._draw_asked)

    def _draw_asked(self) -> None:
        if self._is_asked:
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            self._is_asked = False
        view = View(self._page())
        self._drawn_at = monotonic()
        self._handle.update(view)

    def _look_later(self) -> None:
        if self._loop is not None and self._beat is not None and not self._is_over:
            self._loop.call_later(self._beat, self._look)

    def _look(self) -> None:
        if not self._is_over:
            if self._is_news():
                self.news()
            self._look_later()


class View:
    """A page, drawn when it was made: what it shows may change after that."""

    def __init__(self, page: Page) -> None:
        self._bundle = page.bundle()
        self._text = self._bundle["text/plain"]

    def __repr__(self) -> str:
        return self._text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self._bundle
