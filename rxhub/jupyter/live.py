"""A table that follows a stream.

The thread that emits an item only appends it to a bounded deque, so that a fast stream is not delayed. `skipped` counts
items that left the deque before they were drawn.

A live table stops with its stream, by `stop()`, when its cell is run again, and at an interrupt of the kernel. A hook
after each cell detects an interrupt of a running cell. While the kernel is idle it ignores the signal, and the live
table handles it instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from time import time
from typing import Any, Generic, NamedTuple, TypeVar, overload

from reactivex import Observable

from rxhub.display.page import Page, remark, table
from rxhub.display.renderers import error_summary, user_of
from rxhub.event import Event
from rxhub.hub import EventHub
from rxhub.jupyter.cells import Cells, current_cells
from rxhub.jupyter.live_view import LiveView
from rxhub.jupyter.recent_rate import RecentRate
from rxhub.redaction.preview import preview
from rxhub.text.safe_repr import safe_repr

__all__ = ["Live", "live"]

T = TypeVar("T")

_HEADINGS = ("time", "what", "who", "details")
_MAX_DETAILS = 100  # characters


@overload
def live(source: EventHub, rate: float = 5, rows: int = 20) -> Live[Event]: ...
@overload
def live(source: Observable[T], rate: float = 5, rows: int = 20) -> Live[T]: ...
def live(source: EventHub | Observable[Any], rate: float = 5, rows: int = 20) -> Live[Any]:
    """Show the latest items of a stream, or the latest events of a hub, below this cell.

    Args:
        source: the stream, which is subscribed to at once, or a hub for its `events`.
        rate: the maximum number of updates per second.
        rows: the number of items that are shown.

    Returns:
        The live table. It stops by `stop()`, `dispose()` or at the end of a `with` block, with its stream, when the
        cell is run again, and when the kernel is interrupted.

    Raises:
        TypeError: if it is neither an observable nor a hub.
        ValueError: if `rate` or `rows` is not positive.
        ModuleNotFoundError: if IPython is not installed.
        RuntimeError: if IPython is not running.
    """
    observable: Observable[Any] = source.events if isinstance(source, EventHub) else source
    if not isinstance(observable, Observable):  # pyright: ignore[reportUnnecessaryIsInstance]
        given = type(observable).__name__
        remedy = " For a subscription, use live(hub.on(…))." if isinstance(observable, str) else ""
        raise TypeError(f"A live table needs an observable or a hub, but {given} was given.{remedy}")
    if not rate > 0:
        raise ValueError(f"A live table needs a positive rate, but rate={rate!r} was given.")
    if rows < 1:
        raise ValueError(f"A live table needs at least one row, but rows={rows!r} was given.")
    return Live(observable, rate, rows, current_cells())


class _Item(NamedTuple):
    number: int  # from 1
    time: float  # seconds since the epoch
    value: Any


class Live(LiveView, Generic[T]):
    """A table that follows a stream.

    Attributes:
        seen: the number of items received.
        skipped: the number of items that were never shown.
        status: "live", "completed", "stopped", or "failed: " and the error.
    """

    def __init__(self, observable: Observable[T], rate: float, rows: int, cells: Cells) -> None:
        super().__init__(cells, rate)
        self.seen = 0
        self.skipped = 0
        self._latest: deque[_Item] = deque(maxlen=rows)
        self._drawn = 0  # the number of the last item that was drawn
        self._rate = RecentRate()
        self._drawn_rate = ""
        self._follow(
            lambda: observable.subscribe(
                self._add, lambda error: self._end(f"failed: {error_summary(error)}"), lambda: self._end("completed")
            )
        )

    def _add(self, item: T) -> None:
        with self._lock:
            self.seen += 1
            if len(self._latest) == self._latest.maxlen and self._latest[0].number > self._drawn:
                self.skipped += 1
            now = time()
            self._rate.add(now)
            self._latest.append(_Item(self.seen, now, item))
        self._invalidate()

    def _rate_text(self) -> str:
        """The rate while the table is live; empty if it is zero."""
        rate = self._rate.per_second(time()) if self.running else 0.0
        return f"{rate:,.0f} per second" if rate >= 10 else f"{rate:.1f} per second" if rate else ""

    def _has_changed(self) -> bool:
        with self._lock:
            return self._rate_text() != self._drawn_rate

    def _page(self) -> Page:
        with self._lock:
            self._drawn = self.seen
            self._drawn_rate = self._rate_text()
            rows = [_row(item) for item in reversed(self._latest)]
            part = table(_HEADINGS, rows) if rows else remark("no items yet")
            skipped = f"{self.skipped} skipped" if self.skipped else ""
            chips = ["" if self.running else self.status, f"{self.seen} received", skipped, self._drawn_rate]
            return Page("live", chips, [part])

    def __repr__(self) -> str:
        return f"<Live table, {self.status}, {self.seen} received, {self.skipped} skipped>"


def _row(item: _Item) -> tuple[str, str, str, str]:
    time = datetime.fromtimestamp(item.time).astimezone().strftime("%H:%M:%S.%f")[:-3]
    fields: Any = preview(item.value)
    if issubclass(type(item.value), Mapping) and isinstance(topic := fields.get("topic"), str) and "data" in fields:
        return time, topic, user_of(fields), safe_repr(fields["data"], _MAX_DETAILS)
    return time, type(item.value).__name__, "", safe_repr(fields, _MAX_DETAILS)
