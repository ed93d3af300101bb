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
from collections.abc import Mapping
from datetime import datetime
from time import time
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from reactivex import Observable
from reactivex.disposable import SerialDisposable

from rxhub.display.event import user_of
from rxhub.display.page import Note, Page, Part, Table
from rxhub.display.subscribers import error_summary
from rxhub.jupyter.cells import Cells, present_cells
from rxhub.jupyter.drawing import Drawing
from rxhub.redaction.preview import preview
from rxhub.text.safe_repr import safe_repr

__all__ = ["Live", "live"]

T = TypeVar("T")

_HEADINGS = ("time", "what", "who", "details")
_MAX_DETAILS = 100  # characters


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


class Item(NamedTuple):
    """One item of a stream: its number from 1 on, when it came (seconds since the epoch), and itself."""

    number: int
    time: float
    value: Any


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
            rows = [_row(item) for item in reversed(self._latest)]
            parts: list[Part] = [Table(_HEADINGS, rows)] if rows else [Note("nothing came yet")]
            chips = [
                "" if self.status == "live" else self.status,
                f"{self.seen} came",
                f"{self.skipped} skipped" if self.skipped else "",
            ]
        return Page("live", chips, parts)

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


def _row(item: Item) -> tuple[str, str, str, str]:
    time = datetime.fromtimestamp(item.time).astimezone().strftime("%H:%M:%S.%f")[:-3]
    value: Any = item.value
    if not issubclass(type(value), Mapping):
        return time, type(value).__name__, "", safe_repr(preview(value), _MAX_DETAILS)
    fields: dict[Any, Any] = preview(value)
    topic = fields.get("topic")
    if not isinstance(topic, str) or "data" not in fields:
        return time, type(value).__name__, "", safe_repr(fields, _MAX_DETAILS)
    return time, topic, user_of(fields), safe_repr(fields["data"], _MAX_DETAILS)
