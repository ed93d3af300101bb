"""`rxhub plugins`: which plugins are installed, whether they start, and what they connect."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rxhub.cli.exit_status import Status, ending
from rxhub.cli.output import say
from rxhub.hub import EventHub
from rxhub.hub.description import RECEIVERS, SUBSCRIBERS, Description
from rxhub.plugins import GROUP, Candidate, PluginReport, installed
from rxhub.text.layout import format_table, without_empty_columns
from rxhub.text.printable import inline

__all__ = ["command"]

_INSTALLED = ("plugin", "from", "source")
_STYLES = {"running": "green", "failed": "red", "disabled": "yellow"}


@ending
def command(
    only_list: Annotated[
        bool, typer.Option("--list", "-l", help="Name what is installed, and run nothing of it.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="No colour and no frames; so it is where stdout is no terminal.")
    ] = False,
) -> Status:
    """Start the installed plugins on a hub of this process alone, and show what they connect.

    What the plugins print goes to stderr, where failures are logged with their tracebacks.

    Ends with 0 if all started or are disabled, with 1 if one failed, and with 2 after an error.
    """
    plain = plain or not sys.stdout.isatty()
    found = installed()
    if not found:
        typer.echo(f"no plugins are installed: no distribution has entry points in the group {GROUP}")
        return Status.MATCHED
    if only_list:
        _print_table("installed plugins", _INSTALLED, [_row(one) for one in found], plain)
        return Status.MATCHED
    with EventHub() as hub:
        with redirect_stdout(sys.stderr):
            report = hub.bootstrap()
        description = hub.describe()
        if plain:
            say(str(description))
        else:
            _print_tables(report, description)
        with redirect_stdout(sys.stderr):
            hub.teardown()
    return Status.FAILED if report.failed else Status.MATCHED


def _row(found: Candidate) -> tuple[str, ...]:
    return found.name, f"{found.distribution} {found.version}".strip(), found.source


def _print_tables(report: PluginReport, description: Description) -> None:
    _print_table(report.summary(), PluginReport.HEADINGS, report.rows(), plain=False)
    _print_table("subscribers", SUBSCRIBERS, description.subscriber_rows(), plain=False)
    _print_table("receivers of signals", RECEIVERS, description.receiver_rows(), plain=False)
    if unheard := description.unheard():
        say(f"no receivers of {', '.join(unheard)}")


def _print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], plain: bool) -> None:
    if plain:
        for line in format_table(headings, rows):
            say(line)
        return
    headings, rows = without_empty_columns(headings, rows)
    if not rows:
        return
    table = Table(title=inline(title), title_justify="left", title_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        # As text: what stands in brackets in a plugin's message is no markup of ours.
        table.add_row(*(Text(inline(cell), style=_STYLES.get(cell, "")) for cell in row))
    Console().print(table)
