"""Events on their way from a hub's handling to the command that shows them, and as lines of JSON."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from time import monotonic
from typing import Annotated, NamedTuple

import typer
from reactivex import Observable

from rxhub import Event, EventHub
from rxhub.cli.exit_status import complain
from rxhub.cli.output import say_json
from rxhub.transport.connection_state import ConnectionState, Phase

__all__ = ["Arrived", "WithPosition", "arriving", "print_lines"]

WithPosition = Annotated[
    bool,
    typer.Option(
        "--with-position",
        help="Add a field `position` with the sequence in the stream and the time, as JSON lines. Resume behind "
        "it with rxhub replay --since SEQUENCE+1.",
    ),
]

_AHEAD = 1_000
_TICK = 0.25


class Arrived(NamedTuple):
    """An event and the time that is shown with it.

    Attributes:
        time: when the event was stored or, if no stream is read, when it came.
        event: itself.
        sequence: its number in the stream; None if no stream is read.
    """

    time: datetime
    event: Event
    sequence: int | None = None


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
                if not hub.is_running:
                    return
            else:
                return

    return put


def print_lines(hub: EventHub, events: Iterator[Arrived | None], with_position: bool = False) -> int:
    """Write each event as a line of JSON; how many it was. A lost connection is reported on stderr.

    Args:
        hub: they come from.
        events: and None now and then while none comes.
        with_position: whether each line tells the sequence and the time, in a further field `position`.
    """

    def tell(state: ConnectionState) -> None:
        if state.phase is Phase.DISCONNECTED and state.reason:
            complain(f"{state.reason}; reconnecting")

    hub.state.subscribe(tell)
    seen = 0
    for arrived in events:
        if arrived is not None:
            seen += 1
            fields = arrived.event.to_wire()
            if with_position:
                time = arrived.time.astimezone(UTC).isoformat(timespec="microseconds")
                fields["position"] = {"sequence": arrived.sequence, "time": time}
            say_json(fields)
    return seen
