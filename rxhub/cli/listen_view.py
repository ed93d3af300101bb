"""What `rxhub listen` and `rxhub replay` show on a terminal: the latest events, and how it stands below."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, cast

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rxhub import Event, EventHub
from rxhub.cli.event_iterator import Arrived
from rxhub.text.printable import inline
from rxhub.transport.connection_state import ConnectionState
from rxhub.transport.json_payload import write_json

__all__ = ["show"]

_MARGIN = 6
_LONGEST = 2_000
_PAUSE = 0.1
_PADDING = 2
_LEAST_DATA = 12
_LEAST_SIGN = 2
"""Columns that show that there is data."""


def show(
    hub: EventHub,
    subscription: str,
    events: Iterator[Arrived | None],
    so_far: Callable[[], str] = str,
    time: str = "%H:%M:%S",
) -> int:
    """Show the events until there are no more; how many it was.

    Args:
        hub: they come from; its state is shown.
        subscription: they match.
        events: and None now and then while none comes.
        so_far: tells how far it is; nothing if there is nothing to tell.
        time: how the times are written.
    """
    console = Console()
    latest: deque[Sequence[str]] = deque(maxlen=max(1, console.height - _MARGIN))
    states: list[ConnectionState] = []
    hub.state.subscribe(lambda state: states.__setitem__(slice(None), [state]))
    seen, shown = 0, 0.0

    def table() -> Table:
        state = states[0] if states else "connecting"
        caption = " · ".join(filter(None, (f"{seen:,} events", so_far(), str(state), "Ctrl-C ends")))
        # Text, not markup: what strangers publish may hold brackets.
        table = Table(expand=True, box=None, caption=Text(inline(caption)), title=Text(inline(subscription)))
        for name, width in zip(("time", "topic", "by"), _widths(latest, console.width), strict=True):
            table.add_column(name, width=width, no_wrap=True, overflow="ellipsis")
        table.add_column("data", ratio=1, no_wrap=True, overflow="ellipsis")
        for row in latest:
            table.add_row(*map(Text, row))
        return table

    with Live(table(), console=console, auto_refresh=False, transient=False) as live:
        for arrived in events:
            if arrived is not None:
                seen += 1
                latest.append(_row(arrived, time))
            if arrived is None or monotonic() - shown > _PAUSE:
                live.update(table(), refresh=True)
                shown = monotonic()
        live.update(table(), refresh=True)
    return seen


def _row(arrived: Arrived, time: str) -> Sequence[str]:
    event = arrived.event
    cells = (event.topic, _who(event), write_json(event.data)[:_LONGEST])
    return [arrived.time.astimezone().strftime(time), *map(inline, cells)]


def _widths(rows: Iterable[Sequence[str]], width: int) -> list[int]:
    """How wide time, topic and user are: as wide as what they hold while that leaves room for some data.

    Topics are shown whole before anything else gets room, up to the width of the terminal.
    """
    headings = ("time", "topic", "by")
    time, topic, by = [max(cell_len(heading), 0) for heading in headings]
    has_data = 0
    for row in rows:
        time, topic, by = max(time, cell_len(row[0])), max(topic, cell_len(row[1])), max(by, cell_len(row[2]))
        has_data = max(has_data, min(_LEAST_DATA, cell_len(row[3])))
    left = max(8, width - time - 4 * _PADDING)
    topic = min(topic, left)
    by = max(1, min(by, left - topic - has_data, max(len(headings[2]), width // 4)))
    topic = max(1, min(topic, left - by - min(has_data, _LEAST_SIGN)))
    return [time, topic, by]


def _who(event: Event) -> str:
    user: Any = _step(event.get("source"), "user")
    return str(_step(user, "username") or "")


def _step(value: object, key: str) -> object:
    """What stands below a key, of whatever a stranger has sent."""
    return cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None
