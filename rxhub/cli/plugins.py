"""`rxhub plugins`: show the installed plugins, whether they start, and what they connect."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.options import Plain, flag
from rxhub.cli.output import print_table, print_text
from rxhub.hub import EventHub
from rxhub.hub.description import RECEIVERS, SUBSCRIBERS
from rxhub.plugins import GROUP, PluginReport, installed
from rxhub.text.layout import without_empty_columns
from rxhub.text.printable import inline

__all__ = ["command"]

_INSTALLED = ("plugin", "from", "source")
_STYLES = {"running": "green", "failed": "red", "disabled": "yellow"}


@exits_with_status
def command(
    only_list: Annotated[bool, flag("List the installed plugins without running them.", "--list", "-l")] = False,
    plain: Plain = False,
) -> Status:
    """Start the installed plugins on a temporary hub, and show what they connect.

    Output of the plugins goes to stderr, as do tracebacks of failures.

    Exit status: 0 if all plugins started or are disabled, 1 if one failed, 2 after an error.
    """
    plain = plain or not sys.stdout.isatty()
    found = installed()
    if not found:
        typer.echo(f"no plugins are installed: no distribution has entry points in the group {GROUP}")
        return Status.MATCHED
    if only_list:
        rows = [(each.name, f"{each.distribution} {each.version}".strip(), each.source) for each in found]
        if plain:
            print_table(_INSTALLED, rows)
        else:
            _print_framed_table("installed plugins", _INSTALLED, rows)
        return Status.MATCHED
    with EventHub() as hub:
        with redirect_stdout(sys.stderr):
            report = hub.bootstrap()
        description = hub.describe()
        if plain:
            print_text(str(description))
        else:
            _print_framed_table(report.summary(), PluginReport.HEADINGS, report.rows())
            _print_framed_table("subscribers", SUBSCRIBERS, description.subscriber_rows())
            _print_framed_table("receivers of signals", RECEIVERS, description.receiver_rows())
            if unheard := description.unheard():
                print_text(f"no receivers of {', '.join(unheard)}")
        with redirect_stdout(sys.stderr):
            hub.teardown()
    return Status.FAILED if report.failed else Status.MATCHED


def _print_framed_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    headings, rows = without_empty_columns(headings, rows)
    if not rows:
        return
    table = Table(title=inline(title), title_justify="left", title_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        # Text, not markup: messages of plugins may contain brackets.
        table.add_row(*(Text(inline(cell), style=_STYLES.get(cell, "")) for cell in row))
    Console().print(table)
