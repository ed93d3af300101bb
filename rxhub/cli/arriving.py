"""Events on their way from a hub's handling to the command that shows them, and as lines of JSON."""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from reactivex import Observable

from rxhub import Event, EventHub
from rxhub.cli.status import complain
from rxhub.state import ConnectionState, Phase
from rxhub.transport.payload import write_json

__all__ = ["Arrived", "arriving", "print_lines"]

_AHEAD = 1_000
_TICK = 0.25


class Arrived(NamedTuple):
    """An event and the time that is shown with it."""

    time: datetime
    event: Event


class _End(NamedTuple):
    """What a source ended with."""

    error: Exception | None = None


def arriving(
    hub: EventHub, source: Observable[Arrived], count: int | None = None, timeout: float | None = None
) -> Iterator[Arrived | None]:
    """What the source emits, with None now and then while nothing comes, until it ends, or is enough, or time is up.

    Args:
        hub: who handles the source; what is not taken from here holds its handling up.
        source: what to wait for.
        count: how many are enough.
        timeout: seconds.

    Raises:
        Exception: what the source ends with.
    """
    waiting: queue.Queue[Arrived | _End] = queue.Queue(_AHEAD)
    put = _putter(hub, waiting)
    source.subscribe(put, lambda error: put(_End(error)), lambda: put(_End()))
    end = None if timeout is None else monotonic() + timeout
    left = count
    while left is None or left:
        patience = _TICK if end is None else min(_TICK, end - monotonic())
        if patience <= 0:
            return
        try:
            arrived = waiting.get(timeout=patience)
        except queue.Empty:
            yield None
            continue
        if isinstance(arrived, _End):
            if arrived.error is not None:
                raise arrived.error
            return
        yield arrived
        left = None if left is None else left - 1


def _putter(hub: EventHub, waiting: queue.Queue[Arrived | _End]) -> Callable[[Arrived | _End], None]:
    def put(arrived: Arrived | _End) -> None:
        # A full queue holds the handling up, but not beyond the end.
        while hub.connected or not waiting.full():
            try:
                waiting.put(arrived, timeout=_TICK)
            except queue.Full:
                if not hub.handled:
                    return
            else:
                return

    return put


def print_lines(hub: EventHub, events: Iterator[Arrived | None]) -> int:
    """Write each event as a line of JSON; how many it was. A lost connection is told on stderr."""

    def tell(state: ConnectionState) -> None:
        if state.phase is Phase.DISCONNECTED and state.reason:
            complain(f"{state.reason}; connecting again")

    hub.state.subscribe(tell)
    output, seen = sys.stdout, 0
    for arrived in events:
        if arrived is not None:
            seen += 1
            output.write(write_json(arrived.event.to_wire()) + "\n")
            output.flush()
    return seen
