"""How a command meets the terminal: where it reads, and how it ends.

It ends with grep's exit statuses, after a sentence on stderr, never with a traceback.
A reader that goes away (`rxhub filter … | head -1`) is no error, and Python would tell of it twice: when writing, and
again when it flushes stdout at exit.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import BinaryIO, ParamSpec

import typer

from rxhub.errors import RxHubError, SubscriptionWarning
from rxhub.text.printable import printable

__all__ = ["STDIN", "Status", "complain", "ending", "name_of", "open_input"]

STDIN = Path("-")
_STDOUT = 1

P = ParamSpec("P")


class Status(IntEnum):
    """Exit statuses; the first three are grep's."""

    MATCHED = 0
    NOT_MATCHED = 1
    FAILED = 1
    """What the command looks after is not well; the command itself is."""
    ERROR = 2
    READER_GONE = 141
    """What a shell reports of a program that SIGPIPE ended (128 + 13)."""


def open_input(path: Path) -> AbstractContextManager[BinaryIO]:
    """Open a file, or stdin for `-`, to be read as bytes.

    Raises:
        OSError: if it cannot be read.
    """
    if path != STDIN:
        return path.open("rb")
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]  # closed by the shell: `<&-`
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), name_of(path))
    return nullcontext(sys.stdin.buffer)


def name_of(path: Path) -> str:
    """What a message calls an input."""
    return "(standard input)" if path == STDIN else str(path)


def complain(message: str) -> None:
    """Write a sentence to stderr, behind the program's name."""
    # Looked up at each call: a progress bar puts itself in the place of stderr, to make room for what is written.
    sys.stderr.write(f"rxhub: {printable(message, lines=True)}\n")


def ending(run: Callable[P, Status]) -> Callable[P, None]:
    """Let a function that returns its status be a typer command."""

    @wraps(run)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  # closed by the shell: `>&-`
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), "(standard output)")
            with warnings.catch_warnings():
                warnings.showwarning = _complain_of(warnings.showwarning)
                status = run(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            status = Status.READER_GONE
        except OSError as error:
            complain(_sentence(error))
            status = Status.ERROR
        except RxHubError as error:
            complain(str(error))
            status = Status.ERROR
        _let_go_of_stdout()
        raise typer.Exit(status)

    return command


def _complain_of(others: Callable[..., object]) -> Callable[..., None]:
    """Shows warnings about what was typed as sentences, without a place in the code."""

    def show(message: Warning | str, category: type[Warning], *place: object, **named: object) -> None:
        if issubclass(category, SubscriptionWarning):
            complain(str(message))
        else:
            others(message, category, *place, **named)

    return show


def _let_go_of_stdout() -> None:
    """Flush stdout, or drop what it still holds: Python would try once more at exit, and end with 120."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)


def _sentence(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason
