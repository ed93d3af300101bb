"""What a command writes to stdout: sentences for people, and JSON lines for programs and people."""

from __future__ import annotations

import logging
import sys

import typer

from rxhub.text.log_records import PrintableFormatter
from rxhub.text.printable import printable, printable_json
from rxhub.transport.json_payload import write_json

__all__ = ["log_to_stderr", "say", "say_json", "say_json_text"]


def log_to_stderr(format: str) -> None:
    """Have warnings and errors of all libraries written to stderr, unless the program has set up logging itself."""
    logging.basicConfig(format=format, level=logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PrintableFormatter(format))


def say(text: str = "") -> None:
    """Write a text for people; what a terminal would obey is escaped."""
    typer.echo(printable(text, lines=True))


def say_json(value: object) -> None:
    """Write a value as one line of JSON, at once: a pipe's reader gets each line when it is written."""
    say_json_text(write_json(value))


def say_json_text(text: str) -> None:
    r"""Write one line of JSON text; on a terminal, what it would obey is written as `\uXXXX`."""
    output = sys.stdout
    output.write((printable_json(text) if output.isatty() else text) + "\n")
    output.flush()
