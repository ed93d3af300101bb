"""Count the results of the demo, and show them: a live view, plain lines and a summary.

Each line is a rich `Text`. Plain output is the same text without styles. The colours are the sixteen of the terminal,
without those that are invisible on a dark or light background.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic

from reactivex import Observable
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rxhub import Delivery, EventHub
from rxhub.text.safe_repr import one_line

__all__ = ["Row", "Tally", "View", "can_show", "print_summary", "show", "show_plain"]

_WIDE = 98
"""Minimum columns to show subscriptions as code."""
_TOPIC_WIDTH = 22
_KEPT = 200
"""Number of deliveries, and of values of each pipeline, that are kept."""
_REFRESH_INTERVAL_S = 1 / 15
_ASCII = str.maketrans(
    {"→": ">", "■": "#", "✗": "!", "↩": "<", "⇝": "~", "…": ".", "·": "-", "µ": "u", "─": "-", "←": "<"}
)


@dataclass
class Row:
    """One subscriber and its counts."""

    name: str
    priority: float
    subscription: str
    pipeline: bool
    calls: int = 0
    stops: int = 0
    replies: int = 0
    errors: int = 0
    last_error: str = ""

    def code(self) -> Text:
        """Return the subscription as code."""
        return Text.assemble(
            ("hub.on(" if self.pipeline else "@hub.on(", "dim"),
            (f'"{_printable(self.subscription)}"', "green"),
            (", priority=", "dim"),
            f"{self.priority:g}",
            (").pipe(…)" if self.pipeline else ")", "dim"),
            no_wrap=True,
            overflow="ellipsis",
        )


class Tally:
    """The counts of a hub's subscribers, and lines about its deliveries and the values of pipelines."""

    def __init__(self, hub: EventHub, pipelines: Mapping[str, Observable[str]], total: int) -> None:
        self.total = total  # events to play
        self.played = 0
        self.deliveries = 0  # including events of callbacks
        self.values: dict[str, deque[str]] = {name: deque(maxlen=_KEPT) for name in pipelines}
        self.emitted: Counter[str] = Counter()
        self.latest: deque[Text] = deque(maxlen=_KEPT)
        self._new: list[str] = []
        names = {subscriber.id: subscriber.callback.__name__ for subscriber in hub.describe()}
        for name, pipeline in pipelines.items():
            pipeline.subscribe(lambda value, name=name: self._add_value(name, value))
        pipeline_names = iter(pipelines)
        self.rows = {
            each.id: Row(
                names.get(each.id) or next(pipeline_names), each.priority, each.subscription, each.id not in names
            )
            for each in hub.describe()
        }
        hub.deliveries.subscribe(self._add)

    def take(self) -> list[str]:
        """Return the lines since the last call as plain text."""
        taken, self._new = self._new, []
        return taken

    def _add(self, delivery: Delivery) -> None:
        self.deliveries += 1
        for outcome in delivery:
            row = self.rows[outcome.subscriber.id]
            row.calls += 1
            row.replies += outcome.result is not None
            if outcome.error is not None:
                row.errors += 1
                row.last_error = _error(outcome.error)
        if delivery.stopped_by is not None:
            self.rows[delivery.stopped_by.id].stops += 1
        self.latest.append(self._line(delivery))
        self._new.append(f"{self.deliveries:>4}  {self.latest[-1].plain}")

    def _add_value(self, name: str, value: str) -> None:
        self.values[name].append(value)
        self.emitted[name] += 1
        self._new.append(f"      {_value(name, value).plain}")

    def _line(self, delivery: Delivery) -> Text:
        """Return a delivery as `topic → a(10) → b(50) ■ stopped by b`."""
        topic = _printable(delivery.event.topic)
        line = Text(topic + " " * max(0, _TOPIC_WIDTH - cell_len(topic)), no_wrap=True, overflow="ellipsis")
        if not delivery.outcomes:
            return line.append(" → no subscribers", "dim")
        for outcome in delivery:
            row = self.rows[outcome.subscriber.id]
            line.append(" → ", "dim").append(row.name, "cyan" if row.pipeline else "bold")
            line.append(f"({row.priority:g})", "dim")
            if outcome.error is not None:
                line.append(" ✗", "red")
            if outcome.result is not None:
                line.append(" ↩ reply", "green")
        if delivery.stopped_by is not None:
            line.append(f" ■ stopped by {self.rows[delivery.stopped_by.id].name}", "magenta")
        if delivery.errors:
            line.append(f"  {_printable(_error(delivery.errors[-1]))}", "red")
        return line


