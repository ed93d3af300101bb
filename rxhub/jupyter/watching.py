"""Counting what the subscribers of a hub do, while somebody looks."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from reactivex.disposable import CompositeDisposable

from rxhub.delivery import Delivery
from rxhub.hub import EventHub
from rxhub.views.tally import Tally, tallies

__all__ = ["Watch", "watch"]


def watch(hub: EventHub) -> Watch:
    """Count calls, stops, errors and the last latency of each subscriber from now on.

    The hub's own view shows them, and so does what is given back. While a hub is watched, every call costs about a
    microsecond more: clocks are read and outcomes are made. Watching a hub again begins afresh.

    Returns:
        What ends it, by `stop()`, `dispose()` or at the end of a `with` block.
    """
    return Watch(hub)


class Watch:
    """One count of a hub's calls.

    Attributes:
        hub: whose.
        tally: the counts.
    """

    def __init__(self, hub: EventHub) -> None:
        self.hub = hub
        self.tally = tallies[hub] = Tally()
        self._subscriptions = CompositeDisposable()
        self._subscriptions.add(hub.deliveries.subscribe(self._add))

    def _add(self, delivery: Delivery) -> None:
        self.tally.add(delivery)
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

        delivery.subscribe(add_later)

    def stop(self) -> None:
        """Count no further; the hub's view goes back to showing no counts."""
        self._subscriptions.dispose()
        if tallies.get(self.hub) is self.tally:
            del tallies[self.hub]

    dispose = stop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Watch of {self.hub!r}, {self.tally.events} events>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.hub._repr_mimebundle_(include, exclude)  # pyright: ignore[reportPrivateUsage]
