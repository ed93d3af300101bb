"""What `rxhub listen` shows on a terminal: the latest events in a table, and how it stands below."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from time import monotonic
from typing import Any, cast

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rxhub import Event, EventHub
from rxhub.state import ConnectionState
from rxhub.transport.payload import write_json

__all__ = ["show"]

_MARGIN = 6
_LONGEST = 2_000
_PAUSE = 0.1


def show(hub: EventHub, subscription: str, events: Iterator[Event | None]) -> int:
    """Show the events until there are no more; how many it was."""
    console = Console()
    latest: deque[tuple[str, str, str, str]] = deque(maxlen=max(1, console.height - _MARGIN))
    states: list[ConnectionState] = []
    hub.state.subscribe(lambda state: states.__setitem__(slice(None), [state]))
    seen, shown = 0, 0.0

    def table() -> Table:
        state = states[0] if states else "connecting"
        table = Table(
            expand=True, box=None, caption=f"{seen:,} events · {state} · Ctrl-C ends", title=Text(subscription)
        )
        for name, ratio in (("time", None), ("topic", 2), ("by", 1), ("data", 5)):
            table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
        for row in latest:
            # Text, not markup: what strangers publish may hold brackets.
            table.add_row(*map(_printable, row))
        return table

    with Live(table(), console=console, auto_refresh=False, transient=False) as live:
        for event in events:
            if event is not None:
                seen += 1
                latest.append(_row(event))
            if event is None or monotonic() - shown > _PAUSE:
                live.update(table(), refresh=True)
                shown = monotonic()
        live.update(table(), refresh=True)
    return seen


def _row(event: Event) -> tuple[str, str, str, str]:
    return datetime.now().strftime("%H:%M:%S"), event.topic, _who(event), write_json(event.data)[:_LONGEST]  # noqa: DTZ005


def _who(event: Event) -> str:
    user: Any = _step(event.get("source"), "user")
    return str(_step(user, "username") or "")


def _step(value: object, key: str) -> object:
    """What stands below a key, of whatever a stranger has sent."""
    return cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None


def _printable(text: str) -> Text:
    """Without control characters, which would move the cursor or worse."""
    return Text("".join(c if c.isprintable() else "·" for c in text))
