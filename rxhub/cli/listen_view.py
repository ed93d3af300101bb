"""What `rxhub listen` and `rxhub replay` show on a terminal: the latest events, and how it stands below."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, cast

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rxhub import Event, EventHub
from rxhub.cli.arriving import Arrived
from rxhub.state import ConnectionState
from rxhub.transport.payload import write_json

__all__ = ["show"]

_MARGIN = 6
_LONGEST = 2_000
_PAUSE = 0.1


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
    latest: deque[tuple[str, str, str, str]] = deque(maxlen=max(1, console.height - _MARGIN))
    states: list[ConnectionState] = []
    hub.state.subscribe(lambda state: states.__setitem__(slice(None), [state]))
    seen, shown = 0, 0.0

    def table() -> Table:
        state = states[0] if states else "connecting"
        caption = " · ".join(filter(None, (f"{seen:,} events", so_far(), str(state), "Ctrl-C ends")))
        table = Table(expand=True, box=None, caption=caption, title=Text(subscription))
        for name, ratio in (("time", None), ("topic", 2), ("by", 1), ("data", 5)):
            table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
        for row in latest:
            # Text, not markup: what strangers publish may hold brackets.
            table.add_row(*map(_printable, row))
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


def _row(arrived: Arrived, time: str) -> tuple[str, str, str, str]:
    event = arrived.event
    return arrived.time.astimezone().strftime(time), event.topic, _who(event), write_json(event.data)[:_LONGEST]


def _who(event: Event) -> str:
    user: Any = _step(event.get("source"), "user")
    return str(_step(user, "username") or "")


def _step(value: object, key: str) -> object:
    """What stands below a key, of whatever a stranger has sent."""
    return cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None


def _printable(text: str) -> Text:
    """Without control characters, which would move the cursor or worse."""
    return Text("".join(c if c.isprintable() else "·" for c in text))
