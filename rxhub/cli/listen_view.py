"""The live table of `rxhub listen` and `rxhub replay`: the latest events, and the state of the hub."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import cast

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rxhub import Event, EventHub
from rxhub.cli.event_iterator import ReceivedEvent
from rxhub.text.printable import inline
from rxhub.transport.connection_state import ConnectionState
from rxhub.transport.json_payload import write_json

__all__ = ["show"]

_MARGIN_LINES = 6
_MAX_DATA_CHARACTERS = 2_000
_REFRESH_INTERVAL_S = 0.1
_PADDING = 2
_MIN_DATA_WIDTH = 12
_MIN_DATA_HINT_WIDTH = 2
"""Columns that still show that an event has data."""


def show(
    hub: EventHub,
    subscription: str,
    events: Iterator[ReceivedEvent | None],
    progress: Callable[[], str] = str,
    time_format: str = "%H:%M:%S",
) -> int:
    """Show events until the iterator ends, and return their number.

    Args:
        hub: its state is shown.
        subscription: the title.
        events: the events, with None in between.
        progress: returns a text for the caption.
        time_format: for `strftime`.
    """
    console = Console()
    latest: deque[Sequence[str]] = deque(maxlen=max(1, console.height - _MARGIN_LINES))
    states: list[ConnectionState] = []
    hub.state.subscribe(lambda state: states.__setitem__(slice(None), [state]))
    seen, updated = 0, 0.0

    def table() -> Table:
        state = states[0] if states else "connecting"
        caption = " · ".join(filter(None, (f"{seen:,} events", progress(), str(state), "Ctrl-C to exit")))
        # Text, not markup: events may contain brackets.
        table = Table(expand=True, box=None, caption=Text(inline(caption)), title=Text(inline(subscription)))
        for name, width in zip(("time", "topic", "by"), _widths(latest, console.width), strict=True):
            table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
        table.add_column("data", ratio=1, no_wrap=True, overflow="ellipsis")
        for row in latest:
            table.add_row(*map(Text, row))
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
    cells = (event.topic, _user(event), write_json(event.data)[:_MAX_DATA_CHARACTERS])
    return [received.time.astimezone().strftime(time_format), *map(inline, cells)]


def _widths(rows: Iterable[Sequence[str]], width: int) -> list[int]:
    """Return the widths of time, topic and user: as wide as their cells, if this leaves room for data.

    Topics have priority over the other columns.
    """
    headings = ("time", "topic", "by")
    time, topic, by = map(cell_len, headings)
    data = 0
    for row in rows:
        time, topic, by = max(time, cell_len(row[0])), max(topic, cell_len(row[1])), max(by, cell_len(row[2]))
        data = max(data, min(_MIN_DATA_WIDTH, cell_len(row[3])))
    left = max(8, width - time - 4 * _PADDING)
    topic = min(topic, left)
    by = max(1, min(by, left - topic - data, max(len(headings[2]), width // 4)))
    topic = max(1, min(topic, left - by - min(data, _MIN_DATA_HINT_WIDTH)))
    return [time, topic, by]


def _user(event: Event) -> str:
    value: object = event.get("source")
    for key in ("user", "username"):  # sources of other programs can have any type
        value = cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None
    return str(value or "")
