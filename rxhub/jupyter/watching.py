"""Following what the subscribers of a hub do, while somebody looks."""

from __future__ import annotations

from threading import Lock
from types import TracebackType
from typing import Self

from reactivex.disposable import CompositeDisposable

from rxhub.dispatching.delivery import Delivery
from rxhub.display.counter import CallCounts, call_counts
from rxhub.display.page import Page
from rxhub.display.subscribers import hub_page, subscribers_of
from rxhub.hub import EventHub
from rxhub.jupyter.cells import Cells, running_cells
from rxhub.jupyter.drawing import Drawing

__all__ = ["Watch", "watch"]

_BEAT = 1.0
"""Seconds between looks for what the hub does not tell: who has subscribed, and whether it is connected and handled."""


def watch(hub: EventHub, rate: float = 2) -> Watch:
    """Show the subscribers of a hub below this cell, and follow their calls, stops, errors and latencies from now on.

    While a hub is watched, every call costs about a microsecond more: clocks are read and outcomes are made. Watching a
    hub again starts new counts. Outside of a notebook the calls are counted, and nothing is shown.

    Args:
        hub: the hub.
        rate: how often it is drawn at most, in 1/s.

    Returns:
        What ends it, by `stop()`, `dispose()` or at the end of a `with` block. It also ends with the hub, when the cell
        is run again, and when the kernel is interrupted.

    Raises:
        TypeError: if it is not a hub.
        ValueError: if `rate` is not above zero.
    """
    if not isinstance(hub, EventHub):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"watch follows an EventHub, but {type(hub).__name__} was given. For a stream, use live(…).")
    if not rate > 0:
        raise ValueError(f"A view is drawn some times a second, but rate={rate!r} was given.")
    return Watch(hub, rate, running_cells())


class Watch:
    """One watch of a hub.

    Attributes:
        hub: the hub.
        tally: the counts.
        status: "live", "stopped" or "closed", as the hub was.
    """

    def __init__(self, hub: EventHub, rate: float, cells: Cells | None) -> None:
        self.hub = hub
        self.tally = call_counts[hub] = CallCounts()
        self.status = "live"
        self.cell = None if cells is None else cells.present
        self._lock = Lock()
        self._cells = cells
        self._shown: tuple[object, ...] = ()
        self._drawing: Drawing | None = None
        if cells is not None:
            self._drawing = Drawing(self._page, rate, cells, _BEAT, lambda: self._outline() != self._shown)
            cells.add(self)
        self._subscriptions = CompositeDisposable()
        self._subscriptions.add(hub.deliveries.subscribe(self._add, on_completed=lambda: self._end("closed")))

    @property
    def running(self) -> bool:
        """Whether it still follows the hub."""
        return self.status == "live"

    def _outline(self) -> tuple[object, ...]:
        """What may change without a delivery."""
        hub = self.hub
        return hub.connected, hub.is_running, hub.dropped, tuple(each.id for each in subscribers_of(hub))

    def _page(self) -> Page:
        self._shown = self._outline()
        return hub_page(self.hub, self.tally).with_chip(self.status)

    def _add(self, delivery: Delivery) -> None:
        self.tally.add(delivery)
        self._news()
        if delivery.completed:
            return
        counted = len(delivery.outcomes)
        # What was handed over ends later. The delivery replays; what was counted is passed over.
        seen = 0

        def add_later(outcome: object) -> None:
            nonlocal seen
            seen += 1
            if seen > counted:
                self.tally.add_outcome(outcome)  # pyright: ignore[reportArgumentType]
                self._news()

        delivery.subscribe(add_later)

    def _news(self) -> None:
        if self._drawing is not None:
            self._drawing.news()

    def stop(self) -> None:
        """Count no further. The last view stays below the cell; the hub's own view shows no counts any more."""
        self._end("stopped")

    def _end(self, status: str) -> None:
        with self._lock:
            if not self.running:
                return
            self.status = status
        self._subscriptions.dispose()
        if call_counts.get(self.hub) is self.tally:
            del call_counts[self.hub]
        if self._cells is not None:
            self._cells.remove(self)
        if self._drawing is not None:
            self._drawing.end()

    dispose = stop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = "" if self._drawing is not None else "; counted but not shown, as this runs outside of a notebook"
        return f"<Watch of {self.hub!r}, {self.status}, {self.tally.events} events{where}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        if self._drawing is not None:
            return {"text/plain": repr(self)}  # the view itself is shown already
        return self.hub._repr_mimebundle_(include, exclude)  # pyright: ignore[reportPrivateUsage]
