"""Count the calls of the subscribers of a hub, and show them live."""

from __future__ import annotations

from reactivex import operators as ops

from rxhub.dispatching.delivery import Delivery, Outcome
from rxhub.display.call_counts import CallCounts, call_counts
from rxhub.display.page import Page
from rxhub.display.renderers import hub_page, subscribers_of
from rxhub.hub import EventHub
from rxhub.jupyter.cells import Cells, running_cells
from rxhub.jupyter.live_view import LiveView

__all__ = ["Watch", "watch"]


def watch(hub: EventHub, rate: float = 2) -> Watch:
    """Show the subscribers of a hub below this cell, with their calls, stops, errors and latencies from now on.

    While a hub is watched, every call costs about a microsecond more, for clocks and outcomes. Watching a hub again
    starts new counts. Outside of a notebook the calls are counted, but not shown.

    Args:
        hub: the hub.
        rate: the maximum number of updates per second.

    Returns:
        The watch. It stops by `stop()`, `dispose()` or at the end of a `with` block, with the hub, when the cell is run
        again, and when the kernel is interrupted.

    Raises:
        TypeError: if it is not a hub.
        ValueError: if `rate` is not positive.
    """
    if not isinstance(hub, EventHub):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"watch needs an EventHub, but {type(hub).__name__} was given. For a stream, use live(…).")
    if not rate > 0:
        raise ValueError(f"The rate of a watch must be positive, but rate={rate!r} was given.")
    return Watch(hub, rate, running_cells())


class Watch(LiveView):
    """The watch of a hub.

    Attributes:
        hub: the hub.
        tally: the counts.
        status: "live", "stopped", or "closed" if the hub was closed.
    """

    def __init__(self, hub: EventHub, rate: float, cells: Cells | None) -> None:
        super().__init__(cells, rate)
        self.hub = hub
        self.tally = call_counts[hub] = CallCounts()
        self._shown: tuple[object, ...] = ()
        self._follow(lambda: hub.deliveries.subscribe(self._add, on_completed=lambda: self._end("closed")))

    def _outline(self) -> tuple[object, ...]:
        """The state that may change without a delivery."""
        hub = self.hub
        return hub.connected, hub.is_running, hub.dropped, tuple(each.id for each in subscribers_of(hub))

    def _has_changed(self) -> bool:
        return self._outline() != self._shown

    def _page(self) -> Page:
        self._shown = self._outline()
        return hub_page(self.hub, self.tally).with_chip(self.status)

    def _add(self, delivery: Delivery) -> None:
        self.tally.add(delivery)
        self._invalidate()
        if not delivery.completed:
            # The other outcomes follow. The delivery replays those that have been counted.
            delivery.pipe(ops.skip(len(delivery.outcomes))).subscribe(self._add_outcome)

    def _add_outcome(self, outcome: Outcome) -> None:
        self.tally.add_outcome(outcome)
        self._invalidate()

    def _end(self, status: str) -> None:
        if call_counts.get(self.hub) is self.tally:
            del call_counts[self.hub]
        super()._end(status)

    def __repr__(self) -> str:
        where = "" if self._cells is not None else "; counted but not shown outside of a notebook"
        return f"<Watch of {self.hub!r}, {self.status}, {self.tally.events} events{where}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        if self._cells is not None:
            return {"text/plain": repr(self)}  # the view is shown already
        return self.hub._repr_mimebundle_(include, exclude)  # pyright: ignore[reportPrivateUsage]
