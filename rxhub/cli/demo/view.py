"""Show the demo on a terminal: a live view, plain lines and a summary.

Each line is a rich `Text`. Plain output is the same text without styles. The colours are the sixteen of the terminal,
without those that are invisible on a dark or light background.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rxhub.cli.demo.tally import Row, Run, Step, Tally
from rxhub.text.safe_repr import one_line

__all__ = ["View", "can_show", "show", "show_plain", "summary"]

FRAMES_A_SECOND = 15
WIDE = 98
"""Minimum columns to show subscriptions as code."""
WIDER = 112
"""Minimum columns to show times and long topics."""
AIRY = 30
"""Minimum lines to separate the parts."""

_TOPICS = 22
_TOPICS_WIDER = 36
_EARLIER = 5
_ASCII = str.maketrans(
    {"→": ">", "■": "#", "✗": "!", "↩": "<", "⇝": "~", "…": ".", "·": "-", "µ": "u", "─": "-", "←": "<"}
)


def can_show() -> bool:
    """Whether stdout is a terminal that can show the live view."""
    if not sys.stdout.isatty() or Console().is_dumb_terminal:
        return False
    try:
        "".join(map(chr, _ASCII)).encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


def show(tally: Tally) -> None:
    """Show a live view until the hub is closed, then restore the screen."""
    with Live(View(tally), screen=True, auto_refresh=False) as live:
        while not tally.over:
            tally.take(1 / FRAMES_A_SECOND)
            live.refresh()


def show_plain(tally: Tally) -> None:
    """Print lines until the hub is closed."""
    for row in tally.rows.values():
        _print(f"{row.name:<10} {code(row).plain}")
    _print("")
    while not tally.over:
        for seen in tally.take(0.1):
            if isinstance(seen, Run):
                _print(f"{seen.number:>4}  {run(seen).plain}")
            else:
                _print(f"      {news(seen.pipeline, seen.text).plain}")


def summary(tally: Tally, *, plain: bool) -> None:
    """Print the summary."""
    lines = _summary(tally)
    if plain:
        _print("")
        for line in lines:
            _print(line.plain)
        return
    console = Console()
    console.print(
        _table(tally.rows.values(), console.width), Text(), *lines, sep="\n", no_wrap=True, overflow="ellipsis"
    )


def _summary(tally: Tally) -> list[Text]:
    rows = tally.rows.values()
    more = max(0, tally.deliveries - tally.played)
    calls = sum(row.calls for row in rows)
    lines = [
        Text(
            f"{tally.played} of {tally.total} events played, {more} more from callbacks; "
            f"{tally.deliveries} delivered, {calls} calls",
            "bold",
        )
    ]
    for row in rows:
        if row.stops:
            lines.append(_line(row.name, f"■ stopped {row.stops} of {row.calls}", "magenta"))
        if row.replies:
            lines.append(_line(row.name, f"↩ replied to {row.replies} of {row.calls}", "green"))
        if row.errors:
            lines.append(_line(row.name, f"✗ failed {row.errors} of {row.calls}: {_printable(row.last_error)}", "red"))
    for name, texts in tally.news.items():
        if texts:
            lines.append(_line(name, f"⇝ {tally.emitted[name]} times, last: {_printable(texts[-1])}", "cyan"))
    return lines


class View:
    """The live view: progress, subscribers, deliveries, pipelines. It fills the height and needs 80 columns."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the parts from top to bottom."""
        tally, width = self._tally, options.max_width
        height = options.height or console.height
        airy = height >= AIRY
        yield _header(tally)
        yield Text()
        yield _table(tally.rows.values(), width)
        if airy:
            yield Text()
        yield _rule("deliveries", "latest last", width)
        room = max(0, height - (2 + 1 + len(tally.rows) + 1 + 1 + len(tally.news) + 2 * airy))
        runs = [seen for seen in tally.latest if isinstance(seen, Run)]
        latest = runs[max(0, len(runs) - room) :]
        for one in latest:
            yield run(one, _TOPICS_WIDER if width >= WIDER else _TOPICS)
        for _ in range(room - len(latest)):
            yield Text()
        if airy:
            yield Text()
        yield _rule("pipelines", "Ctrl-C ends", width)
        for name, texts in tally.news.items():
            line = news(name, texts[-1] if texts else "…")
            for earlier in reversed([*texts][-_EARLIER - 1 : -1]):
                line.append(" ← ", "cyan").append(_printable(earlier), "dim")
            yield line


