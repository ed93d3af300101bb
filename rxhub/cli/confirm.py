"""Ask before a command deletes something."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rxhub.cli.exit_status import Status
from rxhub.cli.options import flag
from rxhub.cli.output import print_error
from rxhub.text.printable import printable

__all__ = ["Yes", "can_ask", "is_confirmed"]

Yes = Annotated[bool, flag("Do not ask for confirmation.", "--yes", "-y")]


def can_ask() -> bool:
    """Whether a user at a terminal can answer."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison]


def is_confirmed(consequence: str, question: str, yes: bool) -> bool:
    """Print the consequence of a command to stderr, and ask unless `--yes` was given.

    Exits with an error if there is no terminal.
    """
    print_error(consequence)
    if yes:
        return True
    if not can_ask():
        print_error("this requires a confirmation, and there is no terminal; nothing was changed. Add --yes.")
        raise typer.Exit(Status.ERROR)
    if typer.confirm(printable(question), err=True):
        return True
    print_error("nothing was changed")
    return False