def can_show() -> bool:
    """Whether stdout is a terminal that can show the live view."""
    if not sys.stdout.isatty() or Console().is_dumb_terminal:
        return False
    try:
        "".join(map(chr, _ASCII)).encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


def show(tally: Tally, playing: Iterable[int]) -> None:
    """Show a live view while events are played, then restore the screen."""
    shown = 0.0
    with Live(View(tally), screen=True, auto_refresh=False) as live:
        for tally.played in playing:
            tally.take()
            if monotonic() - shown >= _REFRESH_INTERVAL_S:
                live.refresh()
                shown = monotonic()


def show_plain(tally: Tally, playing: Iterable[int]) -> None:
    """Print lines while events are played."""
    for row in tally.rows.values():
        _print(f"{row.name:<10} {row.code().plain}")
    _print("")
    for tally.played in playing:
        for line in tally.take():
            _print(line)


def print_summary(tally: Tally, *, plain: bool) -> None:
    """Print the summary."""
    lines = _summary(tally)
    if plain:
        for line in ("", *(line.plain for line in lines)):
            _print(line)
        return
    console = Console()
    console.print(
        _table(tally.rows.values(), console.width), Text(), *lines, sep="\n", no_wrap=True, overflow="ellipsis"
    )


def _summary(tally: Tally) -> list[Text]:
    rows = tally.rows.values()
    more = max(0, tally.deliveries - tally.played)
    counts = f"{tally.deliveries} delivered, {sum(row.calls for row in rows)} calls"
    lines = [Text(f"{tally.played} of {tally.total} events played, {more} more from callbacks; {counts}", "bold")]

    def add(name: str, text: str, style: str) -> None:
        lines.append(Text.assemble((f"  {name:<10} ", "bold"), (text[:1], style), text[1:]))

    for row in rows:
        if row.stops:
            add(row.name, f"■ stopped {row.stops} of {row.calls}", "magenta")
        if row.replies:
            add(row.name, f"↩ replied to {row.replies} of {row.calls}", "green")
        if row.errors:
            add(row.name, f"✗ failed {row.errors} of {row.calls}: {_printable(row.last_error)}", "red")
    for name, values in tally.values.items():
        if values:
            add(name, f"⇝ {tally.emitted[name]} times, last: {_printable(values[-1])}", "cyan")
    return lines


class View:
    """The live view: progress, subscribers, deliveries, pipelines. It fills the height and needs 80 columns."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the parts from top to bottom."""
        tally, width = self._tally, options.max_width
        yield _rule("rxhub demo", f"{tally.played} of {tally.total} events", width)
        yield Text()
        yield _table(tally.rows.values(), width)
        yield _rule("deliveries", "latest last", width)
        room = max(0, (options.height or console.height) - (5 + len(tally.rows) + len(tally.values)))
        latest = [*tally.latest][max(0, len(tally.latest) - room) :]
        yield from latest
        yield from [Text()] * (room - len(latest))
        yield _rule("pipelines", "Ctrl-C ends", width)
        for name, values in tally.values.items():
            line = _value(name, values[-1] if values else "…")
            for earlier in [*values][-2::-1]:
                line.append(" ← ", "cyan").append(_printable(earlier), "dim")
            yield line


def _rule(title: str, note: str, width: int) -> Text:
    line = "─" * (width - len(title) - len(note) - 2)
    return Text.assemble((title, "bold"), (f" {line} {note}", "dim"), no_wrap=True, overflow="crop")


def _table(rows: Iterable[Row], width: int) -> Table:
    """Return the table of subscribers in priority order."""
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("callback")
    table.add_column("subscription", ratio=1, no_wrap=True)
    for heading in ("calls", "stops", "errors"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        counts = ((row.calls, ""), (row.stops, "magenta"), (row.errors, "red"))
        table.add_row(
            Text(row.name, "cyan" if row.pipeline else "bold"),
            row.code() if width >= _WIDE else Text(f'"{_printable(row.subscription)}"', "green"),
            *(Text(str(count), style) if count else Text("·", "dim") for count, style in counts),
        )
    return table


def _value(name: str, value: str) -> Text:
    return Text.assemble((f"⇝ {name:<10} ", "cyan"), _printable(value), no_wrap=True, overflow="ellipsis")


def _error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _printable(text: str) -> str:
    return one_line(text, 200)


def _print(line: str) -> None:
    try:
        print(line)  # noqa: T201
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        print(line.translate(_ASCII).encode(encoding, "replace").decode(encoding))  # noqa: T201