def _header(tally: Tally) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column()
    grid.add_column(ratio=1)
    grid.add_column(justify="right")
    grid.add_column(justify="right", width=12)
    bar = ProgressBar(tally.total or 1, tally.played, complete_style="cyan", finished_style="cyan")
    grid.add_row(Text("rxhub demo", "bold"), bar, f"{tally.played}/{tally.total}", f"{tally.rate:.0f} events/s")
    return grid


def _rule(title: str, note: str, width: int) -> Text:
    line = "─" * (width - len(title) - len(note) - 2)
    return Text.assemble((title, "bold"), (f" {line} {note}", "dim"), no_wrap=True, overflow="crop")


def _table(rows: Iterable[Row], width: int) -> Table:
    """Return the table of subscribers in priority order."""
    wide, wider = width >= WIDE, width >= WIDER
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim", padding=(0, 2 if wider else 1, 0, 0))
    if not wide:
        table.add_column("prio", justify="right")
    table.add_column("callback")
    table.add_column("subscription", ratio=1, no_wrap=True)
    for heading in ("calls", "stops", "errors") + (("mean µs",) if wider else ()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [
            Text(row.name, "cyan" if row.pipeline else "bold"),
            code(row) if wide else Text(f'"{_printable(row.subscription)}"', "green"),
            Text(str(row.calls) if row.calls else "·", "" if row.calls else "dim"),
            Text(str(row.stops) if row.stops else "·", "magenta" if row.stops else "dim"),
            Text(str(row.errors) if row.errors else "·", "red" if row.errors else "dim"),
        ]
        if not wide:
            cells.insert(0, Text(f"{row.priority:g}"))
        if wider:
            cells.append(Text(f"{row.seconds / row.calls * 1e6:,.0f}" if row.calls else "·", "dim"))
        table.add_row(*cells)
    return table


def code(row: Row) -> Text:
    """Return the subscription as code."""
    return Text.assemble(
        ("hub.on(" if row.pipeline else "@hub.on(", "dim"),
        (f'"{_printable(row.subscription)}"', "green"),
        (", priority=", "dim"),
        f"{row.priority:g}",
        (").pipe(…)" if row.pipeline else ")", "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )


def run(seen: Run, topics: int = _TOPICS) -> Text:
    """Return a delivery as `topic → a(10) → b(50) ■ stopped by b`. `topics` is the minimum width of topics."""
    topic = _printable(seen.topic)
    line = Text(topic + " " * max(0, topics - cell_len(topic)), no_wrap=True, overflow="ellipsis")
    if not seen.steps:
        return line.append(" → no subscribers", "dim")
    for step in seen.steps:
        line.append(" → ", "dim").append(_step(step))
    if seen.stopped_by:
        line.append(f" ■ stopped by {seen.stopped_by}", "magenta")
    errors = [step.error for step in seen.steps if step.error]
    if errors:
        line.append(f"  {_printable(errors[-1])}", "red")
    return line


def _step(step: Step) -> Text:
    text = Text.assemble((step.name, "cyan" if step.pipeline else "bold"), (f"({step.priority:g})", "dim"))
    if step.error:
        text.append(" ✗", "red")
    if step.replied:
        text.append(" ↩ reply", "green")
    return text


def news(pipeline: str, text: str) -> Text:
    """Return a value of a pipeline as a line."""
    return Text.assemble((f"⇝ {pipeline:<10} ", "cyan"), _printable(text), no_wrap=True, overflow="ellipsis")


def _line(name: str, text: str, style: str) -> Text:
    return Text.assemble((f"  {name:<10} ", "bold"), (text[:1], style), text[1:])


def _printable(text: str, longest: int = 200) -> str:
    """Escape control characters, and shorten the text."""
    return one_line(text, longest)


def _print(line: str) -> None:
    try:
        print(line)  # noqa: T201
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        print(line.translate(_ASCII).encode(encoding, "replace").decode(encoding))  # noqa: T201
