"""A table that follows a stream.

The thread that emits an item only appends it to a bounded deque, so that a fast stream is not delayed.
`rxhub.jupyter.live_output` draws the items in the deque. `skipped` counts items that left the deque before they were
drawn.

A live table stops with its stream, by `stop()`, when its cell is run again, and at an interrupt of the kernel. A hook
after each cell detects an interrupt of a running cell. While the kernel is idle it ignores the signal, and the live
table handles it instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from time import time
from typing import Any, Generic, NamedTuple, TypeVar

from reactivex import Observable

from rxhub.display.event import user_of
from rxhub.display.page import Page, Part, Remark, Table
from rxhub.display.subscribers import error_summary
from rxhub.jupyter.cells import Cells, LiveView, current_cells
from rxhub.jupyter.live_output import LiveOutput
from rxhub.redaction.preview import preview
from rxhub.text.safe_repr import safe_repr

__all__ = ["Live", "live"]

T = TypeVar("T")

_HEADINGS = ("time", "what", "who", "details")
_MAX_DETAILS = 100  # characters


def live(observable: Observable[T], rate: float = 5, rows: int = 20) -> Live[T]:
    """Show the latest items of a stream below this cell.

    Args:
        observable: the stream; it is subscribed to at once.
        rate: the maximum number of updates per second.
        rows: the number of items that are shown.

    Returns:
        The live table. It stops by `stop()`, `dispose()` or at the end of a `with` block, with its stream, when the
        cell is run again, and when the kernel is interrupted.

    Raises:
        TypeError: if it is not an observable.
        ValueError: if `rate` or `rows` is not positive.
        ModuleNotFoundError: if IPython is not installed.
        RuntimeError: if IPython is not running.
    """
    if not isinstance(observable, Observable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"A live table needs an observable, but {type(observable).__name__} was given.")
    if not rate > 0:
        raise ValueError(f"A live table needs a positive rate, but rate={rate!r} was given.")
    if rows < 1:
        raise ValueError(f"A live table needs at least one row, but rows={rows!r} was given.")
    return Live(observable, rate, rows, current_cells())


class Item(NamedTuple):
    """One item of a stream: its number from 1 on, the time (seconds since the epoch), and the value."""

    number: int
    time: float
    value: Any


class Live(LiveView, Generic[T]):
    """A table that follows a stream.

    Attributes:
        seen: the number of items received.
        skipped: the number of items that were never shown.
        status: "live", "completed", "stopped", or "failed: " and the error.
    """

    def __init__(self, observable: Observable[T], rate: float, rows: int, cells: Cells) -> None:
        super().__init__(cells)
        self.seen = 0
        self.skipped = 0
        self._latest: deque[Item] = deque(maxlen=rows)
        self._drawn = 0  # the number of the last item that was drawn
        self._output = LiveOutput(self._page, rate, cells)
        self._follow(lambda: observable.subscribe(self._add, self._fail, lambda: self._end("completed")))

    def _add(self, item: T) -> None:
        with self._lock:
            self.seen += 1
            if len(self._latest) == self._latest.maxlen and self._latest[0].number > self._drawn:
                self.skipped += 1
            self._latest.append(Item(self.seen, time(), item))
        self._output.invalidate()

    def _page(self) -> Page:
        with self._lock:
            self._drawn = self.seen
            rows = [_row(item) for item in reversed(self._latest)]
            parts: list[Part] = [Table(_HEADINGS, rows)] if rows else [Remark("no items yet")]
            chips = [
                "" if self.status == "live" else self.status,
                f"{self.seen} received",
                f"{self.skipped} skipped" if self.skipped else "",
            ]
        return Page("live", chips, parts)

    def _fail(self, error: Exception) -> None:
        self._end(f"failed: {error_summary(error)}")

    def _close(self) -> None:
        self._output.close()

    def __repr__(self) -> str:
        return f"<Live table, {self.status}, {self.seen} received, {self.skipped} skipped>"


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
