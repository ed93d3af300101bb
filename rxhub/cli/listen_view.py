"""The live table of `rxhub listen` and `rxhub replay`: the latest events, and the state of the hub."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rxhub import EventHub
from rxhub.cli.event_iterator import ReceivedEvent
from rxhub.display.renderers import user_of
from rxhub.text.printable import inline
from rxhub.transport.connection_state import ConnectionState
from rxhub.transport.json_payload import write_json

__all__ = ["show"]

_MARGIN_LINES = 6
_MAX_DATA_CHARACTERS = 2_000
_REFRESH_INTERVAL_S = 0.1
_OTHERS_WIDTH = 11  # the least for the columns "by" and "data", and the space around all columns


def show(
    hub: EventHub,
    subscription: str,
    events: Iterable[ReceivedEvent | None],
    progress: Callable[[], str] = str,
    time_format: str = "%H:%M:%S",
) -> int:
    """Show events (with None in between) until the iterator ends, and return their number.

    The caption shows the state of the hub and the text that `progress` returns.
    """
    console = Console()
    latest: deque[Sequence[str]] = deque(maxlen=max(1, console.height - _MARGIN_LINES))
    states: deque[ConnectionState] = deque(maxlen=1)
    hub.state.subscribe(states.append)
    seen, updated = 0, 0.0
    time_width = len(datetime.now().astimezone().strftime(time_format))

    def table() -> Table:
        state = states[0] if states else "connecting"
        caption = " · ".join(filter(None, (f"{seen:,} events", progress(), str(state), "Ctrl-C to exit")))
        # Text, not markup: events may contain brackets.
        table = Table(box=None, caption=Text(inline(caption)), title=Text(inline(subscription)))
        table.add_column("time", no_wrap=True)
        table.add_column("topic", no_wrap=True, max_width=max(8, console.width - time_width - _OTHERS_WIDTH))
        table.add_column("by")
        table.add_column("data", min_width=2)
        for row in latest:
            table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
        return table

    with Live(table(), console=console, auto_refresh=False, transient=False) as live:
        for received in events:
            if received is not None:
                seen += 1
                latest.append(_row(received, time_format))
            if received is None or monotonic() - updated > _REFRESH_INTERVAL_S:
                live.update(table(), refresh=True)
                updated = monotonic()
        live.update(table(), refresh=True)
    return seen


def _row(received: ReceivedEvent, time_format: str) -> Sequence[str]:
    event = received.event
    cells = (event.topic, user_of(event.fields), write_json(event.data)[:_MAX_DATA_CHARACTERS])
    return [received.time.astimezone().strftime(time_format), *map(inline, cells)]
