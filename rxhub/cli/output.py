"""What commands write: text and JSON lines to stdout, messages and progress to stderr.

Events come from other programs, so control characters are escaped before a terminal interprets them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from rxhub.text.layout import format_table
from rxhub.text.log_records import PrintableFormatter
from rxhub.text.printable import printable, printable_json
from rxhub.transport.json_payload import write_json

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["log_to_stderr", "print_error", "print_json", "print_table", "print_text", "progress_bar"]


def log_to_stderr(format: str) -> None:
    """Log warnings and errors of all libraries to stderr, unless the program has configured logging."""
    logging.basicConfig(format=format, level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PrintableFormatter(format))


def print_error(*messages: str) -> None:
    """Write messages to stderr, each prefixed with `rxhub: `."""
    for message in messages:
        # Read sys.stderr on each call: a progress bar replaces it to keep messages above the bar.
        sys.stderr.write(f"rxhub: {printable(message, lines=True)}\n")


def print_text(text: str = "") -> None:
    """Write text to stdout, with control characters escaped."""
    typer.echo(printable(text, lines=True))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to stdout."""
    print_text("\n".join(format_table(headings, [*rows])))


def print_json(value: object) -> None:
    r"""Write a value as one line of JSON, and flush: the reader of a pipe gets each line immediately.

    On a terminal, control characters become `\uXXXX`.
    """
    text = write_json(value)
    sys.stdout.write((printable_json(text) if sys.stdout.isatty() else text) + "\n")
    sys.stdout.flush()


def progress_bar(is_shown: bool, in_bytes: bool = False) -> Progress:
    """Return a progress bar on stderr, which disappears at its end. Messages are printed above it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn()
    console = Console(stderr=True, quiet=not is_shown)  # before rich 14, a disabled bar ends with an empty line
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not is_shown)
