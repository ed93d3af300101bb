"""A table that follows a stream.

The thread in which an item comes only puts it into a bounded deque, so that a fast stream is not held up and a hub's
handling thread never draws. `rxhub.jupyter.drawing` draws what the deque holds.

`skipped` counts the items that left the deque before they were ever drawn.

A live table ends with its stream, by `stop()`, when its cell is run again, and by an interrupt of the kernel: one that
ends a running cell is seen by a hook behind each cell; while the kernel is idle it ignores the signal, so a live table
takes it instead.
"""

from __future__ import annotations

import threading
from collections import deque
from time import time
from types import TracebackType
from typing import Generic, Self, TypeVar

from reactivex import Observable
from reactivex.disposable import SerialDisposable

from rxhub.display.page import Page
from rxhub.display.stream import Item, page
from rxhub.display.subscribers import error_summary
from rxhub.jupyter.cells import Cells, present_cells
from rxhub.jupyter.drawing import Drawing

__all__ = ["Live", "live"]

T = TypeVar("T")


def live(observable: Observable[T], rate: float = 5, rows: int = 20) -> Live[T]:
    """Show the latest items of a stream below this cell, and follow it.

    Args:
        observable: what is subscribed to, at once.
        rate: how often it is drawn at most, in 1/s.
        rows: how many items are shown.

    Returns:
        What ends it, by `stop()`, `dispose()` or at the end of a `with` block; it also ends with its stream, when
        the cell is run again, and when the kernel is interrupted.

    Raises:
        TypeError: if it is no observable.
        ValueError: if `rate` or `rows` is not above zero.
        ModuleNotFoundError: if IPython is not installed.
        RuntimeError: if this does not run in IPython or a notebook.
    """
    if not isinstance(observable, Observable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"A live table follows an observable, but {type(observable).__name__} was given.")
    if not rate > 0:
        raise ValueError(f"A live table is drawn some times a second, but rate={rate!r} was given.")
    if rows < 1:
        raise ValueError(f"A live table has a row at least, but rows={rows!r} was given.")
    return Live(observable, rate, rows, present_cells())


class Live(Generic[T]):
    """A table that follows a stream.

    Attributes:
        seen: how many items came.
        skipped: how many of them were never shown.
        status: "live", "completed", "stopped", or how the stream failed.
    """

    def __init__(self, observable: Observable[T], rate: float, rows: int, cells: Cells) -> None:
        self.seen = 0
        self.skipped = 0
        self.status = "live"
        self.cell = cells.present
        self._latest: deque[Item] = deque(maxlen=rows)
        self._drawn = 0  # the number of the last item that was drawn
        self._lock = threading.Lock()
        self._cells = cells
        self._subscription = SerialDisposable()
        self._drawing = Drawing(self._page, rate, cells)
        cells.add(self)
        self._subscription.disposable = observable.subscribe(self._came, self._failed, lambda: self._end("completed"))

    @property
    def running(self) -> bool:
        """Whether it still follows the stream."""
        return self.status == "live"

    def stop(self) -> None:
        """Leave the stream; the last items stay on show."""
        self._end("stopped")

    dispose = stop

    def _came(self, item: T) -> None:
        with self._lock:
            self.seen += 1
            if len(self._latest) == self._latest.maxlen and self._latest[0].number > self._drawn:
                self.skipped += 1
            self._latest.append(Item(self.seen, time(), item))
        self._drawing.news()

    def _page(self) -> Page:
        with self._lock:
            self._drawn = self.seen
            items = tuple(self._latest)
            return page(items, self.status, self.seen, self.skipped)

    def _failed(self, error: Exception) -> None:
        self._end(f"failed: {error_summary(error)}")

    def _end(self, status: str) -> None:
        with self._lock:
            if not self.running:
                return
            self.status = status
        self._subscription.dispose()
        self._cells.remove(self)
        self._drawing.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Live table, {self.status}, {self.seen} came, {self.skipped} skipped>"
