"""What commands write: text and JSON lines to stdout, messages to stderr.

Events come from other programs, so control characters are escaped before a terminal interprets them.
"""

from __future__ import annotations

import logging
import sys

import typer

from rxhub.text.log_records import PrintableFormatter
from rxhub.text.printable import printable, printable_json
from rxhub.transport.json_payload import write_json

__all__ = ["log_to_stderr", "print_error", "print_json", "print_json_text", "print_text"]


def log_to_stderr(format: str) -> None:
    """Log warnings and errors of all libraries to stderr, unless the program has configured logging."""
    logging.basicConfig(format=format, level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PrintableFormatter(format))


def print_error(message: str) -> None:
    """Write a message to stderr, prefixed with `rxhub: `."""
    # Read sys.stderr on each call: a progress bar replaces it to keep messages above the bar.
    sys.stderr.write(f"rxhub: {printable(message, lines=True)}\n")


def print_text(text: str = "") -> None:
    """Write text to stdout, with control characters escaped."""
    typer.echo(printable(text, lines=True))


def print_json(value: object) -> None:
    """Write a value as one line of JSON, and flush: the reader of a pipe gets each line immediately."""
    print_json_text(write_json(value))


def print_json_text(text: str) -> None:
    r"""Write one line of JSON and flush; on a terminal, control characters become `\uXXXX`."""
    output = sys.stdout
    output.write((printable_json(text) if output.isatty() else text) + "\n")
    output.flush()
